"""What every parameter struct is made of: metadata, paging, `expand`, and the checks that speak of one parameter.

A parameter struct has Stripe's parameter names and is the input of a command. It checks itself when it is made and
raises a WireError with the parameter in bracket notation, so commands never see a value that cannot be right.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from tallystick.gateway.stripe_wire import currencies, errors

METADATA_KEYS_MAX = 50  # Stripe's limits, so that what works here works there
METADATA_KEY_CHARACTERS_MAX = 40
METADATA_VALUE_CHARACTERS_MAX = 500
AMOUNT_MIN, AMOUNT_MAX = 1, 999_999_999_999  # minor units, RULES §2
URL_CHARACTERS_MAX = 2048
TEXT_CHARACTERS_MAX = 1000
ID_CHARACTERS_MAX = 255
PAGE_ITEMS_MAX = 100
PAGE_ITEMS = 10
UNIX_SECONDS_MAX = 253_402_300_799  # the last second of the year 9999: what a timestamp column can hold

Metadata = dict[str, str]
MetadataChange = dict[str, str] | Literal[""]
"""Keys with an empty value are dropped, the others set; an empty text drops all. Stripe's rule."""


class Parameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of one call."""

    expand: list[str] = []


class CreatedRange(Struct, frozen=True, forbid_unknown_fields=True):
    """A filter on the time of creation, in seconds since 1970."""

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None


class Retrieve(Parameters, frozen=True, kw_only=True):
    """Any retrieve call."""


class Paging(Parameters, frozen=True, kw_only=True):
    """Any list call: newest first, after one object or before one, at most 100 objects."""

    limit: int = PAGE_ITEMS
    starting_after: str | None = None
    ending_before: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= PAGE_ITEMS_MAX:
            raise errors.invalid("limit", f"Invalid limit: must be between 1 and {PAGE_ITEMS_MAX}")
        if self.starting_after is not None and self.ending_before is not None:
            raise errors.exclusive("starting_after", "ending_before")
        check_text("starting_after", self.starting_after, ID_CHARACTERS_MAX)
        check_text("ending_before", self.ending_before, ID_CHARACTERS_MAX)


class CreatedPaging(Paging, frozen=True, kw_only=True):
    """A list call that can be narrowed by the time of creation."""

    created: int | CreatedRange | None = None

    def __post_init__(self) -> None:
        Paging.__post_init__(self)
        for bound in self.bounds():
            if bound is not None and not 0 <= bound <= UNIX_SECONDS_MAX:
                raise errors.invalid_integer("created", bound)

    def bounds(self) -> tuple[int | None, int | None]:
        """The first second that is in and the first that is out."""
        if isinstance(self.created, int):
            return self.created, self.created + 1
        if self.created is None:
            return None, None
        low = [value for value in (self.created.gte, _next(self.created.gt)) if value is not None]
        high = [value for value in (self.created.lt, _next(self.created.lte)) if value is not None]
        return (max(low) if low else None), (min(high) if high else None)


def check_amount(param: str, amount: int | None) -> None:
    """An amount in minor units within the range of RULES §2."""
    if amount is None:
        return
    if amount < AMOUNT_MIN:
        raise errors.invalid(
            param, f"This value must be greater than or equal to {AMOUNT_MIN}.", "parameter_invalid_integer"
        )
    if amount > AMOUNT_MAX:
        raise errors.invalid(param, f"Amount must be no more than {AMOUNT_MAX}", "amount_too_large")


def check_currency(param: str, currency: str | None) -> None:
    """Three ASCII letters in any case."""
    if currency == "":
        raise errors.empty(param)
    if currency is not None and not re.fullmatch(r"[A-Za-z]{3}", currency):
        raise errors.invalid(param, "Invalid currency: three letters of ISO 4217 are expected.")


def check_money(param: str, amount: int, currency: str) -> None:
    """An amount in a currency that the wire knows and can write it in (RULES §2)."""
    check_amount(param, amount)
    check_currency("currency", currency)
    currencies.checked(amount, currency, param=param)


def check_text(param: str, text: str | UnsetType | None, characters_max: int = TEXT_CHARACTERS_MAX) -> None:
    """A text that is not empty, not too long and free of NUL, which PostgreSQL cannot store."""
    if text is None or text is UNSET:
        return
    assert isinstance(text, str)
    if not text:
        raise errors.empty(param)
    check_storable(param, text, characters_max)


def check_storable(param: str, text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> None:
    """A text that may be empty, but must fit and hold no NUL."""
    if len(text) > characters_max:
        raise errors.invalid(
            param, f"Invalid string: must be at most {characters_max} characters", "parameter_invalid_string_length"
        )
    if "\x00" in text:
        raise errors.invalid(param, "Invalid string: must not hold the NUL character", "parameter_invalid_string")


def check_url(param: str, url: str | None) -> None:
    """An http or https address to send a browser to; which origins an account may name is the command's question."""
    if url is None:
        return
    check_text(param, url, URL_CHARACTERS_MAX)
    if not re.fullmatch(r"https?://[^\s/?#@\\]+(?:[/?#][^\s\\]*)?", url, re.ASCII | re.IGNORECASE):
        raise errors.invalid(param, "Not a valid URL", "url_invalid")


def check_choice(param: str, value: str | UnsetType | None, choices: tuple[str, ...]) -> None:
    """One of a few words."""
    if value is not None and value is not UNSET and value not in choices:
        raise errors.invalid_choice(param, choices)


def check_metadata(param: str, metadata: Mapping[str, str] | str | UnsetType) -> None:
    """Stripe's limits on metadata."""
    if isinstance(metadata, str | UnsetType):
        return
    if len(metadata) > METADATA_KEYS_MAX:
        raise errors.invalid(param, f"Metadata can have up to {METADATA_KEYS_MAX} keys", "metadata_too_many_keys")
    for key, value in metadata.items():
        if not key or len(key) > METADATA_KEY_CHARACTERS_MAX or "\x00" in key:
            raise errors.invalid(
                param, f"Metadata keys must have 1 to {METADATA_KEY_CHARACTERS_MAX} characters", "metadata_key_invalid"
            )
        check_storable(f"{param}[{key}]", value, METADATA_VALUE_CHARACTERS_MAX)


def check_card_only(param: str, types: Sequence[str] | None) -> None:
    """`payment_method_types`: this gateway takes cards."""
    for type in types or ():
        if type != "card":
            raise errors.invalid(f"{param}[0]", f"The payment method type provided: {errors.shown(type)} is invalid.")


def merged_metadata(present: Mapping[str, str], change: MetadataChange | UnsetType) -> dict[str, str]:
    """What metadata become by an update: set, dropped where empty, all dropped by an empty text."""
    if isinstance(change, UnsetType):
        return dict(present)
    if isinstance(change, str):
        return {}
    return {key: value for key, value in {**present, **change}.items() if value != ""}


def _next(second: int | None) -> int | None:
    return None if second is None else second + 1
