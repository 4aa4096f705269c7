"""The way of webhooks with faults on demand: sent twice, late, after the next one, or answered to nobody."""

import asyncio

from tallystick.gateway.faults.faults import WEBHOOKS, Fault, Faults
from tallystick.ports.clock import Clock
from tallystick.ports.http import Exchange, Http, HttpRequest, Unknown

OVERTAKEN_S_MAX = 5.0  # how long one waits to be overtaken; where nothing else is sent, it goes all the same


class FaultyHttp:
    """Carries deliveries out through `http`, unless a fault strikes."""

    def __init__(self, http: Http, faults: Faults, clock: Clock) -> None:
        self._http = http
        self._faults = faults
        self._clock = clock
        self._sent = asyncio.Event()

    async def send(self, request: HttpRequest) -> Exchange:
        fault = await self._faults.strike(WEBHOOKS, request.on_behalf_of)
        if fault is not None:
            return await self._strike(fault, request)
        exchange = await self._http.send(request)
        self._sent.set()
        return exchange

    async def _strike(self, fault: Fault, request: HttpRequest) -> Exchange:
        match fault.kind:
            case "duplicate":
                await self._http.send(request)
            case "delay":
                await self._clock.sleep(fault.wait_s)
            case "reorder":
                await self._be_overtaken()
        exchange = await self._http.send(request)
        return Unknown("answer_dropped") if fault.kind == "drop_answer" else exchange

    async def _be_overtaken(self) -> None:
        """Wait until another delivery was sent."""
        self._sent.clear()
        waits = [asyncio.create_task(self._sent.wait()), asyncio.create_task(self._clock.sleep(OVERTAKEN_S_MAX))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
