"""What people say when they ask about a payment, and what is meant by it. Pure.

pi_… ch_… re_… dp_… cs_… evt_… dlv_… acr_… txn_… pm_…   the payment to which the object belongs
25.00 EUR     every payment over exactly that amount
visa 4242     every payment that was tried with such a card; the brand may be left out
anything else the payments whose metadata name this order of the shop
"""

import re
from typing import Final

from msgspec import Struct

from tallystick.gateway.cards.brands import BRANDS, UNKNOWN, brand_of
from tallystick.gateway.stripe_wire.currencies import CURRENCIES
from tallystick.kernel.money import AmountRefused, parse_decimal

_ID = re.compile(r"(pi|ch|re|dp|cs|evt|dlv|acr|txn|pm)_[0-9A-Za-z_]{1,250}", re.ASCII)
_AMOUNT = re.compile(r"(?:([A-Za-z]{3})\s*)?([0-9]{1,12}(?:[.,][0-9]{1,3})?)(?:\s*([A-Za-z]{3}))?", re.ASCII)
_CARD = re.compile(r"(?:([a-z]+)\s+)?([0-9]{4})(?:\s+([a-z]+))?", re.ASCII)
_AROUND_A_CARD = re.compile(r"\b(?:card|ending|in|with)\b|[*…]+|\.\.\.", re.ASCII)
_RUN = re.compile(r"[0-9](?:[^0-9A-Za-z]?[0-9]){12,}", re.ASCII)


class ById(Struct, frozen=True):
    """An object by its id; `kind` is the prefix."""

    kind: str
    id: str


class ByAmount(Struct, frozen=True):
    """Minor units as the wire writes them, currency in upper case."""

    minor: int
    currency: str


class ByCard(Struct, frozen=True):
    """The last four digits, and the brands that may be meant."""

    last4: str
    brands: tuple[str, ...]


class ByOrder(Struct, frozen=True):
    """An order of the shop, as the payment's metadata name it."""

    reference: str


class CardNumberTyped(ValueError):
    """Somebody typed what could be a whole card number: it is neither looked for nor repeated."""


Wanted = ById | ByAmount | ByCard | ByOrder


def meant(words: str) -> Wanted:
    """What is looked for. Raises CardNumberTyped."""
    if found := _ID.fullmatch(words):
        return ById(found[1], words)
    if any(brand_of(re.sub(r"[^0-9]", "", run)) != UNKNOWN for run in _RUN.findall(words)):
        raise CardNumberTyped
    return _card(words.lower()) or _amount(words) or ByOrder(words)


def _card(words: str) -> ByCard | None:
    found = _CARD.fullmatch(_AROUND_A_CARD.sub(" ", words).strip())
    if found is None:
        return None
    named = [each for each in (found[1], found[3]) if each is not None]
    if any(each not in BRANDS for each in named):
        return None
    return ByCard(found[2], tuple(named[:1]) or BRANDS)


def _amount(words: str) -> ByAmount | None:
    found = _AMOUNT.fullmatch(words)
    currency = (found[1] or found[3] or "").upper() if found else ""
    if found is None or currency not in CURRENCIES or (found[1] and found[3]):
        return None
    try:
        return ByAmount(parse_decimal(found[2].replace(",", "."), CURRENCIES[currency].exponent), currency)
    except AmountRefused:
        return None


EXAMPLES: Final = "pi_… · 25.00 EUR · visa 4242 · order reference"
