"""The first page: how payments, webhooks and money stand, in the numbers that `/metrics` tells as well (RULES §13).

What stands in the database is read by the same figures (`gateway/monitoring`), for all who look and as seldom as it may
be; its last hours are charts. What only a process can count, answers and how long receivers took, is what the process
counted that shows the page, since it was started.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.console.desk import ACCOUNTS_MAX, Desk
from tallystick.gateway.console.hours import APPROVED, REACHED, Hours, charts_of, read_hours
from tallystick.gateway.monitoring.figures import FIGURES
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.monitoring.conditions import Value
from tallystick.kernel.monitoring.counts import last_violations
from tallystick.kernel.monitoring.figures import WINDOWS, Figures, read
from tallystick.kernel.monitoring.histograms import counts_of, quantile
from tallystick.ports.metrics import DELIVERY_SECONDS, REQUESTS

OVERVIEW: Final = f"{ROOT}/overview"
REFRESH_S: Final = 30
READ_AGAIN_S: Final = 5.0  # however many look: the database is not asked more often
HOURS_AGAIN_S: Final = 60.0
DELIVERY_QUANTILE: Final = 0.99


class Authorization(Struct, frozen=True):
    """Of the charges of a window that reached the acquirer, how many it approved."""

    window: str
    reached: int
    approved: int

    @property
    def rate(self) -> float | None:
        """None where there was none."""
        return self.approved / self.reached if self.reached else None


class Shown(Struct, frozen=True):
    """What was read in the database, and when. `more_accounts`: there are some whose deliveries are in no chart."""

    at: datetime
    found: Figures
    hours: Hours
    more_accounts: bool
    violations: int


class OverviewPage:
    """What the route does: it reads for all who look."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._reading = asyncio.Lock()
        self._shown: Shown | None = None
        self._shown_s = self._hours_s = -inf

    async def show(self, request: BrowserRequest) -> Html:
        """How everything stands."""
        shown = await self._read()
        figures = {figure.name: values for figure, values in shown.found.items()}
        told = {name: by_label(values) for name, values in figures.items() if name != "charges_made"}
        return self._desk.page(
            "overview",
            request,
            "Overview",
            refresh=REFRESH_S,
            at=shown.at,
            authorization=authorization(figures.get("charges_made", [])),
            figures=told,
            answers=answers(),
            delivery_p99_s=quantile(counts_of(DELIVERY_SECONDS), DELIVERY_QUANTILE),
            violations=shown.violations,
            charts=charts_of(shown.hours, told["work_overdue_seconds"]),
            accounts_max=ACCOUNTS_MAX if shown.more_accounts else None,
        )

    async def _read(self) -> Shown:
        """What is shown, read anew where it is too old."""
        async with self._reading:
            now_s, at = self._desk.clock.monotonic_s(), self._desk.clock.now()
            if self._shown is not None and now_s - self._shown_s < READ_AGAIN_S:
                return self._shown
            found, (hours, more), violated = await asyncio.gather(
                read(self._desk.database, FIGURES, at),
                self._of_hours(self._shown, at, now_s),
                last_violations(self._desk.database),
            )
            self._shown, self._shown_s = Shown(at, found, hours, more, sum(violated.values())), now_s
            return self._shown

    async def _of_hours(self, shown: Shown | None, at: datetime, now_s: float) -> tuple[Hours, bool]:
        """The last hours, read anew where they are too old, and whether there are more accounts than are looked at."""
        if shown is not None and now_s - self._hours_s < HOURS_AGAIN_S:
            return shown.hours, shown.more_accounts
        accounts = await self._desk.accounts("", ACCOUNTS_MAX + 1)
        hours = await read_hours(self._desk.database, accounts[:ACCOUNTS_MAX], at)
        self._hours_s = now_s
        return hours, len(accounts) > ACCOUNTS_MAX


def authorization(values: Sequence[Value]) -> list[Authorization]:
    """`attempt_authorization` of every window."""
    return [
        Authorization(
            window,
            sum(int(v.value) for v in values if v.labels["window"] == window and v.labels["state"] in REACHED),
            sum(int(v.value) for v in values if v.labels["window"] == window and v.labels["state"] in APPROVED),
        )
        for window in WINDOWS
    ]


def by_label(values: Sequence[Value]) -> dict[str, float]:
    """The values of a figure with one label by its value; of one without under an empty word."""
    return {" ".join(value.labels.values()): value.value for value in values}


def answers() -> Mapping[str, Any]:
    """`technical_success`: answers of this process, and those that were a fault of ours."""
    counted = [sample for family in REQUESTS.collect() for sample in family.samples if sample.name.endswith("_total")]
    told = sum(sample.value for sample in counted)
    faulty = sum(sample.value for sample in counted if sample.labels["status"] == "5xx")
    return {"told": int(told), "faulty": int(faulty), "success": 1 - faulty / told if told else None}
