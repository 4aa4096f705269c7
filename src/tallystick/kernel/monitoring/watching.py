"""The service watches itself, where no Prometheus does: by the same rules, over its own database (RULES §13).

    say what this process counted, and that it lives → is a round due? → read everything → one commit: decide, save

Every process of a service does so; the round is a row, so that one of them judges, and the alerts are rows, so that
people are told once whoever judges, and again by nobody who starts. That the database is away each process sees, and
tells, for itself.

Time that was moved (the sandbox's clock, a machine that slept) brings a great deal at once, and nobody has had a moment
to do it: that round is left out, and durations begin anew.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from tallystick.kernel.columns import columns
from tallystick.kernel.monitoring import figures
from tallystick.kernel.monitoring.alerts import FIRING, Alert, Key, decide, news, sentence, true_of
from tallystick.kernel.monitoring.conditions import UP, Seen, Value
from tallystick.kernel.monitoring.counts import SQL, Counts
from tallystick.kernel.monitoring.figures import Figure
from tallystick.kernel.monitoring.heartbeat import Heartbeat
from tallystick.kernel.monitoring.page import MetricsPage
from tallystick.kernel.monitoring.rules import DATABASE_DOWN, DAY, RULES, Rule, shortened
from tallystick.kernel.monitoring.telling import Teller
from tallystick.kernel.outages import Outage
from tallystick.kernel.service import Watched
from tallystick.kernel.service_settings import ServiceSettings
from tallystick.ports.alerts import LastingAlerts
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, DatabaseUnavailable

log = logging.getLogger(__name__)

ROUND_DEADLINE_S: Final = 10.0  # a database that does not answer by then is away
BEATS_MISSED: Final = 3  # rounds for which a process may be silent until it counts as down
UNSEEN_ROUNDS: Final = 4  # nobody judged for so many: nobody knows how it was meanwhile
TAKEN_AWAY_S: Final = DAY  # a process that was silent for so long is not missed any more
MOVED_S: Final = 1.0  # by which the time of day may differ from what passed without having been moved
PROCESS: Final = "process "


def watched(
    service: str,
    read: Sequence[Figure],
    database: Database,
    alerts: LastingAlerts,
    clock: Clock,
    settings: ServiceSettings,
) -> Watched:
    """How a process of a service is seen, and how the service sees to itself."""

    def watch(process: str) -> Watch:
        return Watch(
            *(database, read, alerts, clock),
            service=service,
            process=process,
            every_s=settings.alerts_every_s,
            times=settings.alerts_shortened,
        )

    def beating(kind: str) -> Heartbeat:
        return Heartbeat(database, clock, kind)

    return Watched(MetricsPage(database, read, clock), beating, watch if settings.alerts_every_s else None)


class Watch:
    """Watches a service until it is cancelled. `process` is the name under which this process is missed when it dies;
    `times` shortens the rules for trials."""

    def __init__(
        self,
        database: Database,
        read: Sequence[Figure],
        alerts: LastingAlerts,
        clock: Clock,
        *,
        service: str,
        process: str,
        every_s: float,
        times: int = 1,
    ) -> None:
        self._database = database
        self._figures = read
        self._clock = clock
        self._rules = shortened(RULES, times)
        self._counts = Counts(process, self._rules, times=times)
        self._teller = Teller(database, alerts, clock, self._rules, service=service)
        self._process = PROCESS + process
        self._every_s = every_s
        self._outage = Outage(log, "alerts cannot be judged")
        self._away: dict[Key, Alert] = {}
        self._moved_s = self._time_of_day_s()

    async def run(self) -> None:
        """Watch for ever. When it is cancelled the process says that it ends as it should."""
        try:
            await asyncio.gather(self._watch(), self._teller.run())
        finally:
            await self._say_farewell()

    async def step(self) -> None:
        """One round, if one is due."""
        at = self._clock.now()
        try:
            async with asyncio.timeout(ROUND_DEADLINE_S):
                await self._round(at)
        except (DatabaseError, TimeoutError) as error:
            self._outage.failed(error, self._clock.monotonic_s())
            if isinstance(error, DatabaseUnavailable | TimeoutError):
                self._judge_database(False, at)
        else:
            self._outage.worked()
            self._judge_database(True, at)

    async def tell(self) -> None:
        """Tell what is to be told now. Raises DatabaseError."""
        await self._teller.step()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._every_s)
            await self.step()

    async def _round(self, at: datetime) -> None:
        await self._counts.say(self._database, at)
        await self._database.execute(figures.SQL.beat, self._process, at)
        if self._was_moved():
            return
        rows = await self._database.rows(SQL.last_round)
        last = rows[0]["beat_at"] if rows else None
        due_at = at - timedelta(seconds=0.9 * self._every_s)  # rounds need not keep step with our own pauses
        if last is not None and due_at < last <= at:
            return
        seen = await self._look(at)
        unseen = last is None or at - last > timedelta(seconds=UNSEEN_ROUNDS * self._every_s)
        await self._judge(seen, at, due_at, unseen)

    async def _look(self, at: datetime) -> Seen:
        """Everything that the rules look at."""
        read = await figures.read(self._database, [each for each in self._figures if not each.windowed], at)
        gauges = {figure.name: values for figure, values in read.items()}
        gauges |= await self._counts.gauges(self._database)
        silent_at = at - timedelta(seconds=BEATS_MISSED * self._every_s)
        processes = await self._database.rows(SQL.processes)
        gauges[UP] = [
            Value({"instance": row["name"].removeprefix(PROCESS)}, float(row["beat_at"] >= silent_at))
            for row in processes
        ]
        return Seen(gauges, await self._counts.increases(self._database, at))

    async def _judge(self, seen: Seen, at: datetime, due_at: datetime, unseen: bool) -> None:
        true = true_of(self._rules, seen)
        async with self._database.transaction() as tx:
            if not await tx.execute(SQL.claim_round, at, due_at):
                return
            rows = await tx.rows(SQL.lock_alerts)
            known = {(row["name"], row["about"]): Alert(**dict(row)) for row in rows}
            changed = decide(self._rules, true, known, at, unseen=unseen)
            told = [alert for alert in changed if news(known.get(alert.key), alert)]
            if changed:
                await tx.execute(
                    SQL.save_alerts, at, *columns(9, [self._row(alert, alert in told) for alert in changed])
                )
        for alert in told:
            self._log(alert)
        await self._counts.forget(self._database, at)
        await self._database.execute(SQL.forget_processes, at - timedelta(seconds=TAKEN_AWAY_S))

    def _row(self, alert: Alert, told: bool) -> tuple[object, ...]:
        rule = self._rule(alert)
        times = (alert.since_at, alert.clear_at, alert.fired_at, alert.ended_at)
        return (*alert.key, rule.severity if rule is not None else "ticket", alert.state, *times, told)

    def _judge_database(self, there: bool, at: datetime) -> None:
        """It cannot be written down that the database is away: this process remembers, and tells."""
        rule = next(each for each in self._rules if each.name == DATABASE_DOWN.name)
        true = set() if there else {(rule.name, "")}
        for alert in decide([rule], true, self._away, at, unseen=False):
            if news(self._away.get(alert.key), alert):
                self._log(alert)
                self._teller.tell_unsaved(rule, alert)
            self._away[alert.key] = alert

    def _rule(self, alert: Alert) -> Rule | None:
        return next((rule for rule in self._rules if rule.name == alert.name), None)

    def _log(self, alert: Alert) -> None:
        """A warning, not an error: errors that are logged are something that a rule looks at."""
        rule = self._rule(alert)
        words = sentence(rule, alert.about) if rule is not None else ""
        begins = "alert %s: %s" if alert.state == FIRING else "alert %s is over: %s"
        log.warning(begins, alert.name, words)

    def _time_of_day_s(self) -> float:
        """How far the time of day is ahead of what passed."""
        return self._clock.now().timestamp() - self._clock.monotonic_s()

    def _was_moved(self) -> bool:
        """Whether the time was moved since this was last asked."""
        before_s, self._moved_s = self._moved_s, self._time_of_day_s()
        return abs(self._moved_s - before_s) > MOVED_S

    async def _say_farewell(self) -> None:
        at = self._clock.now()
        try:
            async with asyncio.timeout(ROUND_DEADLINE_S / 5):
                await self._counts.say(self._database, at)
                await self._database.execute(SQL.end_process, self._process)
        except (DatabaseError, TimeoutError) as error:
            log.warning("the process ends without a word: %s", type(error).__name__)
