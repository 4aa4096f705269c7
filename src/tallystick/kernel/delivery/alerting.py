"""Alerts of dead letters: once for each endpoint and reason, not for every event (RULES §6).

The dispatcher raises an alert in the commit in which a delivery dies; the row stops it from being raised again, by any
dispatcher, until the endpoint's dead letters are redriven. The alerter tells it, and tries again where that failed.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.protocol import Result
from tallystick.kernel.delivery.queue import SQL
from tallystick.kernel.delivery.states import DEAD, ENDPOINT_DELETED, OUR_FAULTS
from tallystick.ports.alerts import Alerts
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Transaction

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
ALERTS_MAX: Final = 20
"""Told after one look, one after the other."""
LEASE_S: Final = 60.0
"""Longer than telling may take (ports/alerts)."""
WAITS_S: Final = (60, 300, 3_600, 14_400)
"""Before each further try to tell; the log line is there from the first."""


async def raise_alerts(tx: Transaction, results: Sequence[Result]) -> None:
    """In the commit that records dead letters: what is to be told of them. An endpoint that was deleted is no news."""
    dead = [
        result
        for result in results
        if result.verdict.state == DEAD and result.verdict.reason not in (None, ENDPOINT_DELETED)
    ]
    first = {(*result.claimed.endpoint, result.verdict.reason): result for result in reversed(dead)}
    if first:
        rows = [(*key, result.claimed.id, result.at) for key, result in sorted(first.items())]
        await tx.execute(SQL.raise_alerts, *columns(6, rows))


class Alerter:
    """Tells alerts until it is cancelled. `command` is how an operator lists dead letters."""

    def __init__(self, database: Database, alerts: Alerts, clock: Clock, *, command: str) -> None:
        self._database = database
        self._alerts = alerts
        self._clock = clock
        self._command = command

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self.step, self._clock, log, "alerts of dead letters wait for the database", pause_s=LOOK_S)

    async def step(self) -> None:
        """Tell what is to be told now."""
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_alerts, at, ALERTS_MAX)
        for row in seen:
            key = (row["owner_id"], row["livemode"], row["endpoint"], row["reason"])
            claimed = (*key, row["tries"], at + timedelta(seconds=LEASE_S))
            if await self._database.execute(SQL.claim_alert, *claimed):
                told = await self._tell(row)
                await self._database.execute(
                    SQL.record_alert, *key, row["tries"] + 1, self._again_at(row["tries"], told)
                )

    def _again_at(self, tries: int, told: bool) -> object:
        if told or tries >= len(WAITS_S):
            return None
        return self._clock.now() + timedelta(seconds=WAITS_S[tries])

    async def _tell(self, row: Record) -> bool:
        whose = "a fault of ours" if row["reason"] in OUR_FAULTS else "its receiver does not take them"
        mode = "live" if row["livemode"] else "test"
        if row["tries"] == 0:
            log.error(
                "webhooks to endpoint %s of %s become dead letters: %s (%s)",
                row["endpoint"],
                row["owner_id"],
                row["reason"],
                whose,
            )
        return await self._alerts.tell(
            f"Webhooks to {row['endpoint']} become dead letters: {row['reason']}",
            f"Endpoint {row['endpoint']} of {row['owner_id']} ({mode} mode): {whose}.\n"
            f"The first was {row['delivery']}, at {row['raised_at']:%Y-%m-%d %H:%M:%S} UTC. This is told once.\n"
            f"{self._command} list --endpoint {row['endpoint']}",
        )
