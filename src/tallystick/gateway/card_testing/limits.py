"""How often a card and an address may try to pay within an hour. Pure.

Card testing is many cards in a short time, mostly declined: from one address with many cards, or one card in many
sessions. What is counted are tries, before they reach a bank, and declines, which tell the thief from the shopper who
buys ten tickets. A shop's limits are its own: nobody is slowed down for what happens at another one. Many declines in
one session end that session, as part of the life of its payment (`payments/charging.py`).
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

WINDOW_S: Final = 3600
"""Tries are counted by hours that begin with the clock's; of the hour before counts what has not slid out yet."""


class Limits(Struct, frozen=True, kw_only=True):
    """The most of each within an hour. 0: no limit."""

    card_tries: int = 60
    card_declines: int = 15
    address_tries: int = 300
    address_declines: int = 60
    cards_of_test_mode: bool = False
    """In test mode everybody pays with the same few numbers, so cards are counted in live mode only, unless asked."""


class Count(Struct, frozen=True):
    """Tries and declines of one subject: of this hour, and of the hour before."""

    tries: int
    declines: int
    tries_before: int = 0
    declines_before: int = 0


def window_of(at: datetime) -> datetime:
    """The hour that an instant belongs to."""
    return at - timedelta(seconds=at.timestamp() % WINDOW_S)


def retry_after_s(count: Count, tries_max: int, declines_max: int, at: datetime) -> int:
    """0 where this try may go on; otherwise after how many seconds it is worth trying again. The try is counted."""
    elapsed_s = at.timestamp() % WINDOW_S
    left = 1 - elapsed_s / WINDOW_S
    tries = count.tries + count.tries_before * left
    declines = count.declines + count.declines_before * left
    too_many = (tries_max and tries > tries_max) or (declines_max and declines >= declines_max)
    return int(WINDOW_S - elapsed_s) + 1 if too_many else 0
