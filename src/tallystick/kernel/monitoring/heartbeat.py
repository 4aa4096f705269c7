"""Says, every few seconds, that a process runs a service's workers: if none says so, they are dead (RULES §13)."""

import logging
from typing import Final

from tallystick.kernel import looking
from tallystick.kernel.monitoring.figures import SQL
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

log = logging.getLogger(__name__)

BEAT_S: Final = 10.0
WORKERS: Final = "workers"


class Heartbeat:
    """Beats until it is cancelled."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Work for ever; a database that is away hears of it later."""
        await looking.run(self.beat, self._clock, log, "no heartbeat", pause_s=BEAT_S)

    async def beat(self) -> None:
        """Say it once. Raises DatabaseError."""
        await self._database.execute(SQL.beat, WORKERS, self._clock.now())
