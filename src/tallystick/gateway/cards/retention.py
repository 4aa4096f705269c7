"""How long a number stays in the vault: as long as a payment can still need it, or its owner wants it saved. Pure.

The acquirer refunds, voids and captures by the reference of the charge, so none of them needs the number. What does is
a charge that is yet to be sent: the shopper is at the bank (3DS), or the last try did not reach the acquirer. All else
is shredded once the retention has passed since it was typed. A saved card stays until its owner takes it back or its
last month is over; after that it can be charged no more.
"""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

AWAITS_CHARGE = frozenset({"requires_confirmation", "requires_action", "processing"})
"""Statuses of an intent whose card may still be sent to the acquirer."""
LOOK_AGAIN = timedelta(minutes=15)  # while a payment is under way: a shopper at the bank takes minutes
LOOK_DAILY = timedelta(days=1)  # at saved cards: so late is one shredded whose owner's command died after its commit
AFTER_EXPIRY = timedelta(days=1)  # the last month of a card ends later west of Greenwich


class Use(Struct, frozen=True, kw_only=True):
    """What a number is needed for. `intent_status`: of the payment for which it was typed, if that still names it."""

    saved: bool
    exp_month: int
    exp_year: int
    intent_status: str | None


def next_look(use: Use | None, at: datetime) -> datetime | None:
    """When to look again whether a number is needed; None: now it is not, shred it. No use: no payment names it."""
    if use is None:
        return None
    if use.intent_status in AWAITS_CHARGE:
        return at + LOOK_AGAIN
    if use.saved:
        kept_until = last_moment(use.exp_month, use.exp_year) + AFTER_EXPIRY
        return min(kept_until, at + LOOK_DAILY) if kept_until > at else None
    return None


def last_moment(exp_month: int, exp_year: int) -> datetime:
    """The end of a card's last month, UTC."""
    return datetime(exp_year + exp_month // 12, exp_month % 12 + 1, 1, tzinfo=UTC)
