"""A person's data: which fields there are, how they are compared, and types that do not show them. Pure. RULES §12."""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

Field = Literal["email", "name", "phone", "address"]
FIELDS: Final[tuple[Field, ...]] = ("email", "name", "phone", "address")

# No column stores NUL, and no page or log is the better for the other control characters.
NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]*$"
EMAIL: Final = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"
PHONE: Final = r"^\+?[0-9][0-9 ()/.-]{2,30}$"

Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROL)]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=EMAIL)]
Phone = Annotated[
    str, Meta(pattern=PHONE, description="With its country (+49 …), so that it is found however written.")
]


class Address(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where somebody lives."""

    line1: Line
    city: Line
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166-1, two letters.")]
    line2: Line | None = None
    postal_code: Line | None = None
    region: Line | None = None

    def __repr__(self) -> str:
        return "Address()"


class Person(Struct, frozen=True, forbid_unknown_fields=True):
    """All that may be stored of somebody. Its repr shows nothing of it."""

    email: Email | None = None
    name: Line | None = None
    phone: Phone | None = None
    address: Address | None = None

    def __repr__(self) -> str:
        return "Person()"

    def texts(self) -> Iterator[tuple[Field, str]]:
        """The fields that there are, as they are sealed: the address as JSON."""
        for field in FIELDS:
            value = getattr(self, field)
            if value is not None:
                yield field, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def read_back(field: Field, text: str) -> str | Address:
    """A field out of the text that was sealed."""
    return msgspec.json.decode(text, type=Address) if field == "address" else text


def ends_with_a_line_break(person: Person) -> list[str]:
    """The fields that do: the one character that `$` in a pattern lets through."""
    address = person.address
    places = [(field, getattr(person, field)) for field in ("email", "name", "phone")]
    if address is not None:
        places += [(f"address.{name}", getattr(address, name)) for name in address.__struct_fields__]
    return [place for place, text in places if text is not None and text.endswith("\n")]


class Lookups(Struct, frozen=True):
    """By what a person is found: keyed hashes, None where the field is not known."""

    email: bytes | None
    phone: bytes | None
    shopper: bytes | None


def lookups_of(person: Person, owner: str, key: bytes) -> Lookups:
    """The hashes of a person's normalised fields. Without e-mail and phone nobody is recognised."""
    email = normal_email(person.email) if person.email else None
    phone = normal_phone(person.phone) if person.phone else None
    shopper = None
    if email or phone:
        said = (email, _folded(person.name or ""), phone, person.address)
        shopper = lookup("shopper", msgspec.json.encode(said).decode(), owner, key)
    return Lookups(
        email=lookup("email", email, owner, key) if email else None,
        phone=lookup("phone", phone, owner, key) if phone else None,
        shopper=shopper,
    )


def lookup(kind: Literal["email", "phone", "shopper"], normalised: str, owner: str, key: bytes) -> bytes:
    """The keyed hash under which an owner's person is found; another owner's is another."""
    return hmac.digest(key, f"{owner}\0{kind}\0{normalised}".encode(), hashlib.sha256)


def normal_email(email: str) -> str:
    """An address as it is compared: letters are large or small by chance, also before the @."""
    return _folded(email)


def normal_phone(phone: str) -> str:
    """A number as it is compared: its digits, with a + where it names the country."""
    text = unicodedata.normalize("NFKC", phone).strip()
    digits = re.sub("[^0-9]", "", text)
    if text.startswith("+"):
        return f"+{digits}"
    return f"+{digits[2:]}" if digits.startswith("00") else digits


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
