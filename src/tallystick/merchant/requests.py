"""Reading the API's requests: who calls, with which key, with what. Everything that is wrong becomes a Problem."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from tallystick.kernel.card_numbers import without_card_numbers
from tallystick.kernel.idempotency import KeyInvalid, parse_key
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.merchant.accounts.directory import Directory, Merchant
from tallystick.merchant.errors import (
    FieldError,
    FieldsRefused,
    IdempotencyKeyMissing,
    IdempotencyKeyRefused,
    Malformed,
    MediaTypeRefused,
    TooMany,
    Unauthenticated,
)
from tallystick.ports.clock import Clock

BODY_BYTES_MAX = 64 * 1024  # the largest order that can be described; a hundred lines are a third of it

Call = Request[Merchant, Any, Any]
Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]
Type = TypeVar("Type")


def authenticate(directory: Directory, rates: Rates, proxies: Proxies, clock: Clock) -> Guard:
    """A guard that lets in who holds an API key, and notes the merchant as `request.auth`. Raises Unauthenticated and
    TooMany."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        address, at_s = proxies.client(connection.scope), clock.monotonic_s()
        if rates.stranger(address, at_s):
            raise TooMany(retry_after_s=rates.refusals.retry_after_s)
        scheme, _, api_key = connection.headers.get("authorization", "").partition(" ")
        merchant = await directory.merchant_of_key(api_key.strip()) if scheme.lower() == "bearer" else None
        if merchant is None:
            rates.refused(address, at_s)
            raise Unauthenticated
        if rates.keys.exceeded(hash(api_key), at_s):
            raise TooMany(retry_after_s=rates.keys.retry_after_s)
        connection.scope["auth"] = merchant

    return guard


def idempotency_key(request: Call) -> str:
    """The key of a call that must carry one. Raises IdempotencyKeyMissing and IdempotencyKeyRefused."""
    values = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    try:
        key = parse_key(values)
    except KeyInvalid as invalid:
        raise IdempotencyKeyRefused(str(invalid)) from None
    if key is None:
        raise IdempotencyKeyMissing
    return key


async def body(request: Call, type: type[Type], default: bytes = b"") -> tuple[Type, Any]:
    """The body as `type`, and as it was sent; `default` where none was sent. Raises MediaTypeRefused, Malformed and
    FieldsRefused."""
    raw = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not raw and default:
        raw = default
    elif media_type != "application/json":
        raise MediaTypeRefused
    try:
        return msgspec.json.decode(raw, type=type), msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise FieldsRefused("See errors.", errors=[_field_error(error, "body")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed from None


def query(request: Call, type: type[Type]) -> Type:
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
