"""Says, every few seconds, that a process runs a service's workers: if none says so, they are dead (RULES §13).

A process that serves runs workers too, and one that runs them alone beside it may die without a trace in any metric: so
each kind has a heart of its own, a row, that whoever shows metrics shows. A process that ends as it should takes its
kind's row along; the others of that kind write it anew within seconds.
"""

import asyncio
import logging
from typing import Final

from tallystick.kernel import looking
from tallystick.kernel.monitoring.figures import SQL
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError

log = logging.getLogger(__name__)

BEAT_S: Final = 10.0
FAREWELL_S: Final = 2.0
WORKERS: Final = "workers"


class Heartbeat:
    """Beats until it is cancelled. `kind` is the command that the process runs: `serve`, `work`."""

    def __init__(self, database: Database, clock: Clock, kind: str) -> None:
        self._name = f"{WORKERS} {kind}"
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Work for ever; a database that is away hears of it later. Cancelled, it takes its kind's row along."""
        try:
            await looking.run(self.beat, self._clock, log, "no heartbeat", pause_s=BEAT_S)
        finally:
            await self._say_farewell()

    async def beat(self) -> None:
        """Say it once. Raises DatabaseError."""
        await self._database.execute(SQL.beat, self._name, self._clock.now())

    async def _say_farewell(self) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._database.execute(SQL.end_beat, self._name)
        except (DatabaseError, TimeoutError) as error:
            log.warning("a heart stops without a word: %s", type(error).__name__)
