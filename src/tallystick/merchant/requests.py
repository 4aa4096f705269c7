"""Reading the API's requests: who calls, with which key, with what. Everything that is wrong becomes a Problem."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, Response, route
from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from msgspec import Meta

from tallystick.kernel.idempotency import KeyInvalid, parse_key
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.requests import body as read_body
from tallystick.kernel.requests import raw_body, read
from tallystick.merchant.accounts.directory import Directory, Merchant
from tallystick.merchant.errors import IdempotencyKeyMissing, IdempotencyKeyRefused, TooMany, Unauthenticated
from tallystick.ports.clock import Clock

BODY_BYTES_MAX = 64 * 1024  # the largest order that can be described; a hundred lines are a third of it

PAGE_ROWS = 20
PAGE_ROWS_MAX = 100  # one page is one statement and one answer; both stay small

Limit = Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX, description="How many at most.")]
IdCursor = Annotated[
    str, Meta(max_length=100, pattern="^[A-Za-z0-9_]+$", description="next_cursor of the page before.")
]
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
        scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
        api_key = credentials.strip()  # however it was written: it has one rate
        merchant = await directory.merchant_of_key(api_key) if scheme.lower() == "bearer" else None
        if merchant is None:
            rates.refused(address, at_s)
            raise Unauthenticated
        if rates.keys.exceeded(hash(api_key), clock.monotonic_s()):  # the look for the key may have taken its time
            raise TooMany(retry_after_s=rates.keys.retry_after_s)
        connection.scope["auth"] = merchant

    return guard


def allowed_methods(path: str, allowed: str) -> HTTPRouteHandler:
    """What answers OPTIONS: the framework's own answer names only the methods of whichever handler it saw first."""

    @route(path, http_method=["OPTIONS"], status_code=204)
    async def allow() -> Response[None]:
        return Response(None, headers={"Allow": allowed})

    return allow


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
    raw = await raw_body(request)
    if not raw and default:
        return read(default, type), msgspec.json.decode(default)
    return await read_body(request, type), msgspec.json.decode(raw)
