"""Evidence on its way to cardholders' banks: sent until the acquirer has it.

The bank takes evidence about a dispute once, however often it is sent, so nobody claims anything here: two workers that
send the same do no harm.
"""

import logging
from datetime import timedelta
from typing import Final

import msgspec

from tallystick.gateway.acquirers.port import Contest
from tallystick.gateway.payments.calling import Calling
from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.outcomes import Done
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

POLL_S: Final = 1.0
AGAIN_S: Final = 60.0  # after a try that failed
ITEMS_MAX: Final = 64


class Contests:
    """Sends evidence until it is cancelled."""

    def __init__(self, calling: Calling, database: Database, clock: Clock) -> None:
        self._calling = calling
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self.send, self._clock, log, "evidence waits for the database", pause_s=POLL_S)

    async def send(self) -> int:
        """Send what is due now; how many that were. Raises DatabaseError."""
        at = self._clock.now()
        rows = await self._database.rows(SQL.due_contests, at, ITEMS_MAX)
        if not rows:
            return 0
        contests = [
            Contest(row["account_id"], row["key"], row["reference"], msgspec.json.decode(row["evidence"]))
            for row in rows
        ]
        outcomes = await self._calling.contest(contests)
        again_at = at + timedelta(seconds=AGAIN_S)
        for row, outcome in zip(rows, outcomes, strict=True):
            if not isinstance(outcome, Done):
                log.warning("evidence about dispute %s waits: %s", row["id"], type(outcome).__name__)
        ended = [
            (
                row["account_id"],
                row["livemode"],
                row["id"],
                row["contest_due_at"],
                None if isinstance(outcome, Done) else again_at,
            )
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
        await self._database.execute(SQL.record_contests, *columns(5, ended))
        return len(rows)
