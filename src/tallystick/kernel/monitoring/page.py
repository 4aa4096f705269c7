"""`/metrics`: what a process counted and what its service's database says, as Prometheus reads it.

It listens on an address of its own, which by default only this machine reaches: the figures of a shop are nobody
else's, and a proxy in front of the service does not pass them on by accident.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tallystick.kernel.monitoring.figures import Figure, Figures, read
from tallystick.kernel.outages import Outage
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError
from tallystick.ports.metrics import exposition

log = logging.getLogger(__name__)

READ_AGAIN_S: Final = 5.0  # however many ask: the database is not asked more often
READ_DEADLINE_S: Final = 8.0  # Prometheus gives up after ten

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class MetricsPage:
    """The ASGI application behind `/metrics` of one process."""

    def __init__(self, database: Database, figures: Sequence[Figure], clock: Clock) -> None:
        self._database = database
        self._figures = figures
        self._clock = clock
        self._reading = asyncio.Lock()
        self._read: bytes | None = None
        self._read_s = 0.0
        self._outage = Outage(log, "figures cannot be read")

    async def __call__(self, scope: MutableMapping[str, Any], _receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] != "/metrics" or scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 404, b"Metrics are at /metrics.\n", "text/plain; charset=utf-8")
            return
        await _answer(send, 200, exposition() + await self._of_database(), CONTENT_TYPE_LATEST)

    async def _of_database(self) -> bytes:
        async with self._reading:
            now_s = self._clock.monotonic_s()
            if self._read is None or now_s - self._read_s >= READ_AGAIN_S:
                self._read, self._read_s = await self._ask(), now_s
            return self._read

    async def _ask(self) -> bytes:
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                figures = await read(self._database, self._figures, self._clock.now())
        except (DatabaseError, TimeoutError) as error:
            self._outage.failed(error, self._clock.monotonic_s())
            return _text(None)
        self._outage.worked()
        return _text(figures)


def _text(figures: Figures | None) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Read(figures))
    return generate_latest(registry)


class _Read:
    """What was read, as prometheus_client takes it."""

    def __init__(self, figures: Figures | None) -> None:
        self._figures = figures

    def collect(self) -> Sequence[Metric]:
        up = GaugeMetricFamily("tallystick_database_up", "Whether the figures could be read in the database.")
        up.add_metric((), float(self._figures is not None))
        families: list[Metric] = [up]
        for figure, values in (self._figures or {}).items():
            labels = ("window", *figure.labels) if figure.windowed else figure.labels
            family = GaugeMetricFamily(f"tallystick_{figure.name}", figure.words, labels=labels)
            for value in values:
                family.add_metric([value.labels[label] for label in labels], value.value)
            families.append(family)
        return families


async def _answer(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
