"""Drops keys whose time is over, so that the table holds three days and not all of them (RULES §5)."""

import logging
from typing import Final

from tallystick.kernel import looking
from tallystick.kernel.idempotency.engine import REAPED_MAX, Idempotency
from tallystick.ports.clock import Clock

log = logging.getLogger(__name__)

PAUSE_S: Final = 600.0  # a key more or less for ten minutes is nothing in 72 hours


class KeyReaper:
    """Reaps until it is cancelled. Any number may run: a row is dropped once."""

    def __init__(self, idempotency: Idempotency, clock: Clock) -> None:
        self._idempotency = idempotency
        self._clock = clock

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        await looking.run(self.run_once, self._clock, log, "old idempotency keys wait", pause_s=PAUSE_S)

    async def run_once(self) -> int:
        """Drop all that is due now, in short statements; how many keys that was."""
        reaped = 0
        while (dropped := await self._idempotency.reap(self._clock.now())) > 0:
            reaped += dropped
            if dropped < REAPED_MAX:
                break
        return reaped
