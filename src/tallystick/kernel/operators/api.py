"""The operator API: JSON under /operator/v1, for holders of a key; every error leaves as a problem (RFC 9457).

A service gives its handlers, whose paths begin below the prefix, and the table that says which roles each is for; they
answer with `answer`, and raise what stands in `problems`. Who calls, whether the role
allows it, and the audit trail are dealt with here, before any handler runs.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, cast

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from msgspec import Struct

from tallystick.kernel.audit.outcomes import begin, noting_outcomes
from tallystick.kernel.audit.trail import Act, Trail
from tallystick.kernel.batching import QueueFull
from tallystick.kernel.operators.keys import Operator, operator_of
from tallystick.kernel.operators.problems import DatabaseDown, Internal, NotAllowed, NotFound, TooMany, Unauthenticated
from tallystick.kernel.operators.roles import Access, Role, may, route
from tallystick.kernel.problems import (
    PROBLEM_JSON,
    Problem,
)
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.refusals import exception_handlers
from tallystick.kernel.requests import NoQuery, query, raw_body
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseUnavailable, SerializationFailed
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

PREFIX: Final = "/operator/v1"
BODY_BYTES_MAX: Final = 64 * 1024  # a list of some hundred ids; nothing that operators send is larger
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Call = Request[Operator, Any, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Greeting(Struct, frozen=True):
    """`GET /operator/v1`: which service this is, and whom it takes the caller for."""

    service: str
    operator: str
    role: Role


def operator_api(
    service: str,
    access: Access,
    handlers: Sequence[HTTPRouteHandler | Router],
    database: Database,
    clock: Clock,
    entropy: Entropy,
    proxies: Proxies | None = None,
    rates: Rates | None = None,
) -> Asgi:
    """The application behind /operator/v1 of `service`; `access` names every route of it with its roles."""
    trail, known, limits = Trail(database, clock, entropy), proxies or Proxies(), rates or Rates()

    @get("/")
    async def greet(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answer(Greeting(service, request.auth.name, request.auth.role))

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        assert isinstance(connection, Request)
        address, at_s = known.client(connection.scope), clock.monotonic_s()
        if limits.stranger(address, at_s):
            raise TooMany(retry_after_s=limits.refusals.retry_after_s)
        try:
            operator = connection.scope["auth"] = await _operator(connection, database)
        except Unauthenticated:
            limits.refused(address, at_s)
            log.warning("a key that opens nothing at %s, from %s", PREFIX, address)
            raise
        if "\x00" in connection.scope["path"]:
            raise NotFound  # no id holds one, and PostgreSQL takes no text that does
        await _admit(connection, operator, access, trail, known)

    api = Litestar(
        route_handlers=[Router(PREFIX, route_handlers=[greet, *handlers], guards=[guard])],
        openapi_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        exception_handlers=exception_handlers(
            _told,
            clock,
            entropy,
            body_bytes_max=BODY_BYTES_MAX,
            not_found=NotFound,
            internal=Internal,
            foreseen=dict.fromkeys((DatabaseUnavailable, SerializationFailed, QueueFull), DatabaseDown()),
        ),
        logging_config=None,
    )
    here = {route(method, each.path_format) for each in api.routes for method in each.methods - {"OPTIONS"}}
    assert here == access.keys(), f"routes and roles differ: {sorted(here ^ access.keys())}"
    return noting_outcomes(cast(Asgi, api), trail)


async def _admit(
    request: Request[Operator, Any, Any], operator: Operator, access: Access, trail: Trail, proxies: Proxies
) -> None:
    """Let the operator pass, with an entry in the audit trail where something may change. Raises NotAllowed."""
    method, asked = request.method, route(request.method, request.scope["path_template"])
    if method == "OPTIONS":  # the framework's own answer: which methods there are
        return
    allowed = may(access, asked, operator.role)
    if allowed and method == "GET" and not asked.endswith("/audit"):
        return
    act = Act(
        operator=operator.name,
        role=operator.role,
        via="api",
        act=asked,
        subject="/".join(map(str, request.path_params.values())),
        asked=await _asked(request) if allowed else None,
        address=proxies.client(request.scope),
    )
    if not allowed:
        await trail.note(act, NotAllowed.status)
        raise NotAllowed
    await begin(cast(MutableMapping[str, Any], request.scope), trail, act)


async def _asked(request: Request[Operator, Any, Any]) -> dict[str, object] | None:
    """The query, or the members of the body, as far as they can be read."""
    if request.method == "GET":
        return dict(request.query_params.items()) or None
    try:
        return msgspec.json.decode(await raw_body(request), type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def answer(value: Any, status: int = 200) -> Response[bytes]:
    """A value as JSON."""
    return Response(
        msgspec.json.encode(value), status_code=status, media_type="application/json", headers=dict(HEADERS)
    )


async def _operator(connection: ASGIConnection[Any, Any, Any, Any], database: Database) -> Operator:
    sent = [value for name, value in connection.scope["headers"] if name == b"authorization"]
    if len(sent) != 1:
        raise Unauthenticated
    scheme, _, key = sent[0].decode("latin-1").partition(" ")
    found = await operator_of(database, key.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise Unauthenticated
    return found


def _told(problem: Problem) -> Response[bytes]:
    headers = {**HEADERS, **problem.headers}
    return Response(problem.body(), status_code=problem.status, media_type=PROBLEM_JSON, headers=headers)
