"""`POST /webhooks/{connection}`: the hot path, a plain ASGI callable (RULES §7).

    size → raw bytes → signature → event id → intake (its commit) → 200

Nothing is parsed before its signature is verified, and nothing is answered 200 before it is committed. Usual webhooks,
which are nearly all, are taken in by `begin`, without a task for each; everything else goes through `__call__`. The
answers:

    200  stored now or before        400  malformed, bad_signature, too_old      404  no such connection
    405  not a POST                  413  more than 64 KiB                       503  cannot store it now: send it again
    500  a fault of ours, logged: send it again
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, Final

import msgspec

from tallystick.kernel.batching import QueueFull
from tallystick.kernel.identifiers import is_id
from tallystick.kernel.service import Answer, RawHeaders
from tallystick.kernel.signatures import SignatureRefused, verify_standard, verify_stripe
from tallystick.merchant.gateways.port import EventMalformed, EventRead
from tallystick.merchant.intake.commands import Intake, Webhook, subjects_of
from tallystick.merchant.intake.connections import SecretsUnusable, WebhookConnection, WebhookConnections
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.metrics import WEBHOOK_SECONDS, WEBHOOKS
from tallystick.ports.tracing import UNFOLLOWED, UNTRACED, Span, Tracer, read_bytes

log = logging.getLogger(__name__)

PATH_PREFIX: Final = "/webhooks/"
BODY_BYTES_MAX: Final = 64 * 1024  # RULES §7
BODY_DEADLINE_S: Final = 10.0  # a gateway sends its body at once; who drips it in holds a connection for nothing
RETRY_AFTER_S: Final = 2  # queues drain in less; gateways try again later anyway

_RESULTS: Final = {
    status: WEBHOOKS.labels(result)
    for status, result in {
        200: "stored",
        400: "refused",
        404: "unknown_connection",
        405: "refused",
        413: "too_large",
        500: "failed",
        503: "unavailable",
    }.items()
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ReadEvent = Callable[[bytes], EventRead]


class WebhookEndpoint:
    """The ASGI application behind every connection's webhook address. `read_event` holds a reader for each gateway."""

    def __init__(
        self,
        intake: Intake,
        connections: WebhookConnections,
        read_event: Mapping[str, ReadEvent],
        clock: Clock,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._tracer = tracer
        self._intake = intake
        self._connections = connections
        self._read_event = read_event
        self._clock = clock
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for a path below `/webhooks/`."""
        since_s = self._clock.monotonic_s()
        try:
            answer = await self._answer(scope, receive)
        except _Gone:
            return
        except Exception:  # the edge: whatever it was, the gateway sends the webhook again
            log.exception("webhook not taken in")
            answer = OUR_FAULT
        self._count(answer, since_s)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    def begin(self, connection_id: str, headers: RawHeaders, body: bytes, answer: Callable[[Answer], None]) -> bool:
        """Take in a webhook of a connection that is remembered, if there is nothing wrong with it; see
        kernel/service.Direct. Where there is, nothing was done, and `__call__` finds out what.
        """
        since_s = self._clock.monotonic_s()
        connection = self._connections.remembered(connection_id)
        if connection is None or len(body) > BODY_BYTES_MAX:
            return False
        try:
            event = self._event(connection, body, _verify(connection, headers, body, self._clock.now()))
            span = self._step(headers, event)
            webhook = Webhook(connection.merchant_id, connection.connection_id, body, event, span.stored)
            taken = self._intake.begin(webhook)
        except Exception:  # whatever it is, it happens again there and is told there
            return False

        def committed(taken: "asyncio.Future[None]") -> None:
            error = taken.exception()
            _close(span, error)
            if error is None:
                self._count(STORED, since_s)
                answer(STORED)
            else:
                self._end(webhook, error, answer, since_s)

        taken.add_done_callback(committed)
        return True

    def _count(self, answer: Answer, since_s: float) -> None:
        _RESULTS[answer.status].inc()
        if answer is STORED:  # how long others take is up to whoever sends them: strangers would be what is measured
            WEBHOOK_SECONDS.observe(self._clock.monotonic_s() - since_s)

    def _end(self, webhook: Webhook, error: BaseException, answer: Callable[[Answer], None], since_s: float) -> None:
        async def end() -> None:
            ended = await _answered(self._intake.take_in_failed(webhook, error), webhook)
            self._count(ended, since_s)
            answer(ended)

        task = asyncio.get_running_loop().create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] != "POST":
            return NOT_A_POST
        try:
            body = await _body(scope["headers"], receive)
            connection = await self._connections.find(scope["path"].removeprefix(PATH_PREFIX))
            if connection is None:
                return NO_SUCH_CONNECTION
            event = await self._verified(connection, scope["headers"], body)
        except SignatureRefused as refused:
            return REFUSED[refused.reason]
        except EventMalformed:
            return REFUSED["malformed"]
        except _TooLarge:
            return TOO_LARGE
        except DatabaseUnavailable:
            return COME_AGAIN
        except SecretsUnusable as error:
            log.error("webhooks refused: no usable secret for connection %s", error)
            return COME_AGAIN
        with self._step(scope["headers"], event) as span:
            webhook = Webhook(connection.merchant_id, connection.connection_id, body, event, span.stored)
            answer = await _answered(self._intake.take_in(webhook), webhook)
            span.answered(answer.status)
        return answer

    def _step(self, headers: RawHeaders, event: EventRead) -> Span:
        """Taking the webhook in, as a step of the trace that its sender names: of a verified one only, so strangers
        give us nothing to follow."""
        if not self._tracer.on:
            return UNFOLLOWED
        above = next((value for name, value in headers if name == b"traceparent"), b"")
        span = self._tracer.span("process webhook", "consumer", read_bytes(above))
        if span.stored is not None:
            order_id = event.order_id if event.order_id is not None and is_id(event.order_id) else None
            span.note(event_id=event.event_id, event_type=event.type, order_id=order_id, payment_intent=event.intent)
        return span

    async def _verified(self, connection: WebhookConnection, headers: RawHeaders, body: bytes) -> EventRead:
        """What the body says, once its signature is right. Raises SignatureRefused, EventMalformed."""
        at = self._clock.now()
        try:
            signed_id = _verify(connection, headers, body, at)
        except SignatureRefused as refused:
            fresher = await self._connections.look_again(connection) if refused.reason == "bad_signature" else None
            if fresher is None:
                raise
            signed_id = _verify(fresher, headers, body, at)
        return self._event(connection, body, signed_id)

    def _event(self, connection: WebhookConnection, body: bytes, signed_id: str | None) -> EventRead:
        """What a verified body says. Raises EventMalformed."""
        event = self._read_event[connection.gateway](body)
        if signed_id is not None and signed_id != event.event_id:
            raise EventMalformed("webhook-id is not the event's id")
        return event


class _TooLarge(Exception):
    """The body is longer than we take."""


class _Gone(Exception):
    """The sender hung up before its body was complete; nobody waits for an answer."""


def _close(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.fail(type(error).__name__)
    span.close()


async def _answered(taking_in: Awaitable[None], webhook: Webhook) -> Answer:
    """The answer, once a webhook is stored or could not be. It always comes: whatever it was, the gateway sends it
    again.
    """
    try:
        await taking_in
    except (QueueFull, DatabaseUnavailable, SerializationFailed):
        return COME_AGAIN
    except Exception:  # the edge
        log.exception("webhook not taken in", extra=subjects_of(webhook))
        return OUR_FAULT
    return STORED


def _verify(connection: WebhookConnection, headers: RawHeaders, body: bytes, at: datetime) -> str | None:
    """Check the signature by the connection's scheme; gives the `webhook-id` where the scheme signs one."""
    if connection.scheme == "standard":
        return verify_standard(connection.secrets, headers, body, at)
    verify_stripe(connection.secrets, headers, body, at)
    return None


async def _body(headers: RawHeaders, receive: Receive) -> bytes:
    """The raw body. Raises _TooLarge as soon as that is certain."""
    for name, value in headers:
        # The server has checked that it is a number; a body in chunks declares none and is counted below.
        if name == b"content-length" and int(value) > BODY_BYTES_MAX:
            raise _TooLarge
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message["body"]
        if len(body) > BODY_BYTES_MAX:
            raise _TooLarge
        return body
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            return await _rest_of_body(message, receive)
    except TimeoutError:
        raise SignatureRefused("malformed") from None


async def _rest_of_body(message: Message, receive: Receive) -> bytes:
    body = bytearray()
    while message["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise _TooLarge
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()
    raise _Gone


def _answer(status: int, code: str = "", detail: str = "", *headers: tuple[bytes, bytes]) -> Answer:
    """An answer that is the same every time, built once: empty, or a problem (RFC 9457)."""
    body = (
        msgspec.json.encode({"type": "about:blank", "status": status, "code": code, "detail": detail}) if code else b""
    )
    content_type = [(b"content-type", b"application/problem+json")] if code else []
    length = (b"content-length", str(len(body)).encode())
    return Answer(status, (length, *content_type, *headers), body)


STORED: Final = _answer(200)
REFUSED: Final = {
    "bad_signature": _answer(400, "bad_signature", "No live secret of this connection made one of the signatures."),
    "too_old": _answer(400, "too_old", "The signature's timestamp is more than five minutes from now."),
    "malformed": _answer(400, "malformed", "The signature headers or the body are not of the agreed form."),
}
NO_SUCH_CONNECTION: Final = _answer(404, "connection_unknown", "No connection has this webhook address.")
NOT_A_POST: Final = _answer(405, "method_not_allowed", "Webhooks are sent with POST.", (b"allow", b"POST"))
TOO_LARGE: Final = _answer(413, "body_too_large", "A webhook has at most 64 KiB.")
OUR_FAULT: Final = _answer(500, "internal_error", "The webhook could not be taken in.")
COME_AGAIN: Final = _answer(
    503, "unavailable", "The webhook could not be stored now.", (b"retry-after", str(RETRY_AFTER_S).encode())
)
