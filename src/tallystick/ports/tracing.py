"""The tracing port: what happens to one order, step by step, through both services (RULES §13).

A *span* is one step with a beginning and an end, a *trace* all steps of one order. They are OpenTelemetry's, and travel
as W3C Trace Context says: in the header `traceparent`, and in a column of the same form with everything that outlives a
request (payment intents, attempts, events, deliveries, webhooks). Whoever takes such a row up again, an hour later and
in another process, goes on with the trace that it names.

Where nobody follows, nothing is done: no id is drawn, no time is read, no header is looked for. A trace begins where
somebody asks for something (`begins`), and nowhere else: a step that continues nothing is not followed.

A span says what happened by ids, states and codes. What it may bear stands in `NAMES`, all of it; there is no place for
bodies, addresses, names or card data.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import datetime
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol

from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy

HEADER: Final = "traceparent"

NAMES: Final[Mapping[str, str]] = {
    "account_id": "tallystick.account_id",
    "attempt": "tallystick.attempt",
    "charge_id": "tallystick.charge_id",
    "code": "tallystick.code",
    "decline_code": "tallystick.decline_code",
    "delivery_id": "tallystick.delivery_id",
    "endpoint_id": "tallystick.endpoint_id",
    "event_id": "messaging.message.id",
    "event_type": "tallystick.event_type",
    "merchant_id": "tallystick.merchant_id",
    "method": "http.request.method",
    "order_id": "tallystick.order_id",
    "outcome": "tallystick.outcome",
    "payment_intent": "tallystick.payment_intent",
    "reason": "error.type",
    "report": "tallystick.report",
    "request_id": "tallystick.request_id",
    "route": "http.route",
    "run": "tallystick.run",
    "state": "tallystick.state",
    "status": "http.response.status_code",
    "tries": "http.request.resend_count",
}
"""Everything that a span may say, and OpenTelemetry's name for it. A checkout session's id is not among it: it opens
the shopper's page."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | None

_HEADER: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SHARES: Final = 2**56  # the last seven bytes of a trace's id decide whether it is followed, as OpenTelemetry has it


