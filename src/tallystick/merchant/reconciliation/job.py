"""The job: one run for each connection and business day, however many workers try (RULES §11).

    due        files fetched, taken in, compared      → deciding     a commit for each file, one for the comparison
    deciding   what differs is decided, page by page  → resolving    a commit for each page
    resolving  merged, or a case, one by one          → done         a commit for each mismatch

A run is held by lease and generation (`holding.py`); whoever takes it over goes on where the last commit was. A day
that is done stays as it is: asked for again it is shown, and nothing is done twice.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec

from tallystick.kernel import looking
from tallystick.kernel.identifiers import first_id, new_id
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.gateways.port import Connection
from tallystick.merchant.reconciliation.comparing import (
    Compared,
    RunKey,
    compare,
    contracts_of,
    decide_page,
    explain_page,
)
from tallystick.merchant.reconciliation.findings import Day
from tallystick.merchant.reconciliation.following import follow
from tallystick.merchant.reconciliation.holding import LEASE_S, Claim, holding
from tallystick.merchant.reconciliation.limits import Automatic, why_stop
from tallystick.merchant.reconciliation.resolving import Resolver
from tallystick.merchant.reconciliation.taking import SQL, Held, NotYet, Taker, held
from tallystick.ports.alerts import Alerts
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import UNTRACED, Tracer

log = logging.getLogger(__name__)

PREFIX: Final = "rec"
READY_S: Final = 30 * 60  # after the day's end: the gateway closes it ten minutes after
DAYS_BACK: Final = 31  # in which a day without a run is noticed, whoever asked for those around it
ABANDONED_AFTER: Final = timedelta(days=7)  # a file that is handed in: the largest, as slowly as may be, takes five
SCHEDULE_EVERY: Final = timedelta(seconds=60)
SCHEDULED_MAX: Final = 100
PAUSE_S: Final = 1.0
BACKOFF_MIN_S: Final = 60.0
BACKOFF_MAX_S: Final = 3_600.0
FIRST: Final = ("", "", "")


class LeaseLost(Exception):
    """Somebody else holds the run by now."""


class Reconciler:
    """Reconciles until it is cancelled. Any number of workers may run."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        taker: Taker,
        resolver: Resolver,
        clock: Clock,
        entropy: Entropy,
        alerts: Alerts,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._tracer = tracer
        self._database = database
        self._directory = directory
        self._taker = taker
        self._resolver = resolver
        self._clock = clock
        self._entropy = entropy
        self._alerts = alerts
        self._scheduled_at: datetime | None = None

    async def run(self) -> None:
        """Work for ever. What goes wrong is logged and tried again: runs are rows, nothing is lost."""
        await looking.run(self.run_once, self._clock, log, "reconciliation waits", pause_s=PAUSE_S, drains=True)

    async def run_once(self) -> int:
        """See which days are to be reconciled, when it is time, and carry out one run that is due; how many."""
        at = self._clock.now()  # and not the monotonic one: the sandbox's time moves on by days within seconds
        if self._scheduled_at is None or abs(at - self._scheduled_at) >= SCHEDULE_EVERY:
            await self.schedule()
            self._scheduled_at = at
        run = await self._claim()
        if run is None:
            return 0
        try:
            async with holding(self._database, self._clock, Claim(run.key, run.generation)):
                await self._carry_out(run)
        except NotYet as why:
            await self._put_off(run, str(why))
        except LeaseLost:
            log.warning("run %s was taken over", run.key.reconciliation_id)
        return 1

    async def schedule(self) -> None:
        """Ask for a run of every day that is over and has none, the oldest first; and let go of what was half handed
        in."""
        at = self._clock.now()
        await self._database.execute(SQL.forget_pieces, first_id(PREFIX, at - ABANDONED_AFTER))
        newest = (at - timedelta(days=1, seconds=READY_S)).date()
        for row in await self._database.rows(SQL.days_to_schedule, newest, DAYS_BACK, SCHEDULED_MAX):
            await request_run(
                self._database,
                RunKey(row["merchant_id"], new_id(PREFIX, at, self._entropy)),
                row["connection_id"],
                row["day"],
                "gateway",
                at,
                requested_by="schedule",
            )

    async def _claim(self) -> Held | None:
        at = self._clock.now()
        for seen in await self._database.rows(SQL.due_runs, at, 4):
            key = (seen["merchant_id"], seen["reconciliation_id"])
            try:
                rows = await self._database.rows(
                    SQL.take_run, *key, seen["generation"], at + timedelta(seconds=LEASE_S), at
                )
            except SerializationFailed:
                continue
            if rows:
                return held(rows[0])
        return None

    async def _carry_out(self, run: Held) -> None:
        connection = await self._directory.connection(run.key.merchant_id, run.connection_id)
        assert connection is not None, "connections are disabled, never deleted"
        at = self._clock.now()
        if run.state == "due":
            await self._look_back(run, connection, at)
            await self._taker.take(run, connection, at)
            await self._compare(run)
        compared = await self._compared(run)
        if run.state in ("due", "deciding"):
            while await decide_page(self._database, compared, self._clock.now()):
                await self._check(run)
            last = ""
            while (behind := await explain_page(self._database, compared, last, self._clock.now())) is not None:
                last = behind
                await self._check(run)
            await self._begin_resolving(run)
        if not run.dry_run:
            place = FIRST
            while (reached := await self._resolver.resolve_page(run, connection, place)) is not None:
                place = reached
                await self._check(run)
        await self._finish(run)

    async def _look_back(self, run: Held, connection: Connection, at: datetime) -> None:
        """Days whose reports the gateway has corrected since are compared again, before this one: its file goes on from
        theirs. Raises NotYet."""
        if run.source != "gateway" or run.number > 1 or run.dry_run:
            return
        day = await self._taker.corrected(run, connection)
        if day is not None:
            await request_corrected(
                self._database,
                run.key.merchant_id,
                run.connection_id,
                day,
                at,
                self._entropy,
                requested_by="correction",
            )
        due = await self._database.rows(SQL.corrections_due, run.key.merchant_id, run.connection_id, run.business_date)
        if due:
            raise NotYet(f"the gateway has corrected its reports: {due[0]['business_date']} is compared again first")

    async def _compare(self, run: Held) -> None:
        """The first look at all lines, in one transaction. The run's row is touched last: while it is locked its lease
        cannot be kept, and of two that compare all the same the second finds the first one's differences.
        """
        compared = await self._compared(run)
        files = await self._database.rows(SQL.list_files, *run.key)
        lines = sum(row["lines"] for row in files if row["state"] == "accepted")
        async with self._database.transaction(bulk=True) as tx:
            if compared.day.currencies and run.number > 1:
                await tx.execute(SQL.supersede_runs, *run.key)
                await tx.execute(SQL.supersede_waiting, *run.key, self._clock.now())
            if run.source == "camt053":
                await tx.execute(SQL.explain_statement, *run.key, run.connection_id)
            elif compared.day.currencies:
                # Orders without a line are looked for where payments have the names that the connection gives them.
                wanted = [] if compared.foreign else sorted(compared.day.currencies)
                await compare(tx, compared, wanted)
            if not await tx.execute(SQL.advance_run, *run.key, run.generation, "deciding", lines, None):
                raise LeaseLost

    async def _compared(self, run: Held) -> Compared:
        files = await self._database.rows(SQL.list_files, *run.key)
        taken = frozenset(row["currency"] for row in files if row["state"] == "accepted" and row["currency"])
        contracts = await self._database.rows(SQL.contracts, run.key.merchant_id, run.connection_id, run.business_date)
        day = Day(run.business_date, contracts_of(contracts), taken)
        return Compared(run.key, run.connection_id, day, run.dry_run, foreign=run.source not in ("gateway", "stripe"))

    async def _begin_resolving(self, run: Held) -> None:
        """Clear what was carried over, and hold automatic actions back where there are too many."""
        at = self._clock.now()
        counts = await self._database.rows(SQL.count_mismatches, *run.key)
        wanted = [
            Automatic(row["code"], row["found"], row["amount_minor"])
            for row in counts
            if row["resolution"] == "automatic" and row["state"] == "open"
        ]
        files = await self._database.rows(SQL.list_files, *run.key)
        stopped = why_stop(wanted, sum(row["lines"] or 0 for row in files if row["state"] == "accepted"))
        async with self._database.transaction(bulk=True) as tx:
            if not await tx.execute(SQL.advance_run, *run.key, run.generation, "resolving", None, stopped):
                raise LeaseLost
            if stopped is not None:
                await tx.execute(SQL.stop_automatic, *run.key)
                details = {"reason": stopped, "reconciliation": run.key.reconciliation_id}
                found = Found(run.key.merchant_id, "reconciliation_stopped", run.subject, details=details)
                await open_cases(tx, [found], at, self._entropy)
            if not run.dry_run:
                await tx.execute(SQL.clear_waiting, run.key.merchant_id, run.connection_id, at)
                await tx.execute(SQL.clear_decided, run.key.merchant_id, at)
        if stopped is not None:
            title = f"Reconciliation of {run.business_date}: automatic actions stopped"
            await self._alerts.tell(
                title, f"{run.connection_id}: {stopped}. `tallystick merchant cases list` shows more."
            )

    async def _check(self, run: Held) -> None:
        """Go on only while nobody else has taken the run. Raises LeaseLost."""
        if not await self._database.rows(SQL.still_held, *run.key, run.generation):
            raise LeaseLost

    async def _put_off(self, run: Held, why: str) -> None:
        pause_s = min(BACKOFF_MIN_S * 2 ** min(run.tries - 1, 20), BACKOFF_MAX_S)
        due_at = self._clock.now() + timedelta(seconds=self._entropy.uniform(pause_s / 2, pause_s))
        log.warning("run %s is put off: %s", run.key.reconciliation_id, why)
        await self._database.execute(SQL.put_off_run, *run.key, run.generation, due_at, why)

    async def _finish(self, run: Held) -> None:
        files = await self._database.rows(SQL.list_files, *run.key)
        state = "refused" if files and all(row["state"] == "refused" for row in files) else "done"
        codes = await self._database.rows(SQL.count_codes, *run.key)
        found = await self._database.rows(SQL.count_mismatches, *run.key)
        summary = msgspec.json.encode(summary_of(codes, found)).decode()
        async with self._database.transaction(bulk=True) as tx:
            if run.dry_run:
                await tx.execute(SQL.delete_lines, *run.key)
            if not await tx.execute(SQL.finish_run, *run.key, run.generation, state, summary, self._clock.now()):
                raise LeaseLost
        await follow(self._tracer, self._database, run)


