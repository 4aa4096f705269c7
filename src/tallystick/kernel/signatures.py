"""Signing and verifying webhooks, both schemes: Stripe's and Standard Webhooks. Pure: time is a parameter.

A webhook's body is signed and verified as bytes, before anything is parsed. Every function takes all live secrets,
because during a rotation two of them are valid. RULES §6 (signing), §7 (verifying).

The verifier is our own: the published ones raise three kinds of error on hostile input and take fractions of a second
as a timestamp. This one compares the *encoded* signatures, so nothing that a stranger sent is ever decoded, and it
raises `SignatureRefused` and nothing else, whatever bytes it is given.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

TOLERANCE_S: Final = 300
"""How far a signature's timestamp may lie from our clock, both ways: replays older than this are refused. RULES §7."""

STANDARD_KEY_BYTES_MIN: Final = 24
STANDARD_KEY_BYTES_MAX: Final = 64
"""Standard Webhooks asks for keys of 24 to 64 bytes. RULES §6."""

SECRET_PREFIX: Final = "whsec_"

_TIMESTAMP_DIGITS_MAX: Final = 12
"""Seconds up to the year 33658; a longer number is an attack on the integer parser, not a time."""
_WEBHOOK_ID_BYTES_MAX: Final = 255
"""Event ids that we store are no longer than this."""

Headers = Iterable[tuple[bytes, bytes]]
"""Header names and values as they came in, repeated ones repeated; names in any case."""

Reason = Literal["bad_signature", "too_old", "malformed"]


class SignatureRefused(Exception):
    """This request is not what a holder of the secret has just sent. `reason` says why, for logs and counters."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def sign_stripe(secrets: Sequence[str], timestamp: int, body: bytes) -> str:
    """The value of `Stripe-Signature`: `t=…,v1=…`, one `v1` for each secret. `timestamp` is in whole seconds."""
    signed = b"%d.%b" % (timestamp, body)
    signatures = [hmac.digest(stripe_key(secret), signed, "sha256").hex() for secret in _some(secrets)]
    return ",".join([f"t={timestamp}", *(f"v1={signature}" for signature in signatures)])


def sign_standard(secrets: Sequence[str], id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: `v1,…` for each secret, separated by blanks; `timestamp` in whole seconds."""
    signed = b"%b.%d.%b" % (id.encode("ascii"), timestamp, body)
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(standard_key(secret), signed, "sha256")).decode("ascii")
        for secret in _some(secrets)
    )


def verify_stripe(secrets: Sequence[str], headers: Headers, body: bytes, at: datetime) -> int:
    """Check `Stripe-Signature` and return its timestamp in seconds; other signature headers are ignored.

    Raises `SignatureRefused`; `ValueError` only for a secret of ours that could never have been one.
    """
    timestamps: list[bytes] = []
    given: list[bytes] = []
    for item in _one_header(headers, b"stripe-signature").split(b","):
        scheme, equals, value = item.partition(b"=")
        if scheme == b"v1":
            given.append(value)
        elif scheme == b"t" and equals:
            timestamps.append(value)
    if len(timestamps) != 1:
        raise SignatureRefused("malformed")
    timestamp = _seconds(timestamps[0])
    signed = b"%b.%b" % (timestamps[0], body)
    expected = [hmac.digest(stripe_key(secret), signed, "sha256").hex().encode("ascii") for secret in _some(secrets)]
    _require_match(expected, given)
    _require_recent(timestamp, at)
    return timestamp


def verify_standard(secrets: Sequence[str], headers: Headers, body: bytes, at: datetime) -> str:
    """Check the three `webhook-…` headers and return the `webhook-id`.

    Raises `SignatureRefused`; `ValueError` only for a secret of ours that could never have been one.
    """
    headers = list(headers)
    id = _webhook_id(_one_header(headers, b"webhook-id"))
    sent_at = _one_header(headers, b"webhook-timestamp")
    timestamp = _seconds(sent_at)
    given = [item[3:] for item in _one_header(headers, b"webhook-signature").split(b" ") if item.startswith(b"v1,")]
    signed = b"%b.%b.%b" % (id, sent_at, body)
    expected = [base64.b64encode(hmac.digest(standard_key(secret), signed, "sha256")) for secret in _some(secrets)]
    _require_match(expected, given)
    _require_recent(timestamp, at)
    return id.decode("ascii")


def stripe_key(secret: str) -> bytes:
    """The HMAC key of a Stripe secret: the whole string. An empty one is a `ValueError`: with it anybody could sign."""
    if not secret.strip().removeprefix(SECRET_PREFIX):
        raise ValueError("the webhook secret is empty")
    return secret.encode()


def standard_key(secret: str) -> bytes:
    """The HMAC key of a Standard Webhooks secret: `whsec_` and base64 of 24–64 bytes, padded or not.

    Anything else is a `ValueError`.
    """
    try:
        encoded = secret.removeprefix(SECRET_PREFIX).rstrip("=")
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        # Without the cause: its traceback would show the secret to whoever logs locals.
        raise ValueError("the webhook secret is not base64") from None
    if not STANDARD_KEY_BYTES_MIN <= len(key) <= STANDARD_KEY_BYTES_MAX:
        raise ValueError(f"the webhook secret must have {STANDARD_KEY_BYTES_MIN} to {STANDARD_KEY_BYTES_MAX} bytes")
    return key


def _some(secrets: Sequence[str]) -> Sequence[str]:
    assert not isinstance(secrets, str), "a list of secrets, not one"
    if not secrets:
        raise ValueError("there is no webhook secret")
    return secrets


def _one_header(headers: Headers, name: bytes) -> bytes:
    """The only value of a header. Sent twice, a proxy and we might each believe another one, so that is refused."""
    values = [value for key, value in headers if key.lower() == name]
    if len(values) != 1:
        raise SignatureRefused("malformed")
    return values[0]


def _webhook_id(value: bytes) -> bytes:
    # A full stop would let the parts of "id.timestamp.body" be cut elsewhere than where they were signed.
    if not 0 < len(value) <= _WEBHOOK_ID_BYTES_MAX or not all(0x21 <= byte <= 0x7E for byte in value) or b"." in value:
        raise SignatureRefused("malformed")
    return value


def _seconds(value: bytes) -> int:
    # bytes.isdigit knows ASCII digits only: no sign, fraction, exponent, underscore or Arabic digit passes.
    if not value.isdigit() or len(value) > _TIMESTAMP_DIGITS_MAX:
        raise SignatureRefused("malformed")
    return int(value)


def _require_match(expected: Sequence[bytes], given: Sequence[bytes]) -> None:
    matched = False
    for ours in expected:
        for theirs in given:
            matched |= hmac.compare_digest(ours, theirs)
    if not matched:
        raise SignatureRefused("bad_signature")


def _require_recent(timestamp: int, at: datetime) -> None:
    # After the signature: only a holder of the secret learns that his clock is wrong.
    if abs(at.timestamp() - timestamp) > TOLERANCE_S:
        raise SignatureRefused("too_old")
