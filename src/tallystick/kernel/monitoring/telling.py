"""Tells people what began to fire and what is over, once each. That it is still to be told stands in the alert's row.

    due → claim (due again after a while) → tell → record

Any number of processes may tell; whoever dies between claim and record is followed by somebody who tells again.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from tallystick.kernel import looking
from tallystick.kernel.monitoring.alerts import FIRING, Alert, sentence
from tallystick.kernel.monitoring.counts import SQL
from tallystick.kernel.monitoring.rules import Rule
from tallystick.ports.alerts import LastingAlerts
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.metrics import ALERTS_TOLD

log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
LEASE_S: Final = 60.0  # longer than telling may take (ports/alerts)
TOLD_MAX: Final = 20  # after one look, one after the other
WAITS_S: Final = (60, 300, 3_600, 14_400)  # before each further try
UNSAVED_MAX: Final = 10  # what is told without the database, while nobody hears

for _result in ("told", "failed"):
    ALERTS_TOLD.labels(_result)


class Teller:
    """Tells until it is cancelled. `service` begins every title."""

    def __init__(
        self, database: Database, alerts: LastingAlerts, clock: Clock, rules: Sequence[Rule], *, service: str
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._clock = clock
        self._rules = {rule.name: rule for rule in rules}
        self._service = service
        self._unsaved: list[Mapping[str, Any]] = []

    def tell_unsaved(self, rule: Rule, alert: Alert) -> None:
        """Tell of an alert that has no row: of the database, which is away."""
        self._unsaved.append(
            {
                "name": alert.name,
                "about": alert.about,
                "severity": rule.severity,
                "state": alert.state,
                "fired_at": alert.fired_at,
                "ended_at": alert.ended_at,
            }
        )
        del self._unsaved[:-UNSAVED_MAX]

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        await looking.run(self.step, self._clock, log, "alerts wait for the database", pause_s=LOOK_S)

    async def step(self) -> None:
        """Tell what is to be told now. Raises DatabaseError."""
        while self._unsaved and await self._tell(self._unsaved[0]):
            del self._unsaved[0]
        at = self._clock.now()
        for row in await self._database.rows(SQL.untold_alerts, at, TOLD_MAX):
            key, tries = (row["name"], row["about"], row["state"]), row["tries"]
            if await self._database.execute(SQL.claim_news, *key, tries, at + timedelta(seconds=LEASE_S)):
                again_at = None if await self._tell(row) else self._again_at(tries)
                await self._database.execute(SQL.record_news, *key, tries + 1, again_at)

    def _again_at(self, tries: int) -> datetime | None:
        if tries >= len(WAITS_S):
            return None
        return self._clock.now() + timedelta(seconds=WAITS_S[tries])

    async def _tell(self, row: Mapping[str, Any]) -> bool:
        rule = self._rules.get(row["name"])
        words = sentence(rule, row["about"]) if rule is not None else ""
        title = f"{self._service}: {row['name']}: {words}"  # the same for both: a target finds its incident by it
        since = f"{row['fired_at']:%Y-%m-%d %H:%M:%S} UTC"
        if row["state"] == FIRING:
            what = f"docs/alerts.md#{row['name'].lower()}"
            told = await self._alerts.tell(title, f"Since {since} ({row['severity']}). What to do: {what}")
        else:
            over = f"Over: it was so from {since} to {row['ended_at']:%Y-%m-%d %H:%M:%S} UTC."
            told = await self._alerts.tell_over(title, over)
        ALERTS_TOLD.labels("told" if told else "failed").inc()
        return told