def summary_of(codes: Sequence[Record], found: Sequence[Record]) -> dict[str, Any]:
    """What a run came to: lines by code and currency, mismatches by code and what became of them."""
    names = ("code", "currency", "lines", "gross_minor", "fee_minor", "net_minor")
    return {
        "lines": [{name: row[name] for name in names} for row in codes],
        "mismatches": [
            {name: row[name] for name in ("code", "resolution", "state", "found", "amount_minor")} for row in found
        ],
    }


async def request_run(
    database: Database,
    key: RunKey,
    connection_id: str,
    day: date,
    source: str,
    at: datetime,
    *,
    requested_by: str,
    dry_run: bool = False,
) -> Mapping[str, Any]:
    """The run of a day: a new one, or the newest that is there. A dry run is always a new one."""
    await database.execute(SQL.insert_run, *key, connection_id, day, source, dry_run, requested_by, at, 1)
    rows = await database.rows(SQL.find_run, *key)
    if not rows:
        rows = await database.rows(SQL.find_run_of_day, key.merchant_id, connection_id, day, source)
    return rows[0]


async def request_corrected(
    database: Database,
    merchant_id: str,
    connection_id: str,
    day: date,
    at: datetime,
    entropy: Entropy,
    *,
    requested_by: str = "api",
) -> None:
    """Ask for new runs of a day and of those after it: the gateway has corrected its reports. There is none of a day
    whose run has not ended: it is to be asked for again then.
    """
    for row in await database.rows(SQL.days_to_correct, merchant_id, connection_id, day, "gateway"):
        await database.execute(
            SQL.insert_run,
            merchant_id,
            new_id(PREFIX, at, entropy),
            connection_id,
            row["business_date"],
            "gateway",
            False,
            requested_by,
            at,
            row["number"] + 1,
        )
