"""What a browser posts to the payment page, read without trusting it. Pure.

Number and code go straight from the form into `Pan` and `Cvc`; nothing here keeps, repeats or reports them (RULES §9).
"""

import re
from datetime import datetime

from msgspec import Struct

from tallystick.gateway.cards.pan import CardEntry, Cvc, Pan, plausible_expiry
from tallystick.gateway.pages import wording
from tallystick.kernel.card_numbers import could_hold_one

NAME_CHARACTERS_MAX = 100
EXPIRY_CHARACTERS_MAX = 12
SAVED = "saved-card"  # names a card that the shopper has saved
SAVE, YES = "save-card", "yes"

_EXPIRY = re.compile(r"([0-9]{1,2})[^0-9]+([0-9]{2}|[0-9]{4})|([0-9]{2})([0-9]{2}|[0-9]{4})|([0-9])([0-9]{2})")


class Entered(Struct, frozen=True):
    """What may be shown again after a mistake: never number or code."""

    expiry: str = ""
    name: str = ""
    save: bool = False


def entered(fields: dict[str, str]) -> Entered:
    """The fields that the page may show again; not what was typed into the wrong one."""
    expiry, name = (fields.get(field, "") for field in ("cc-exp", "cc-name"))
    return Entered(
        "" if could_hold_one(expiry) else expiry[:EXPIRY_CHARACTERS_MAX],
        "" if could_hold_one(name) else name[:NAME_CHARACTERS_MAX],
        fields.get(SAVE) == YES,
    )


def read_card(fields: dict[str, str], at: datetime) -> CardEntry | dict[str, str]:
    """The card in the form; or what cannot be right, by input, in the order of the page."""
    number = Pan.read(fields.get("cc-number", ""))
    expiry = expiry_of(fields.get("cc-exp", ""), at)
    # Without a number the brand is unknown, and with it how long the code must be: then it is only asked to be there.
    code = Cvc.read(fields.get("cc-csc", ""), number.brand) if number else None
    if number is not None and expiry is not None and code is not None:
        return CardEntry(number=number, exp_month=expiry[0], exp_year=expiry[1], code=code)
    mistakes = {}
    if number is None:
        mistakes["cc-number"] = wording.NUMBER
    if expiry is None:
        mistakes["cc-exp"] = wording.EXPIRY
    if code is None and (number is not None or not fields.get("cc-csc")):
        mistakes["cc-csc"] = wording.CODE
    return mistakes


def expiry_of(text: str, at: datetime) -> tuple[int, int] | None:
    """Month and year of `12/30`, `12 / 2030`, `1230`; None when it is no date, or its month has ended (UTC)."""
    match = _EXPIRY.fullmatch(text)
    if match is None:
        return None
    month_digits, year_digits = (group for group in match.groups() if group is not None)
    month, year = int(month_digits), int(year_digits)
    if len(year_digits) == 2:
        year += at.year - at.year % 100
    return (month, year) if plausible_expiry(month, year, at) else None
