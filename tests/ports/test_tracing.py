"""Spans and the context in which they travel (RULES §13, W3C Trace Context)."""

import contextlib
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.ports import tracing
from tallystick.ports.http import Answered, Exchange, HttpRequest, NotSent
from tallystick.ports.traced_http import TracedHttp
from tallystick.ports.tracing import UNFOLLOWED, UNTRACED, Context, Followed, SpanTracer, read, read_bytes

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # the example of the specification
PARENT = Context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)


class Dice:
    """Randomness that counts how often it is asked."""

    def __init__(self) -> None:
        self.drawn = 0
        self._dice = random.Random(1)

    def token_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return self._dice.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        raise NotImplementedError


class Ticking:
    """A clock on which a second passes whenever it is read."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2027, 1, 2, tzinfo=UTC)

    def monotonic_s(self) -> float:
        self.seconds += 1
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def a_tracer(share: float = 1.0) -> tuple[SpanTracer, list[Followed], Dice]:
    spans: list[Followed] = []
    dice = Dice()
    return SpanTracer(Ticking(), dice, spans.append, share=share), spans, dice


def test_the_header_is_read_and_written_as_the_specification_has_it() -> None:
    assert read(HEADER) == PARENT
    assert PARENT.header == HEADER
    assert read(HEADER[:-1] + "0") == PARENT._replace(sampled=False)
    assert read("cc" + HEADER[2:] + "-what-the-future-brings") == PARENT, "later versions only add something"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        HEADER[:-1],
        HEADER + "-more",
        HEADER.upper(),
        "ff" + HEADER[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        HEADER + "\n",
        " " + HEADER,
    ],
)
def test_what_is_no_context_is_left_alone(header: str | None) -> None:
    assert read(header) is None


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode()))
def test_nothing_that_a_stranger_sends_breaks_the_reader(header: bytes) -> None:
    context = read_bytes(header)
    assert context is None or read(context.header) == context


def test_nobody_follows_and_nothing_is_done() -> None:
    with UNTRACED.span("a step", "server", PARENT, begins=True) as span:
        span.note(anything="goes")
        assert (span.context, span.stored, tracing.current(), tracing.stored()) == (None, None, None, None)
    assert span is UNFOLLOWED


def test_a_step_that_continues_nothing_is_not_followed() -> None:
    tracer, spans, dice = a_tracer()
    with tracer.span("a worker looks", "internal") as span:
        assert span is UNFOLLOWED
    assert not spans
    assert dice.drawn == 0


def test_steps_within_steps_make_one_trace() -> None:
    tracer, spans, _ = a_tracer()
    with tracer.span("asked", "server", begins=True) as outer:
        outer.note(order_id="ord_1", code=None)
        with tracer.span("asks", "client") as inner:
            assert tracing.current() == inner.context
            assert tracing.stored() == inner.stored
        assert tracing.current() == outer.context
    assert tracing.current() is None
    first, second = spans
    assert (first.name, second.name) == ("asks", "asked"), "told when they are over"
    assert first.context.trace_id == second.context.trace_id
    assert (first.parent_id, second.parent_id) == (second.context.span_id, None)
    assert second.says == {"order_id": "ord_1"}
    assert first.duration_s == 1.0


def test_what_was_stored_is_gone_on_with_unless_something_is_under_way() -> None:
    tracer, spans, _ = a_tracer()
    with tracer.span("a try", "producer", read(HEADER)) as span:
        assert span.context is not None
        assert span.context.trace_id == PARENT.trace_id
        with tracer.span("beside", "client", Context("1" * 32, "2" * 16, sampled=True)) as inner:
            assert inner.context is not None
            assert inner.context.trace_id == PARENT.trace_id
    assert [each.parent_id for each in spans] == [span.context.span_id, PARENT.span_id]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_what_begins_is_followed_and_the_rest_says_so_to_others(share: float) -> None:
    tracer, spans, _ = a_tracer(share)
    told: Counter[str] = Counter()
    for _ in range(2_000):
        with tracer.span("asked", "server", begins=True) as span:
            assert span.context is not None
            told[span.context.header[-2:]] += 1
            assert (tracing.stored() is not None) == span.context.sampled
    assert told["01"] == len(spans)
    assert len(spans) == pytest.approx(2_000 * share, abs=120)


def test_what_others_follow_is_followed_whatever_the_share() -> None:
    tracer, spans, _ = a_tracer(share=0.0)
    with tracer.span("asked", "server", PARENT, begins=True):
        pass
    tracer, others, _ = a_tracer(share=1.0)
    with tracer.span("asked", "server", PARENT._replace(sampled=False), begins=True):
        pass
    assert (len(spans), len(others)) == (1, 0)


def test_a_span_says_nothing_but_what_it_may() -> None:
    tracer, _, _ = a_tracer()
    with tracer.span("asked", "server", begins=True) as span, pytest.raises(AssertionError, match="email"):
        span.note(email="ada@example.com")


def test_what_breaks_is_a_failure_and_its_words_are_not_told() -> None:
    tracer, spans, _ = a_tracer()
    with contextlib.suppress(ValueError), tracer.span("asked", "server", begins=True):
        raise ValueError("4242424242424242")
    assert (spans[0].failed, spans[0].says) == (True, {"reason": "ValueError"})
    assert tracing.current() is None


@pytest.mark.parametrize(
    ("kind", "status", "failed"), [("server", 402, False), ("server", 503, True), ("client", 402, True)]
)
def test_whose_failure_an_answer_is(kind: Any, status: int, failed: bool) -> None:
    tracer, spans, _ = a_tracer()
    with tracer.span("asked", kind, begins=True) as span:
        span.answered(status)
    assert spans[0].failed == failed


class _Peer:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.asked: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> Exchange:
        self.asked.append(request)
        return self.exchange


@pytest.mark.parametrize("exchange", [Answered(200, {}, b""), NotSent("dns")])
async def test_a_call_out_tells_the_peer_which_step_it_is(exchange: Exchange) -> None:
    tracer, spans, _ = a_tracer()
    peer = _Peer(exchange)
    http = TracedHttp(peer, tracer, "gateway")
    request = HttpRequest("POST", "https://pay.example/v1/refunds?secret=1", {"A": "b"}, b"{}", 5.0)
    with tracer.span("asked", "server", begins=True):
        assert await http.send(request) is exchange
    [asked] = peer.asked
    call = spans[0]
    assert asked.headers == {"A": "b", "traceparent": call.context.header}
    assert call.name == "POST gateway"
    assert call.failed == isinstance(exchange, NotSent)
    assert await http.send(request) is exchange
    assert peer.asked[1] is request, "nobody follows, and nothing is added"
