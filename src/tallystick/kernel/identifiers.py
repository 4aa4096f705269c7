"""Identifiers: prefixed, time-ordered, unguessable, made by the application (DESIGN §2.6).

An identifier is `prefix_` + 9 characters of milliseconds + 16 characters of randomness (90 bits), all in base 62 in
ASCII order, so that sorting the text sorts by time. An *owned* identifier carries its owner's own characters before the
time: what a bare URL names (a checkout session, a connection) finds its owner without a lookup table across owners.
"""

from datetime import datetime
from functools import lru_cache

from tallystick.ports.entropy import Entropy

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TIME_CHARACTERS = 9  # 62**9 milliseconds reach far beyond the year 400,000
RANDOM_CHARACTERS = 16
OWNER_CHARACTERS = 16
SECRET_CHARACTERS = 24

_CHARACTER_OF_BYTE = bytes(ALPHABET.encode()[byte % 62] for byte in range(256))


def new_id(prefix: str, at: datetime, entropy: Entropy) -> str:
    """A fresh identifier such as `evt_…`, ordered by `at` to the millisecond."""
    return f"{prefix}_{_time(int(at.timestamp() * 1000))}{_random(entropy, RANDOM_CHARACTERS)}"


def first_id(prefix: str, at: datetime, owner: str = "") -> str:
    """What sorts before every identifier made at `at` or later and after earlier ones. `owner`: of owned ones. Before
    1970 none was made."""
    return f"{prefix}_{owner.rpartition('_')[2]}{_time(max(0, int(at.timestamp() * 1000)))}"


def new_owner_id(prefix: str, entropy: Entropy) -> str:
    """The identifier of an owner (`acct_…`, `mer_…`): random, of fixed length, so that owned identifiers can carry
    it."""
    return f"{prefix}_{_random(entropy, OWNER_CHARACTERS)}"


def is_owner_id(prefix: str, text: str) -> bool:
    """Whether the text has the form of an owner's identifier: it says nothing of whether there is such an owner."""
    named, _, characters = text.rpartition("_")
    return named == prefix and len(characters) == OWNER_CHARACTERS and characters.isascii() and characters.isalnum()


def owned_id(prefix: str, owner: str, at: datetime, entropy: Entropy) -> str:
    """A fresh identifier that carries its owner: `cs_test_` + the owner's characters + time + randomness."""
    characters = owner.rpartition("_")[2]
    assert len(characters) == OWNER_CHARACTERS, "owners are made by new_owner_id"
    return f"{prefix}_{characters}{_time(int(at.timestamp() * 1000))}{_random(entropy, RANDOM_CHARACTERS)}"


def is_id(text: str) -> bool:
    """Whether the text has the form of an identifier of ours, whatever it names: it says nothing by itself."""
    prefix, underscore, characters = text.rpartition("_")
    lengths = (TIME_CHARACTERS + RANDOM_CHARACTERS, OWNER_CHARACTERS + TIME_CHARACTERS + RANDOM_CHARACTERS)
    return bool(
        underscore
        and len(characters) in lengths
        and len(prefix) <= 16
        and (prefix + characters).replace("_", "").isalnum()
        and text.isascii()
    )


def owner_of(identifier: str, owner_prefix: str) -> str | None:
    """The owner that an owned identifier carries, or None when the text cannot be one. Says nothing of whether it
    exists."""
    prefix, _, characters = identifier.rpartition("_")
    if len(characters) != OWNER_CHARACTERS + TIME_CHARACTERS + RANDOM_CHARACTERS:
        return None
    if not (identifier.isascii() and (prefix.replace("_", "") + characters).isalnum()):
        return None
    return f"{owner_prefix}_{characters[:OWNER_CHARACTERS]}"


def new_secret(prefix: str, entropy: Entropy) -> str:
    """A secret to show once, such as `sk_test_…`: at least 128 random bits."""
    return f"{prefix}_{_random(entropy, SECRET_CHARACTERS)}"


@lru_cache(maxsize=256)
def _time(milliseconds: int) -> str:
    """Milliseconds since 1970 as `TIME_CHARACTERS` characters; what is made in one batch is made in one millisecond."""
    characters = []
    for _ in range(TIME_CHARACTERS):
        milliseconds, digit = divmod(milliseconds, 62)
        characters.append(ALPHABET[digit])
    return "".join(reversed(characters))


def _random(entropy: Entropy, characters: int) -> str:
    # One byte for each character: quick, and the first eight characters of the alphabet are a little likelier (5 : 4),
    # which leaves 5.7 bits a character to an adversary who knows it.
    return entropy.token_bytes(characters).translate(_CHARACTER_OF_BYTE).decode("ascii")
