"""The exporter of traces: OTLP over HTTP, in JSON, as OpenTelemetry's collector and its kin take it.

It never stands in anybody's way. A span is put into a bounded queue, which is all that a payment ever waits for; a
worker sends what is there, some hundred at a time, with a deadline. A collector that is gone, slow or wrong costs the
spans, never a payment: what has no room is dropped, and counted.

Everything that leaves passes the scrubber of the logs, and only what looks like an id, a state or a code leaves at all
(RULES §9, §12).
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tallystick.ports.clock import Clock
from tallystick.ports.http import Answered, Exchange, Http, HttpRequest
from tallystick.ports.metrics import SPANS
from tallystick.ports.telemetry import Scrubber
from tallystick.ports.tracing import NAMES, Followed

log = logging.getLogger(__name__)

QUEUED_MAX: Final = 8_192  # spans; a second of the busiest process, and some megabytes
BATCH_SPANS: Final = 256  # encoded in one go: about two milliseconds in which nothing else is done
PAUSE_S: Final = 0.2  # between two looks when little is there
DEADLINE_S: Final = 5.0  # of one exchange: a collector stands nearby
TRIES_MAX: Final = 4
RETRY_PAUSES_S: Final = (0.5, 1.0, 2.0)  # a collector that is started anew is back by then
STOP_S: Final = 1.0  # what is left at the end of the process gets that long
ANSWER_BYTES_MAX: Final = 64 * 1024
VALUE_CHARACTERS_MAX: Final = 128
NOT_SHOWN: Final = "[not shown]"

assert len(RETRY_PAUSES_S) == TRIES_MAX - 1

_KINDS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_SHOWN: Final = re.compile(r"[A-Za-z0-9_.:/{} -]+")  # ids, states, codes, routes: no @, no ?, no %
_RETRYABLE: Final = frozenset({429, 502, 503, 504})  # OTLP's list
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class OtlpExporter:
    """Takes spans that are over, and sends them until it is cancelled."""

    def __init__(self, http: Http, url: str, headers: Mapping[str, str], service: str, version: str, clock: Clock):
        self._http = http
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "tallystick", **headers}
        self._resource = {"attributes": [_attribute("service.name", service), _attribute("service.version", version)]}
        self._clock = clock
        self._waiting: deque[Followed] = deque()
        self._scrubber = Scrubber()
        self._well = True

    def __repr__(self) -> str:
        return "OtlpExporter()"  # its headers hold a key

    def take(self, span: Followed) -> None:
        """Put a span into the queue, or drop it where that is full."""
        if len(self._waiting) >= QUEUED_MAX:
            SPANS.labels("dropped_queue_full").inc()
        else:
            self._waiting.append(span)

    async def run(self) -> None:
        """Send what comes, for ever; what is left at the end is sent once."""
        try:
            while True:
                if len(self._waiting) < BATCH_SPANS:
                    await self._clock.sleep(PAUSE_S)
                await self._send_batch(TRIES_MAX)
        finally:
            await self._send_rest()

    async def _send_rest(self) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                while self._waiting:
                    await self._send_batch(1)
        except TimeoutError:
            pass
        _drop(len(self._waiting), "dropped_unreachable")
        self._waiting.clear()

    async def _send_batch(self, tries_max: int) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_SPANS))]
        if not batch:
            return
        try:
            body = self.encoded(batch)
            dropped = await self._send(body, tries_max, len(batch))
        except asyncio.CancelledError:  # the process ends: whether they have arrived is not known
            _drop(len(batch), "dropped_unreachable")
            raise
        except Exception:  # the edge: a fault of ours costs these spans, and no payment
            log.exception("spans cannot be exported")
            dropped = len(batch)
            _drop(dropped, "dropped_refused")
        SPANS.labels("exported").inc(len(batch) - dropped)

    async def _send(self, body: bytes, tries_max: int, spans: int) -> int:
        """Send a batch; how many spans of it were dropped."""
        request = HttpRequest("POST", self._url, self._headers, body, DEADLINE_S, ANSWER_BYTES_MAX)
        for tried in range(tries_max):
            exchange = await self._http.send(request)
            if isinstance(exchange, Answered) and 200 <= exchange.status < 300:
                self._tell(None, 0)
                return _drop(min(_rejected(exchange.body), spans), "dropped_refused")
            if isinstance(exchange, Answered) and exchange.status not in _RETRYABLE:
                break
            if tried < tries_max - 1:
                await self._clock.sleep(RETRY_PAUSES_S[tried])
        refused = isinstance(exchange, Answered)
        self._tell(_reason(exchange), spans)
        return _drop(spans, "dropped_refused" if refused else "dropped_unreachable")

    def _tell(self, reason: str | None, spans: int) -> None:
        """Say once that it does not work, and once that it does again."""
        if (reason is None) == self._well:
            return
        self._well = reason is None
        if reason is None:
            log.info("spans are exported again")
        else:
            log.warning("spans cannot be exported: %s; %d are dropped, and those that follow", reason, spans)

    def encoded(self, spans: Sequence[Followed]) -> bytes:
        """The request's body."""
        scope = {"name": "tallystick"}
        scoped = [{"scope": scope, "spans": [self._span(span) for span in spans]}]
        return msgspec.json.encode({"resourceSpans": [{"resource": self._resource, "scopeSpans": scoped}]})

    def _span(self, span: Followed) -> dict[str, Any]:
        started_ns = (span.started_at - _EPOCH) // _MICROSECOND * 1000
        told: dict[str, Any] = {
            "traceId": span.context.trace_id,
            "spanId": span.context.span_id,
            "name": self._shown(span.name),
            "kind": _KINDS[span.kind],
            "startTimeUnixNano": str(started_ns),
            "endTimeUnixNano": str(started_ns + int(span.duration_s * 1e9)),
            "attributes": [self._said(name, value) for name, value in span.says.items()],
            "flags": 1,
        }
        if span.parent_id is not None:
            told["parentSpanId"] = span.parent_id
        if span.link is not None:
            told["links"] = [{"traceId": span.link.trace_id, "spanId": span.link.span_id}]
        if span.failed:
            told["status"] = {"code": 2}
        return told

    def _said(self, name: str, value: str | int) -> dict[str, Any]:
        shown = self._shown(str(value))
        if isinstance(value, int) and shown == str(value):
            return {"key": NAMES[name], "value": {"intValue": shown}}
        return _attribute(NAMES[name], shown)

    def _shown(self, text: str) -> str:
        if len(text) > VALUE_CHARACTERS_MAX or not _SHOWN.fullmatch(text):
            return NOT_SHOWN
        return self._scrubber.scrub(text)


def _attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _drop(spans: int, result: str) -> int:
    if spans:
        SPANS.labels(result).inc(spans)
    return spans


def _reason(exchange: Exchange) -> str:
    return f"http_{exchange.status}" if isinstance(exchange, Answered) else exchange.reason


class _PartialSuccess(msgspec.Struct, rename="camel"):
    rejected_spans: int | str = 0


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _PartialSuccess | None = None


def _rejected(body: bytes) -> int:
    """How many spans the collector says it did not take; an answer that cannot be read says nothing."""
    try:
        told = msgspec.json.decode(body, type=_Answer) if body.strip() else _Answer()
        return max(0, int(told.partial_success.rejected_spans)) if told.partial_success is not None else 0
    except (msgspec.DecodeError, ValueError):
        return 0
