"""HTTP out as steps of a trace: each exchange is a span, and tells the peer by `traceparent` which."""

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec.structs import replace

from tallystick.ports.http import Answered, Downloads, Exchange, Http, HttpRequest
from tallystick.ports.tracing import HEADER, Span, Tracer

Sender = TypeVar("Sender", bound=Http)


class TracedHttp(Generic[Sender]):
    """An HTTP port whose calls to `peer` (a word, not an address) are followed where what causes them is."""

    def __init__(self, http: Sender, tracer: Tracer, peer: str) -> None:
        self._http = http
        self._tracer = tracer
        self._peer = peer

    async def send(self, request: HttpRequest) -> Exchange:
        """Carry out one exchange, as the port behind does."""
        with self._span(request) as span:
            return _noted(span, await self._http.send(_telling(request, span)))

    def _span(self, request: HttpRequest) -> Span:
        return self._tracer.span(f"{request.method} {self._peer}", "client")


class TracedDownloads(TracedHttp[Downloads]):
    """The same for a port that also receives what is too large to hold."""

    async def receive(self, request: HttpRequest, into: Callable[[bytes], object]) -> Exchange:
        """Carry out one exchange, as the port behind does."""
        with self._span(request) as span:
            return _noted(span, await self._http.receive(_telling(request, span), into))


def _telling(request: HttpRequest, span: Span) -> HttpRequest:
    if span.context is None:
        return request
    return replace(request, headers={**request.headers, HEADER: span.context.header})


def _noted(span: Span, exchange: Exchange) -> Exchange:
    if isinstance(exchange, Answered):
        span.answered(exchange.status)
    else:
        span.fail(exchange.reason)
    return exchange
