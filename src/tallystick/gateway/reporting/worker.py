"""Writes the reports that were asked for, and tells of them. Two workers that write the same one write the same."""

import logging
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from tallystick.gateway.reporting.commands import SQL
from tallystick.gateway.reporting.files import new_tally, reports_of, size_served, written
from tallystick.gateway.reporting.run import Run, manifest_of
from tallystick.gateway.stripe_wire import currencies, report_objects
from tallystick.gateway.webhooks import events
from tallystick.gateway.webhooks.events import Happening
from tallystick.kernel import looking
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

POLL_S: Final = 0.5
ITEMS_MAX: Final = 16
SUCCEEDED: Final = "reporting.report_run.succeeded"


class ReportWriter:
    """Writes until it is cancelled. `woken` is told when webhooks are due."""

    def __init__(
        self, database: Database, clock: Clock, entropy: Entropy, woken: Callable[[], None], *, pages_url: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._woken = woken
        self._pages_url = pages_url

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self.write, self._clock, log, "reports wait for the database", pause_s=POLL_S, drains=True)

    async def write(self) -> int:
        """Write what was asked for, one report of each account; how many. Raises DatabaseError."""
        rows = await self._database.rows(SQL.pending_runs, ITEMS_MAX)
        for row in rows:
            await self._write(Run(**row))
        return len(rows)

    async def _write(self, run: Run) -> None:
        reports, tally = await reports_of(self._database, run), new_tally(run)
        async for _ in written(self._database, run, reports, tally):
            pass  # only its size and hash are kept: it is written anew when it is fetched
        at = self._clock.now()
        manifest = manifest_of(run, reports, tally, currencies.exponent(run.currency))
        done = replace(
            run,
            status="succeeded",
            file=new_id("file", at, self._entropy),
            size_bytes=size_served(reports, tally.size_bytes),
            manifest=msgspec.json.encode(manifest).decode(),
            succeeded_at=at,
        )
        async with self._database.transaction() as tx:
            key = (run.account_id, run.livemode, run.id)
            if not await tx.execute(SQL.finish_run, *key, done.file, done.size_bytes, done.manifest, at):
                return  # another worker has written it
            shaped = report_objects.report_run(done, self._pages_url)
            happening = Happening(run.account_id, run.livemode, SUCCEEDED, run.id, shaped)
            recorded = await events.record(tx, [happening], at=at, entropy=self._entropy)
        if recorded.due:
            self._woken()