class Context(NamedTuple):
    """A step that others may follow: which trace, which span, and whether anybody looks."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def header(self) -> str:
        """As `traceparent` says it."""
        return f"00-{self.trace_id}-{self.span_id}-0{int(self.sampled)}"


def read(header: str | None) -> Context | None:
    """The context in a `traceparent`, or None where it is none: what cannot be read is left alone, as W3C asks."""
    found = _HEADER.fullmatch(header) if header is not None else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Context(trace_id, span_id, sampled=bool(int(flags, 16) & 1))


def read_bytes(header: bytes) -> Context | None:
    """The same of a header as it came."""
    return read(header.decode("latin-1"))


_CURRENT: ContextVar[Context | None] = ContextVar("_CURRENT", default=None)


def current() -> Context | None:
    """The step that is under way here."""
    return _CURRENT.get()


def stored() -> str | None:
    """What to store with something that outlives this step; None where nobody looks."""
    context = _CURRENT.get()
    return context.header if context is not None and context.sampled else None


@contextmanager
def within(context: Context | None) -> Iterator[None]:
    """Belong to a step for a moment, for who works for many at once; None: as before."""
    if context is None:
        yield
        return
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def outside() -> None:
    """From here on, this task belongs to no step: it works for many."""
    if _CURRENT.get() is not None:
        _CURRENT.set(None)


class Span:
    """A step that nobody follows."""

    __slots__ = ()

    @property
    def context(self) -> Context | None:
        """What follows this step goes on from here."""
        return None

    @property
    def stored(self) -> str | None:
        """What to store with something that outlives this step."""
        return None

    def note(self, **says: Value) -> None:
        """Say something of it, by the names in `NAMES`; None says nothing."""

    def fail(self, reason: str) -> None:
        """It did not do what it was for; `reason` in a word."""

    def answered(self, status: int) -> None:
        """It was answered with this HTTP status."""

    def name_as(self, name: str) -> None:
        """What it is called, where that is known later than that it began."""

    def forget(self) -> None:
        """It is not worth being told of."""

    def close(self) -> None:
        """It is over."""

    def __enter__(self) -> "Span":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


UNFOLLOWED: Final = Span()


class Followed(Span):
    """A step of a trace. It is over when the block that it opens ends, or when it is closed."""

    __slots__ = (
        "_clock",
        "_context",
        "_over",
        "_sink",
        "_token",
        "duration_s",
        "failed",
        "kind",
        "link",
        "name",
        "parent_id",
        "says",
        "started_at",
        "started_s",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        context: Context,
        parent_id: str | None,
        link: Context | None,
        clock: Clock,
        sink: "Sink",
    ) -> None:
        self.name = name
        self.kind = kind
        self.parent_id = parent_id
        self.link = link
        self.says: dict[str, str | int] = {}
        self.failed = False
        self.duration_s = 0.0
        self.started_at: datetime = clock.now()
        self.started_s = clock.monotonic_s()
        self._context = context
        self._clock = clock
        self._sink = sink
        self._token: Token[Context | None] | None = None
        self._over = False

    @property
    def context(self) -> Context:
        return self._context

    @property
    def stored(self) -> str | None:
        return self._context.header if self._context.sampled else None

    def note(self, **says: Value) -> None:
        assert NAMES.keys() >= says.keys(), f"a span says only what stands in NAMES: {says.keys() - NAMES.keys()}"
        self.says.update({name: value for name, value in says.items() if value is not None})

    def fail(self, reason: str) -> None:
        self.failed = True
        self.says["reason"] = reason

    def answered(self, status: int) -> None:
        self.says["status"] = status
        if status >= 500 or (status >= 400 and self.kind in ("client", "producer")):
            self.fail(str(status))

    def name_as(self, name: str) -> None:
        self.name = name

    def forget(self) -> None:
        self._over = True

    def close(self) -> None:
        if self._over:
            return
        self._over = True
        self.duration_s = self._clock.monotonic_s() - self.started_s
        if self._context.sampled:
            self._sink(self)

    def __enter__(self) -> "Followed":
        self._token = _CURRENT.set(self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        _CURRENT.reset(self._token)
        if kind is not None and "status" not in self.says:
            self.fail(kind.__name__)
        self.close()


Sink = Callable[[Followed], None]
"""Takes a step that is over. It returns at once, and raises nothing."""


class Tracer(Protocol):
    """Begins spans."""

    @property
    def on(self) -> bool:
        """Whether anything is followed at all: what costs something is done only then."""
        ...

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        parent: Context | None = None,
        *,
        begins: bool = False,
        link: Context | None = None,
    ) -> Span:
        """A step of what is under way here, or else of `parent`, or else of a new trace where one `begins` with it;
        otherwise a span that nobody follows. `name` is one of few; `link` a step of another trace that it belongs to.
        """
        ...


class Untraced:
    """Nobody follows."""

    on = False

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        parent: Context | None = None,
        *,
        begins: bool = False,
        link: Context | None = None,
    ) -> Span:
        return UNFOLLOWED


UNTRACED: Final = Untraced()


class SpanTracer:
    """Follows a share of what begins here, and whatever of others' somebody follows already."""

    on = True

    def __init__(self, clock: Clock, entropy: Entropy, sink: Sink, *, share: float = 1.0) -> None:
        self._clock = clock
        self._entropy = entropy
        self._sink = sink
        self._limit = int(share * _SHARES)

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        parent: Context | None = None,
        *,
        begins: bool = False,
        link: Context | None = None,
    ) -> Span:
        above = _CURRENT.get() or parent
        if above is not None:
            context = Context(above.trace_id, self._entropy.token_bytes(8).hex(), above.sampled)
            return Followed(name, kind, context, above.span_id, link, self._clock, self._sink)
        if not begins:
            return UNFOLLOWED
        drawn = self._entropy.token_bytes(24)
        sampled = int.from_bytes(drawn[9:16], "big") < self._limit
        context = Context(drawn[:16].hex(), drawn[16:].hex(), sampled)
        return Followed(name, kind, context, None, link, self._clock, self._sink)
