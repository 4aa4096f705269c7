"""Closes business days as they end, and records payouts as they arrive. Any number of workers may run: each day is
closed under its balance's lock, once."""

import logging
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from tallystick.gateway.faults.faults import SETTLEMENT, Faults
from tallystick.gateway.ledger.commands import Purse
from tallystick.gateway.settlement.closing import SQL, Closed, Closing
from tallystick.gateway.settlement.following import follow
from tallystick.gateway.settlement.payouts import Arrivals
from tallystick.gateway.settlement.report import Report
from tallystick.kernel import looking
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseUnavailable, Record
from tallystick.ports.tracing import UNTRACED, Tracer

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
AGAIN_S: Final = 60.0  # after a day could not be closed
ITEMS_MAX: Final = 64
FAULTS_MAX: Final = 1_000  # lines of one report that faults on demand may strike


class Settlement:
    """Closes what is due until it is cancelled, or what somebody asks for. `woken` is told when webhooks are due."""

    def __init__(
        self,
        closing: Closing,
        arrivals: Arrivals,
        faults: Faults,
        database: Database,
        clock: Clock,
        woken: Callable[[], None],
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._tracer = tracer
        self._closing = closing
        self._arrivals = arrivals
        self._faults = faults
        self._database = database
        self._clock = clock
        self._woken = woken
        self._failed: dict[Purse, datetime] = {}

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self._look, self._clock, log, "settlement waits for the database", pause_s=POLL_S)

    async def _look(self) -> None:
        await self.close_due()
        await self._arrivals.record()

    async def close_due(self) -> int:
        """Close every day whose time has come; how many. Raises DatabaseUnavailable.

        What cannot be closed is logged and tried again later: it keeps nobody else waiting."""
        at = self._clock.now()
        self._failed = {purse: until for purse, until in self._failed.items() if until > at}
        count = 0
        while rows := await self._database.rows(SQL.due_days, at, ITEMS_MAX + len(self._failed)):
            closed = [await self._closed(purse, at) for row in rows if (purse := _purse(row)) not in self._failed]
            if not any(closed):
                break  # somebody else did, or the account's day has changed
            count += sum(closed)
        return count

    async def _closed(self, purse: Purse, at: datetime) -> bool:
        try:
            return await self._close(purse) is not None
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("a day of %s in %s (livemode %s) could not be closed", purse[0], purse[2], purse[1])
            self._failed[purse] = at + timedelta(seconds=AGAIN_S)
            return False

    async def close_until(self, day: date, account_id: str | None = None) -> list[Report]:
        """Close every open day up to `day` that has ended, by hand. Raises DatabaseError."""
        reports: list[Report] = []
        for row in await self._database.rows(SQL.days_until, day, account_id):
            while True:
                closed = await self._close(_purse(row), by_hand=True, until=day)
                if closed is None:
                    break
                if closed.report is not None:
                    reports.append(closed.report)
        return reports

    async def correct(self, account_id: str, day: date) -> list[Report]:
        """Write new revisions of an account's reports from a day on. Raises DatabaseError."""
        reports: list[Report] = []
        for row in await self._database.rows(SQL.balances_of_account, account_id):
            reports += await self._closing.correct(_purse(row), day)
        return reports

    async def _close(self, purse: Purse, *, by_hand: bool = False, until: date | None = None) -> Closed | None:
        # Asked before the lock, and only where there will be a report: a fault strikes once.
        faulty = not purse[1] and await self._faults.are_set(SETTLEMENT, purse[0])
        faulty = faulty and await self._closing.may_close(purse, by_hand=by_hand, until=until)
        struck = await self._struck(purse) if faulty else ()
        closed = await self._closing.close(purse, by_hand=by_hand, until=until, struck=struck)
        if closed is not None and closed.due:
            self._woken()
        if closed is not None and closed.report is not None:
            await follow(self._tracer, self._database, purse, closed.report)
        return closed

    async def _struck(self, purse: Purse) -> Sequence[str]:
        """The faults on demand that strike the report, each line of it being a call."""
        [row] = await self._database.rows(SQL.charges_waiting, *purse, FAULTS_MAX)
        struck = [await self._faults.strike(SETTLEMENT, purse[0]) for _ in range(row["charges"])]
        return [fault.kind for fault in struck if fault is not None]


def _purse(row: Record) -> Purse:
    return row["account_id"], row["livemode"], row["currency"]
