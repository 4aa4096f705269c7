"""The wire: plain ASGI under `/v1`. One request from its first byte to its answer.

    find the route → who calls → read the body → fields → parameters → claim the idempotency key → command → answer

Parameters are checked before a key is claimed, so a wrong call never uses one up. What becomes of the key afterwards is
RULES §5: kept with a final answer, free again after any other refusal, resumable after a fault of ours.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from msgspec import Struct

from tallystick.gateway.accounts.authentication import Authenticator, key_in
from tallystick.gateway.customers.customer import KIND as CUSTOMER
from tallystick.gateway.faults.faults import API, Fault, Faults
from tallystick.gateway.stripe_wire import errors, expanding, forms
from tallystick.gateway.stripe_wire.binding import bind
from tallystick.gateway.stripe_wire.call import Call, Caller, Download, Reply
from tallystick.gateway.stripe_wire.keyed import Keyed
from tallystick.gateway.stripe_wire.objects import API_VERSION
from tallystick.gateway.stripe_wire.parameters import Parameters
from tallystick.gateway.stripe_wire.people import People
from tallystick.gateway.stripe_wire.routing import Route, Routes
from tallystick.kernel.batching import QueueFull
from tallystick.kernel.idempotency import Claim, ClaimRequest, KeyInvalid, Scope, fingerprints, parse_key
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.people.access import AccessDenied
from tallystick.kernel.people.keys import KeysUnavailable
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import UNTRACED, Span, Tracer, read_bytes

BODY_DEADLINE_S = 20.0  # a caller that drips its body slower than this holds a place for nothing
UNAVAILABLE_RETRY_S = 2
VERSION_BYTES_MAX = 64

_PRINTABLE = re.compile(rb"[ -~]+")

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

log = structlog.get_logger("tallystick.gateway.wire")


class Request(Struct):
    """What a request says of itself before its body is read. Headers that must not come twice are kept as lists."""

    method: str
    path: str
    query: bytes
    id: str
    authorization: list[bytes]
    idempotency_key: list[bytes]
    content_type: bytes = b""
    content_length: bytes = b""
    version: bytes = b""
    connected_account: bytes = b""
    traceparent: bytes = b""
    address: str = ""
    key: str | None = None
    fault: Fault | None = None


class Wire:
    """The ASGI application under `/v1`."""

    def __init__(
        self,
        routes: Routes,
        authenticator: Authenticator,
        keyed: Keyed,
        faults: Faults,
        clock: Clock,
        entropy: Entropy,
        rates: Rates | None = None,
        proxies: Proxies | None = None,
        people: People | None = None,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._people = people
        self._tracer = tracer
        self._rates = rates or Rates()
        self._proxies = proxies or Proxies()
        self._routes = routes
        self._authenticator = authenticator
        self._keyed = keyed
        self._faults = faults
        self._clock = clock
        self._entropy = entropy

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        request = _request(scope, new_id("req", self._clock.now(), self._entropy))
        request.address = self._proxies.client(scope)
        headers = [(b"request-id", request.id.encode())]
        try:
            reply = await self._answer(request, receive, headers)
        except errors.WireError as error:
            reply = error.reply()
            headers += _error_headers(error)
        except AccessDenied:
            reply = errors.NotPermitted("The policy does not grant it.", code="access_denied").reply()
        except (DatabaseUnavailable, SerializationFailed, QueueFull, KeysUnavailable) as error:
            log.warning("unavailable", request_id=request.id, error=type(error).__name__)
            unavailable = errors.Unavailable(
                "The service is unavailable. Try again.", retry_after_s=UNAVAILABLE_RETRY_S
            )
            reply = unavailable.reply()
            headers += _error_headers(unavailable)
        except Exception:
            # The edge: whatever broke becomes a 500 with a reference. No parameter and no path goes into the log.
            log.exception("request_broke", request_id=request.id, method=request.method)
            broken = _broken(request)
            reply = broken.reply()
            headers += _error_headers(broken)
        if request.fault is not None and request.fault.kind == "error_after":
            broken = _broken(request)
            reply, headers = broken.reply(), [headers[0], *_error_headers(broken)]
        await _send(send, reply, headers, request)

    async def _answer(self, request: Request, receive: Receive, headers: list[Header]) -> Reply:
        route, id = self._routes.find(request.method, request.path)
        caller = await self._caller(request)
        _check_permitted(request, route, caller)
        route.check_id(id)
        with self._span(request, route) as span:
            try:
                reply = await self._called(request, route, id, caller, receive, headers)
            except errors.WireError as error:
                span.answered(error.status)
                raise
            span.answered(reply.status)
            return reply

    def _span(self, request: Request, route: Route) -> Span:
        """The call as a step of its caller's trace, or of a new one where it asks for something to be done. It begins
        once we know who calls: strangers give us nothing to follow."""
        above = read_bytes(request.traceparent) if self._tracer.on and request.traceparent else None
        span = self._tracer.span(f"{route.method} {route.path}", "server", above, begins=request.method == "POST")
        span.note(method=route.method, route=route.path, request_id=request.id)
        return span

    async def _called(
        self, request: Request, route: Route, id: str, caller: Caller, receive: Receive, headers: list[Header]
    ) -> Reply:
        if not caller.livemode:
            request.fault = await self._faults.strike(API, caller.account_id)
            if request.fault is not None and request.fault.kind == "error_before":
                raise _broken(request)
        if request.version and caller.kind == "secret":  # a publishable key is in every shopper's hands
            await self._authenticator.note_version(caller, request.version.decode("ascii"))
        body = await _body(request, receive) if request.method == "POST" else b""
        fields = forms.parse(request.content_type, request.query, body)
        parameters = bind(route.parameters, fields)
        if parameters.expand:
            expanding.checked(route.kind, parameters.expand, listed=route.listed)
        if request.method != "POST":
            return await route.run(Call(caller, request.id), id, parameters)
        request.key = _key(request.idempotency_key)
        if request.key is None:
            reply = await route.run(Call(caller, request.id), id, parameters)
        else:
            reply = await self._once(request, caller, route, id, parameters, fields, headers)
        return reply if self._people is None else await self._people.named(caller, reply, parameters.expand)

    async def _caller(self, request: Request) -> Caller:
        """Who calls, if not too quickly. Raises Unauthenticated, TooMany."""
        at_s, rates = self._clock.monotonic_s(), self._rates
        if rates.stranger(request.address, at_s):
            raise errors.too_many_requests(rates.refusals.retry_after_s)
        try:
            key = key_in(request.authorization)
            caller = await self._authenticator.caller(key)
        except errors.Unauthenticated:
            rates.refused(request.address, at_s)
            raise
        # The key's and not the header's: a key can be written in any number of ways. And as of now: the look may have
        # taken its time.
        if rates.keys.exceeded(hash(key), self._clock.monotonic_s()):
            raise errors.too_many_requests(rates.keys.retry_after_s)
        return caller

    async def _once(
        self,
        request: Request,
        caller: Caller,
        route: Route,
        id: str,
        parameters: Parameters,
        fields: forms.Fields,
        headers: list[Header],
    ) -> Reply:
        assert request.key is not None
        scope = Scope(caller.account_id, caller.mode, request.key)

        async def execute(claim: Claim) -> Reply:
            return await route.run(Call(caller, request.id, request.key, claim), id, parameters)

        keys = self._people.fingerprint_keys if self._people is not None and route.kind == CUSTOMER else ()
        sent, *others = fingerprints(request.method, request.path, fields, keys)
        reply, replayed = await self._keyed.run(ClaimRequest(scope, sent, tuple(others)), execute)
        if replayed:
            headers.append((b"idempotent-replayed", b"true"))
            return reply if self._people is None else await self._people.replayed(caller, reply)
        return reply


def _broken(request: Request) -> errors.Broken:
    return errors.Broken(f"An error of ours. Ask about the request {request.id}.")


def _request(scope: Mapping[str, Any], id: str) -> Request:
    request = Request(scope["method"], scope["path"], scope["query_string"], id, [], [])
    for name, value in scope["headers"]:
        match name:
            case b"authorization":
                request.authorization.append(value)
            case b"idempotency-key":
                request.idempotency_key.append(value)
            case b"content-type":
                request.content_type = value
            case b"content-length":
                request.content_length = value
            case b"stripe-version":
                request.version = value if len(value) <= VERSION_BYTES_MAX and _PRINTABLE.fullmatch(value) else b""
            case b"stripe-account":
                request.connected_account = value
            case b"traceparent":
                request.traceparent = value
    return request


def _check_permitted(request: Request, route: Route, caller: Caller) -> None:
    if caller.kind == "publishable" and not route.publishable:
        raise errors.NotPermitted(
            "This API call cannot be made with a publishable API key. Please use a secret API key.",
            code="secret_key_required",
        )
    # To act for another account than the caller believes is worse than to refuse.
    if request.connected_account and request.connected_account != caller.account_id.encode():
        raise errors.NotPermitted(
            "The provided key does not have access to the account that Stripe-Account names.", code="account_invalid"
        )


def _key(values: list[bytes]) -> str | None:
    try:
        return parse_key(values)
    except KeyInvalid as error:
        raise errors.InvalidRequest(f"{error}.", code="idempotency_key_invalid") from None


async def _body(request: Request, receive: Receive) -> bytes:
    """The whole body. Raises TooLarge, or InvalidRequest when it does not come."""
    declared = request.content_length
    if declared.isdigit() and (len(declared) > 9 or int(declared) > forms.BODY_BYTES_MAX):
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            message = await receive()
            body: bytes = message.get("body", b"")
            while message.get("more_body", False) and len(body) <= forms.BODY_BYTES_MAX:
                message = await receive()
                body += message.get("body", b"")
    except TimeoutError:
        raise errors.InvalidRequest("The request's body did not arrive in time.", status=408) from None
    if message["type"] == "http.disconnect":
        raise errors.InvalidRequest("The request's body did not arrive.")
    if len(body) > forms.BODY_BYTES_MAX:
        raise _too_large()
    return body


def _too_large() -> errors.TooLarge:
    return errors.TooLarge(f"The request is larger than {forms.BODY_BYTES_MAX} bytes.")


def _error_headers(error: errors.WireError) -> list[Header]:
    headers: list[Header] = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.should_retry is not None:
        headers.append((b"stripe-should-retry", b"true" if error.should_retry else b"false"))
    if error.status in (408, 413):
        headers.append((b"connection", b"close"))  # what is left of the body is not read
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="Tallystick"'))
    return headers


async def _send(send: Send, reply: Reply, headers: list[Header], request: Request) -> None:
    if request.key is not None:
        headers.append((b"idempotency-key", request.key.encode()))
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [
                (b"content-type", reply.content_type.encode() if isinstance(reply, Download) else b"application/json"),
                (b"content-length", str(reply.size_bytes if isinstance(reply, Download) else len(reply.body)).encode()),
                (b"cache-control", b"no-cache, no-store"),
                (b"stripe-version", request.version or API_VERSION.encode()),
                *headers,
            ],
        }
    )
    if request.fault is not None and request.fault.kind == "drop_answer":
        return  # the server closes the connection of an answer that has no body
    if isinstance(reply, Download):
        async for piece in reply.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": reply.body})
