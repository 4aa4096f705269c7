"""How a call to the outside ends: done, refused, not sent, or unknown (DESIGN §2.8). Never a bare exception.

Every call ends as one of

    Done(value)       the other side did it and said so
    Refused(...)      the other side said no; nothing happened there
    NotSent(reason)   the call never left; nothing happened
    Unknown(reason)   it may have happened: look it up by our own reference, or repeat it under the same key
"""

from typing import Generic, TypeVar

from msgspec import Struct

from tallystick.ports.http import NotSent, Unknown

Value = TypeVar("Value")


class Done(Struct, Generic[Value], frozen=True):
    """The other side did it."""

    value: Value


class Refused(Struct, frozen=True):
    """The other side said no. `code` is its machine-readable word, `message` its sentence for people."""

    code: str
    message: str
    status: int = 0


__all__ = ["Done", "NotSent", "Refused", "Unknown"]
