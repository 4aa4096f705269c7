"""Identifiers: prefixed, time-ordered, unguessable, made by the application (DESIGN §2.6).

An identifier is `prefix_` + 9 characters of milliseconds + 16 characters of randomness (95 bits), all in base 62 in
ASCII order, so that sorting the text sorts by time. An *owned* identifier carries its owner's own characters before the
time: what a bare URL names (a checkout session, a connection) finds its owner without a lookup table across owners.
"""

from datetime import datetime

from tallystick.ports.entropy import Entropy

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TIME_CHARACTERS = 9  # 62**9 milliseconds reach far beyond the year 400,000
RANDOM_CHARACTERS = 16
OWNER_CHARACTERS = 16
SECRET_BITS = 128

_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)


def new_id(prefix: str, at: datetime, entropy: Entropy) -> str:
    """A fresh identifier such as `evt_…`, ordered by `at` to the millisecond."""
    return f"{prefix}_{_time(at)}{_random(entropy, RANDOM_CHARACTERS)}"


def new_owner_id(prefix: str, entropy: Entropy) -> str:
    """The identifier of an owner (`acct_…`, `mer_…`): random, of fixed length, so that owned identifiers can carry
    it."""
    return f"{prefix}_{_random(entropy, OWNER_CHARACTERS)}"


def owned_id(prefix: str, owner: str, at: datetime, entropy: Entropy) -> str:
    """A fresh identifier that carries its owner: `cs_test_` + the owner's characters + time + randomness."""
    characters = owner.rpartition("_")[2]
    assert len(characters) == OWNER_CHARACTERS, "owners are made by new_owner_id"
    return f"{prefix}_{characters}{_time(at)}{_random(entropy, RANDOM_CHARACTERS)}"


def owner_of(identifier: str, owner_prefix: str) -> str | None:
    """The owner that an owned identifier carries, or None when the text cannot be one. Says nothing of whether it
    exists."""
    characters = identifier.rpartition("_")[2]
    if len(characters) != OWNER_CHARACTERS + TIME_CHARACTERS + RANDOM_CHARACTERS:
        return None
    if not (characters.isascii() and characters.isalnum()):
        return None
    return f"{owner_prefix}_{characters[:OWNER_CHARACTERS]}"


def new_secret(prefix: str, entropy: Entropy) -> str:
    """A secret to show once, such as `sk_test_…`: at least 128 random bits."""
    return f"{prefix}_{_random(entropy, 24)}"


def _time(at: datetime) -> str:
    return _base62(int(at.timestamp() * 1000), TIME_CHARACTERS)


def _random(entropy: Entropy, characters: int) -> str:
    # One byte more than the characters need keeps the bias of the modulo below 2**-8.
    return _base62(int.from_bytes(entropy.token_bytes(characters * 6 // 8 + 1)) % 62**characters, characters)


def _base62(number: int, width: int) -> str:
    """The last `width` digits. Two at a time: ids are made on every hot path."""
    digits = []
    for _ in range(width // 2):
        number, pair = divmod(number, 62 * 62)
        digits.append(_PAIRS[pair])
    if width % 2:
        digits.append(ALPHABET[number % 62])
    return "".join(reversed(digits))
