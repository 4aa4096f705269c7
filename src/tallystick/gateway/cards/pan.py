"""Card numbers and security codes that cannot leak (RULES §9).

`Pan` and `Cvc` show a mask however they are printed, refuse to be pickled, copied or serialised, and give their digits
only through `reveal()`, so that one search finds every place that handles them. Text that cannot be one is answered by
a returned None, because an exception would carry the text in its traceback.
"""

import hashlib
import hmac
import re
from datetime import datetime
from typing import Any, NoReturn, final

from tallystick.gateway.cards.brands import brand_of, code_digits

PAN_DIGITS_MIN, PAN_DIGITS_MAX = 13, 19  # shorter ones exist, but first six and last four would show nearly all of them
YEARS_AHEAD_MAX = 50  # no card is made to last longer
FINGERPRINT_CHARACTERS = 32  # 128 bits of the keyed hash
KEY_BYTES_MIN = 32  # a shorter key could be searched, and with it all numbers of a brand

_SPACING = re.compile(r"[ \t\u00a0-]+")


class _Masked:
    """What `Pan` and `Cvc` share: digits that no ordinary way of printing, copying or storing gives away."""

    __slots__ = ("_digits",)

    def __init__(self, digits: str) -> None:
        object.__setattr__(self, "_digits", digits)

    def reveal(self) -> str:
        """The digits, to hand to the acquirer and to nobody else."""
        digits: str = object.__getattribute__(self, "_digits")
        return digits

    def __str__(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __format__(self, specification: str) -> str:
        return str(self)  # the specification is not passed on: it could cut or pad, never reveal

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self.reveal(), other.reveal())

    __hash__ = None  # type: ignore[assignment]  # a number is no key of a table

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} never changes")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not copied, pickled or serialised")

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not copied, pickled or serialised")

    def __init_subclass__(cls) -> None:
        if cls.__module__ != __name__:
            raise TypeError("a subclass could show what this class hides")


@final
class Pan(_Masked):
    """A card number: 13 to 19 digits that pass Luhn's check. Printed as `first6…last4`."""

    __slots__ = ()

    @staticmethod
    def read(text: str) -> "Pan | None":
        """The number in `text`, which people write in groups; None when it can be no card number."""
        digits = _SPACING.sub("", text)
        if not (digits.isascii() and digits.isdigit() and PAN_DIGITS_MIN <= len(digits) <= PAN_DIGITS_MAX):
            return None
        return Pan(digits) if luhn(digits) else None

    @property
    def first6(self) -> str:
        return self.reveal()[:6]

    @property
    def last4(self) -> str:
        return self.reveal()[-4:]

    @property
    def brand(self) -> str:
        return brand_of(self.reveal())

    def __str__(self) -> str:
        return truncated(self.first6, self.last4)

    def fingerprint(self, key: bytes) -> str:
        """The same for the same number, and useless without the key (RULES §9). Not for passwords: there is no salt."""
        assert len(key) >= KEY_BYTES_MIN, "the fingerprint key is too short"
        return hmac.digest(key, self.reveal().encode(), hashlib.sha256).hex()[:FINGERPRINT_CHARACTERS]


@final
class Cvc(_Masked):
    """A security code; lives in the memory of one request only (RULES §9). Printed as `•••`."""

    __slots__ = ()

    @staticmethod
    def read(text: str, brand: str) -> "Cvc | None":
        """The code in `text`, or None when a card of `brand` has none such."""
        digits = text.strip()
        fits = digits.isascii() and digits.isdigit() and len(digits) == code_digits(brand)
        return Cvc(digits) if fits else None

    def __str__(self) -> str:
        return "•••"


@final
class CardEntry:
    """A card as the shopper typed it, for one request. `exp_year` has four digits."""

    __slots__ = ("code", "exp_month", "exp_year", "number")

    def __init__(self, *, number: Pan, exp_month: int, exp_year: int, code: Cvc | None) -> None:
        self.number = number
        self.exp_month = exp_month
        self.exp_year = exp_year
        self.code = code

    def __repr__(self) -> str:
        return f"CardEntry({self.number})"

    def __format__(self, specification: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("CardEntry is not copied, pickled or serialised")

    def __getstate__(self) -> NoReturn:
        raise TypeError("CardEntry is not copied, pickled or serialised")


def luhn(digits: str) -> bool:
    """Whether the last digit is the one that Luhn's sum demands."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        digit = int(character) * (1 + place % 2)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def truncated(first6: str, last4: str) -> str:
    """The one format in which a number is shown or stored (RULES §9)."""
    return f"{first6}…{last4}"


def expired(exp_month: int, exp_year: int, at: datetime) -> bool:
    """Whether the card's month has ended (UTC): it is valid to the end of that month."""
    return (exp_year, exp_month) < (at.year, at.month)


def plausible_expiry(exp_month: int, exp_year: int, at: datetime) -> bool:
    """A month of the calendar, not ended, and not absurdly far ahead."""
    return 1 <= exp_month <= 12 and not expired(exp_month, exp_year, at) and exp_year <= at.year + YEARS_AHEAD_MAX


def fingerprint_for(account_id: str, fingerprint: str) -> str:
    """A card's fingerprint as one account sees it: the same card at two accounts has two, so that merchants cannot put
    their shoppers together. `fingerprint` is keyed and known to no account, which makes it the key here."""
    return hmac.digest(fingerprint.encode(), account_id.encode(), hashlib.sha256).hex()[:FINGERPRINT_CHARACTERS]
