"""Reading the requests of our JSON APIs: bodies and query parameters as structs. What is wrong becomes a Problem."""

import re
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from msgspec import Struct

from tallystick.kernel.card_numbers import without_card_numbers
from tallystick.kernel.problems import FieldError, FieldsRefused, Malformed, MediaTypeRefused

Type = TypeVar("Type")


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Routes that take no query parameters."""


async def body(request: Request[Any, Any, Any], type: type[Type]) -> Type:
    """The body as `type`. Raises MediaTypeRefused, Malformed and FieldsRefused."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise MediaTypeRefused
    return read(await raw_body(request), type)


async def raw_body(request: Request[Any, Any, Any]) -> bytes:
    """The body as it was sent. Raises Malformed where it breaks off: no fault of ours, and nobody listens any more."""
    try:
        return await request.body()
    except InternalServerException:  # how the framework says so
        raise Malformed from None


def read(raw: bytes, type: type[Type]) -> Type:
    """JSON as `type`. Raises Malformed and FieldsRefused."""
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.ValidationError as error:
        raise FieldsRefused("See errors.", errors=[_field_error(error, "body")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed from None


def query(request: Request[Any, Any, Any], type: type[Type]) -> Type:
    """The query parameters as `type`; unknown and repeated ones are refused. Raises FieldsRefused."""
    sent = list(request.query_params.multi_items())
    given = dict(sent)
    if len(given) != len(sent):
        raise FieldsRefused("See errors.", errors=[FieldError("query", "a parameter was sent more than once")])
    try:
        return msgspec.convert(given, type, strict=False)
    except msgspec.ValidationError as error:
        raise FieldsRefused("See errors.", errors=[_field_error(error, "query")]) from None


def _field_error(error: msgspec.ValidationError, whole: str) -> FieldError:
    """msgspec says "… - at `$.line_items[0].amount`" or "Object contains unknown field `x`"."""
    message, _, path = without_card_numbers(str(error)).partition(" - at `")
    return FieldError(re.sub(r"^\$\.?", "", path.rstrip("`")) or whole, message)
