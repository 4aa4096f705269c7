"""How a service is followed: the tracer and what exports its spans, out of the settings that both services have."""

from typing import Final

from msgspec import Struct

from tallystick import __version__
from tallystick.kernel.addresses import own_address_allowed
from tallystick.kernel.monitoring.collector import headers_of
from tallystick.kernel.service import Worker
from tallystick.kernel.service_settings import ServiceSettings
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy
from tallystick.ports.otlp import OtlpExporter
from tallystick.ports.tracing import UNTRACED, SpanTracer, Tracer


class Traces(Struct, frozen=True):
    """What begins spans, and what sends them. `http` is the exporter's own: nobody else waits for a connection of
    it."""

    tracer: Tracer = UNTRACED
    workers: tuple[Worker, ...] = ()
    http: AiohttpClient | None = None

    async def close(self) -> None:
        """Let connections go."""
        if self.http is not None:
            await self.http.close()


NO_TRACES: Final = Traces()


def open_traces(service: str, settings: ServiceSettings, clock: Clock, entropy: Entropy) -> Traces:
    """How `service` is followed: not at all where the settings name no collector."""
    if not settings.traces_url:
        return NO_TRACES
    http = AiohttpClient(address_allowed=own_address_allowed, ca_file=settings.ca_file or None)
    headers = headers_of(settings.traces_headers)
    exporter = OtlpExporter(http, settings.traces_url, headers, service, __version__, clock)
    return Traces(SpanTracer(clock, entropy, exporter.take, share=settings.traces_share), (exporter,), http)
