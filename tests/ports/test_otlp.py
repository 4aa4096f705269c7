"""The exporter of traces: what leaves, and what happens when nobody takes it (RULES §9, §12, §13)."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from tallystick.ports import otlp
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.metrics import REGISTRY
from tallystick.ports.otlp import NOT_SHOWN, OtlpExporter
from tallystick.ports.telemetry import REMOVED
from tallystick.ports.tracing import Context, SpanTracer

PAN = "4242424242424242"


class _Value(Struct, forbid_unknown_fields=True, rename="camel"):
    string_value: str | None = None
    int_value: str | None = None


class _Attribute(Struct, forbid_unknown_fields=True):
    key: str
    value: _Value


class _Link(Struct, forbid_unknown_fields=True, rename="camel"):
    trace_id: str
    span_id: str


class _Status(Struct, forbid_unknown_fields=True):
    code: int


class _Span(Struct, forbid_unknown_fields=True, rename="camel"):
    trace_id: str
    span_id: str
    name: str
    kind: int
    start_time_unix_nano: str
    end_time_unix_nano: str
    attributes: list[_Attribute]
    flags: int
    parent_span_id: str = ""
    links: list[_Link] = []
    status: _Status | None = None


class _Scope(Struct, forbid_unknown_fields=True):
    name: str


class _Scoped(Struct, forbid_unknown_fields=True):
    scope: _Scope
    spans: list[_Span]


class _Resource(Struct, forbid_unknown_fields=True):
    attributes: list[_Attribute]


class _Told(Struct, forbid_unknown_fields=True, rename="camel"):
    resource: _Resource
    scope_spans: list[_Scoped]


class Request(Struct, forbid_unknown_fields=True, rename="camel"):
    """The members of `ExportTraceServiceRequest` (opentelemetry-proto) that we use, and no other."""

    resource_spans: list[_Told]


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("tallystick_spans_total", {"result": result}) or 0.0


@pytest.fixture
async def http() -> AsyncIterator[AiohttpClient]:
    client = AiohttpClient()
    yield client
    await client.close()


def an_exporter(http: AiohttpClient, url: str) -> tuple[OtlpExporter, SpanTracer]:
    exporter = OtlpExporter(http, url, {"X-Key": "k"}, "tallystick-merchant", "1.2", SystemClock())
    return exporter, SpanTracer(SystemClock(), SystemEntropy(), exporter.take)


def some_spans(tracer: SpanTracer, count: int) -> None:
    for _ in range(count):
        with tracer.span("asked", "server", begins=True) as span:
            span.note(order_id="ord_1", status=200)


async def stopped(worker: "asyncio.Task[None]") -> None:
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_what_leaves_is_otlp(http: AiohttpClient, collector: Any) -> None:
    exporter, tracer = an_exporter(http, collector.url)
    link = Context("a" * 32, "b" * 16, sampled=True)
    with tracer.span("POST /v1/orders", "server", begins=True) as outer:
        outer.note(order_id="ord_1", status=201)
        with tracer.span("POST gateway", "client", link=link) as inner:
            inner.fail("answer_timeout")
    exported = counted("exported")
    worker = asyncio.create_task(exporter.run())
    await asyncio.to_thread(collector.until, lambda spans: len(spans) == 2)
    async with asyncio.timeout(10):
        while counted("exported") < exported + 2:  # noqa: ASYNC110 - once the answer has come, a moment later
            await asyncio.sleep(0.01)
    await stopped(worker)
    [told] = msgspec.json.decode(collector.bodies[0], type=Request).resource_spans
    assert json.loads(collector.bodies[0])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["kind"] == 3
    [scoped] = told.scope_spans
    client, server = scoped.spans
    assert (client.trace_id, client.parent_span_id) == (server.trace_id, server.span_id)
    assert (client.links, client.status) == ([_Link("a" * 32, "b" * 16)], _Status(2))
    assert (server.kind, server.status, server.parent_span_id) == (2, None, "")
    assert (
        int(client.end_time_unix_nano) >= int(client.start_time_unix_nano) >= int(server.start_time_unix_nano) > 10**18
    )
    said = {each["spanId"]: each["attributes"] for each in collector.spans}
    assert said[server.span_id] == {"tallystick.order_id": "ord_1", "http.response.status_code": "201"}
    assert said[client.span_id] == {"error.type": "answer_timeout"}
    assert collector.headers[0]["x-key"] == "k"
    assert collector.headers[0]["content-type"] == "application/json"
    assert counted("exported") == exported + 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("pi_3N", "pi_3N"),
        (PAN, REMOVED),
        (int(PAN), REMOVED),
        ("4242 4242 4242 4242", REMOVED),
        ("ada@example.com", NOT_SHOWN),
        ("https://pay.example/x?key=1", NOT_SHOWN),
        ("Ada Lovelace\nSt James's Square", NOT_SHOWN),
        ("x" * 200, NOT_SHOWN),
        ("sk_test_4eC39HqLyjWDarjtT1zdp7dc", "[secret removed]"),
    ],
)
def test_what_is_no_id_state_or_code_does_not_leave(value: Any, shown: str, http: AiohttpClient) -> None:
    exporter, _ = an_exporter(http, "http://127.0.0.1:1/")
    spans: list[Any] = []
    with SpanTracer(SystemClock(), SystemEntropy(), spans.append).span("asked", begins=True) as span:
        span.note(order_id=value)
    body = exporter.encoded(spans)
    [attribute] = msgspec.json.decode(body, type=Request).resource_spans[0].scope_spans[0].spans[0].attributes
    assert attribute.value == _Value(shown)
    assert str(value).encode() not in body or value == shown


def test_a_full_queue_drops_and_counts(http: AiohttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "QUEUED_MAX", 10)
    _, tracer = an_exporter(http, "http://127.0.0.1:1/")
    before = counted("dropped_queue_full")
    some_spans(tracer, 25)
    assert counted("dropped_queue_full") == before + 15


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_collector_that_refuses_is_not_asked_again(http: AiohttpClient, collector: Any, status: int) -> None:
    collector.status = status
    exporter, tracer = an_exporter(http, collector.url)
    before = counted("dropped_refused")
    some_spans(tracer, 3)
    worker = asyncio.create_task(exporter.run())
    while counted("dropped_refused") < before + 3:  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(0.01)
    assert len(collector.headers) == 1
    collector.status = 200
    some_spans(tracer, 1)
    await asyncio.to_thread(collector.until, lambda spans: len(spans) == 1)
    await stopped(worker)


async def test_a_collector_that_comes_back_gets_what_waited(http: AiohttpClient, collector: Any) -> None:
    collector.status = 503
    exporter, tracer = an_exporter(http, collector.url)
    some_spans(tracer, 3)
    worker = asyncio.create_task(exporter.run())
    while not collector.headers:  # noqa: ASYNC110 - a thread has no event
        await asyncio.sleep(0.01)
    collector.status = 200
    await asyncio.to_thread(collector.until, lambda spans: len(spans) == 3)
    await stopped(worker)


@pytest.mark.parametrize("collector_is", ["gone", "slow"])
async def test_the_end_of_the_process_waits_for_no_collector(
    http: AiohttpClient, collector: Any, collector_is: str
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/" if collector_is == "gone" else collector.url
        collector.delay_s = 4.0 if collector_is == "slow" else 0.0
        exporter, tracer = an_exporter(http, url)
        before = counted("dropped_unreachable")
        some_spans(tracer, 700)
        worker = asyncio.create_task(exporter.run())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(otlp.STOP_S + 1):
            await stopped(worker)
        assert counted("dropped_unreachable") == before + 700, "what was on its way, too"


async def test_what_is_left_at_the_end_is_sent(http: AiohttpClient, collector: Any) -> None:
    exporter, tracer = an_exporter(http, collector.url)
    worker = asyncio.create_task(exporter.run())
    await asyncio.sleep(0)
    some_spans(tracer, 300)
    await stopped(worker)
    assert len(collector.spans) == 300


@pytest.mark.parametrize(
    ("body", "rejected"),
    [
        (b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "no"}}', 3),
        (b'{"partialSuccess": {}}', 0),
        (b"", 0),
        (b"{}", 0),
        (b"<html>", 0),
        (b'{"partialSuccess": {"rejectedSpans": "x"}}', 0),
    ],
)
def test_an_answer_that_takes_only_a_part_is_counted(body: bytes, rejected: int) -> None:
    assert otlp._rejected(body) == rejected


def test_an_exporter_does_not_show_its_headers(http: AiohttpClient) -> None:
    assert "k" not in repr(an_exporter(http, "http://127.0.0.1:1/")[0]).removeprefix("OtlpExporter")
