"""Tells people of cases, once for each, many in one alert. A case is a row, and so is that it is still to be told.

    due → claim (due again after a while) → tell → record

A service's cases stand in its own table, so the three statements are its own; whoever dies between claim and record is
followed by somebody who tells again: twice is better than never.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.ports.alerts import Alerts
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed, Statement

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0  # a case waits for a person; seconds do not matter
AGAIN_S: Final = 300.0  # after which what was not heard is told again; longer than telling may take (ports/alerts)
CASES_MAX: Final = 100  # told of after one look
NAMED_MAX: Final = 10  # ids in one alert; the list names the rest


class CaseTeller:
    """Tells of cases until it is cancelled. Any number may run. `words` says what each kind means, `command` how a
    person lists them.

    `statements`: those that are due (time, limit), the claim (due again at, owners, ids, due times seen), the record
    (owners, ids).
    """

    def __init__(
        self,
        database: Database,
        alerts: Alerts,
        clock: Clock,
        statements: tuple[Statement, Statement, Statement],
        words: Mapping[Any, str],
        *,
        command: str,
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._clock = clock
        self._due, self._claim, self._record = statements
        self._words = words
        self._command = command

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self.step, self._clock, log, "alerts of cases wait for the database", pause_s=LOOK_S)

    async def step(self) -> int:
        """Tell of what is untold now; how many cases that were. Raises DatabaseError."""
        at = self._clock.now()
        seen = await self._database.rows(self._due, at, CASES_MAX)
        if not seen:
            return 0
        rows = sorted((row["owner_id"], row["id"], row["tell_at"]) for row in seen)
        try:
            claimed = await self._database.rows(self._claim, at + timedelta(seconds=AGAIN_S), *columns(3, rows))
        except SerializationFailed:  # another process tells of the same
            return 0
        for kind in sorted({row["kind"] for row in claimed}):
            await self._tell(kind, [row for row in claimed if row["kind"] == kind])
        return len(claimed)

    async def _tell(self, kind: str, cases: Sequence[Record]) -> None:
        keys = sorted((row["owner_id"], row["id"]) for row in cases)
        words = self._words.get(kind, "")
        named = ", ".join(f"{id} of {owner}" for owner, id in keys[:NAMED_MAX])
        log.error("%d cases %s wait for a person: %s", len(keys), kind, named)
        title = f"{len(keys)} {'case waits' if len(keys) == 1 else 'cases wait'} for a person: {kind}"
        text = f"{words}\n{named}{' and more' if len(keys) > NAMED_MAX else ''}. Told once.\n{self._command}"
        if await self._alerts.tell(title, text):
            await self._database.execute(self._record, *columns(2, keys))
