"""The second factor: codes that change every 30 seconds (TOTP, RFC 6238 over RFC 4226 with SHA-1, six digits). Pure.

Ten lines of arithmetic over `hmac`; what a library would add (a picture of the secret) is not needed here. A code is
good for the step that it belongs to and its neighbours, because clocks of telephones differ, and only once.
"""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Final
from urllib.parse import quote

STEP_S: Final = 30
DIGITS: Final = 6
STEPS_APART_MAX: Final = 1  # how far the other clock may be away
SECRET_BYTES: Final = 20  # as long as the hash, as RFC 4226 recommends


def code_at(secret: bytes, step: int) -> str:
    """The code of a step of time."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), hashlib.sha1)
    place = digest[-1] & 0x0F
    number = int.from_bytes(digest[place : place + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_of(secret: bytes, code: str, at: datetime, *, after: int) -> int | None:
    """The step that a code belongs to, or None where it is wrong; steps up to `after` have been used."""
    sent, now, found = code.replace(" ", "").encode(), int(at.timestamp()) // STEP_S, None
    for step in range(now - STEPS_APART_MAX, now + STEPS_APART_MAX + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), sent) and step > after:
            found = step
    return found


def shown(secret: bytes) -> str:
    """The secret as people type it."""
    text = base64.b32encode(secret).decode().rstrip("=")
    return " ".join(text[place : place + 4] for place in range(0, len(text), 4))


def address(secret: bytes, name: str, issuer: str) -> str:
    """The secret as a link that an authenticator app opens (`otpauth://`)."""
    text = base64.b32encode(secret).decode().rstrip("=")
    label = quote(f"{issuer}:{name}", safe=":")
    return f"otpauth://totp/{label}?secret={text}&issuer={quote(issuer, safe='')}&digits={DIGITS}&period={STEP_S}"
