"""Values as PostgreSQL reads them in text, for the driver of the simulation (`synchronous.py`)."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from tallystick.ports.database import StatementRefused

NOT_IN_REPERTOIRE: Final = "22021"  # what the server says of a text that it cannot hold


def text_of(value: Any) -> bytes:
    """The value of a parameter. Raises StatementRefused for a text that no column can hold, TypeError for a type that
    no statement of ours takes."""
    write = _TEXT.get(type(value)) or _TEXT[_kind(type(value))]
    return write(value)


def _kind(of: type) -> type:
    """The type that a subclass (an enumeration, say) is written as."""
    return next((kind for kind in of.__mro__ if kind in _TEXT), of)


def _string(value: str) -> bytes:
    if "\0" in value:  # the wire would end the value there
        raise StatementRefused(NOT_IN_REPERTOIRE)
    return value.encode()


def _number(value: object) -> bytes:
    return str(value).encode()


def _array(values: list[Any] | tuple[Any, ...]) -> bytes:
    return b"{" + b",".join([b"NULL" if value is None else _element(value) for value in values]) + b"}"


def _element(value: Any) -> bytes:
    write = _ELEMENT.get(type(value)) or _ELEMENT[_kind(type(value))]
    return write(value)


def _quoted(value: Any) -> bytes:
    return b'"' + text_of(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


_TEXT: Final[Mapping[type, Callable[[Any], bytes]]] = {
    str: _string,
    bool: lambda value: b"t" if value else b"f",
    int: _number,
    float: _number,
    Decimal: _number,
    bytes: lambda value: b"\\x" + value.hex().encode(),
    datetime: lambda value: value.isoformat().encode(),
    date: lambda value: value.isoformat().encode(),
    list: _array,
    tuple: _array,
}
_ELEMENT: Final[Mapping[type, Callable[[Any], bytes]]] = {
    **_TEXT,
    str: _quoted,
    bytes: _quoted,
    datetime: _quoted,
    date: _quoted,
}
