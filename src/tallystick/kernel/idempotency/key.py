"""The key that the caller sends and the fingerprint of what it was sent with. Pure. RULES §5."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any

import msgspec

KEY_CHARACTERS_MAX = 255

_PRINTABLE = re.compile(rb"[ -~]+")


class KeyInvalid(ValueError):
    """The `Idempotency-Key` header cannot be used; the text says why and never repeats the header."""


def parse_key(values: Sequence[bytes]) -> str | None:
    """The key in the `Idempotency-Key` headers of one request, or None where there is none.

    A key is 1–255 printable ASCII characters, bare or as a quoted string (RFC 8941 §3.3.3). Raises KeyInvalid.
    """
    if not values:
        return None
    if len(values) > 1:
        raise KeyInvalid("Idempotency-Key was sent more than once")
    raw = values[0].strip(b" \t")
    if len(raw) >= 2 and raw.startswith(b'"') and raw.endswith(b'"'):
        raw = raw[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    if not raw:
        raise KeyInvalid("Idempotency-Key is empty")
    if len(raw) > KEY_CHARACTERS_MAX:
        raise KeyInvalid(f"Idempotency-Key is longer than {KEY_CHARACTERS_MAX} characters")
    if not _PRINTABLE.fullmatch(raw):
        raise KeyInvalid("Idempotency-Key may hold printable ASCII characters only")
    return raw.decode("ascii")


def fingerprint(method: str, route: str, fields: Any, key: bytes = b"") -> bytes:
    """SHA-256 of method, route and the sent fields, whatever the order of their members; keyed by `key` where the
    fields name a person, whose name and address could be guessed from the plain hash.

    `fields` is what was sent, decoded (dicts, lists, texts, numbers), with card data already replaced by a keyed HMAC.
    """
    sent = msgspec.json.encode([method, route, fields], order="sorted")
    return hmac.digest(key, sent, hashlib.sha256) if key else hashlib.sha256(sent).digest()


def fingerprints(method: str, route: str, fields: Any, keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """The keyed fingerprint, and those that the same call has under other keys or had in the version before."""
    return tuple(fingerprint(method, route, fields, key) for key in (*keys, b""))
