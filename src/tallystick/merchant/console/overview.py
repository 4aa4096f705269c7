"""The first page: what sells, what waits, what needs a person, by the same figures as `/metrics` (RULES §13).

What the database says is read by the very statements behind the metrics (`monitoring/figures.py`), an hour's orders by
the one for a window. How long things took is what this process counted since it began, as its `/metrics` says.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final

from msgspec import Struct
from prometheus_client import Histogram

from tallystick.kernel.console.charts import Chart, Series, bar_chart, figure, line_chart
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.monitoring.conditions import Value
from tallystick.kernel.monitoring.figures import Figure, read
from tallystick.kernel.monitoring.histograms import between, counts_of, quantile
from tallystick.merchant.console.merchants import Merchants
from tallystick.merchant.monitoring.figures import SQL
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.metrics import PAID_AFTER_SECONDS, REQUESTS, WEBHOOK_SECONDS, WEBHOOK_SLO_S

OVERVIEW: Final = "/console/overview"
LIVE_S: Final = 10
READ_AGAIN_S: Final = 5.0  # however many look: the database is not asked more often
HOURS: Final = 24
HOURS_AGAIN_S: Final = 60.0
WINDOW: Final = "1h"  # of the rates at the top of the page
SILENT_S: Final = 60.0  # workers say every ten seconds that they are there


class Created(Struct, frozen=True):
    """Orders of some time, as they stand now: how many there are, how many were tried to be paid, how many are."""

    made: float
    attempted: float
    paid: float

    @property
    def order_success(self) -> float | None:
        """PAID / attempted."""
        return self.paid / self.attempted if self.attempted else None

    @property
    def conversion(self) -> float | None:
        """PAID / created."""
        return self.paid / self.made if self.made else None


class Shown(Struct, frozen=True):
    """What was read in the database, and when."""

    at: datetime
    figures: dict[str, Sequence[Value]]
    hours: Sequence[tuple[datetime, Created]]

    def value(self, name: str, **labels: str) -> float | None:
        """One figure, or None where there is none yet."""
        found = [each.value for each in self.figures[name] if labels.items() <= each.labels.items()]
        return sum(found) if found else None

    def by(self, name: str, label: str) -> list[tuple[str, float]]:
        """A figure by one of its labels."""
        return [(each.labels[label], each.value) for each in self.figures[name]]


class OverviewPage:
    """Reads for all who look, as seldom as it may."""

    def __init__(self, merchants: Merchants, database: Database, clock: Clock, figures: Sequence[Figure]) -> None:
        self._merchants = merchants
        self._database = database
        self._clock = clock
        self._figures = figures
        self._reading = asyncio.Lock()
        self._shown: Shown | None = None
        self._shown_s = self._hours_s = -inf

    async def show(self, request: BrowserRequest) -> Html:
        """The page."""
        shown = await self._read()
        created = created_in(shown.figures["orders_created"], window=WINDOW)
        page: dict[str, Any] = {
            "shown": shown,
            "created": created,
            "window": WINDOW,
            "technical_success": _technical_success(),
            "webhook_p99": quantile(counts_of(WEBHOOK_SECONDS), 0.99),
            "paid_after_p99": quantile(counts_of(PAID_AFTER_SECONDS), 0.99),
            "slo_s": WEBHOOK_SLO_S,
            "silent_s": SILENT_S,
            "charts": _charts(shown),
            "live": LIVE_S,
        }
        return self._merchants.page("overview", request, "Overview", await self._merchants.scope(request), **page)

    async def _read(self) -> Shown:
        """What is shown, read anew where it is too old."""
        async with self._reading:
            now_s, at = self._clock.monotonic_s(), self._clock.now()
            if self._shown is not None and now_s - self._shown_s < READ_AGAIN_S:
                return self._shown
            found, hours = await asyncio.gather(read(self._database, self._figures, at), self._of_hours(at, now_s))
            self._shown = Shown(at, {each.name: values for each, values in found.items()}, hours)
            self._shown_s = now_s
            return self._shown

    async def _of_hours(self, at: datetime, now_s: float) -> Sequence[tuple[datetime, Created]]:
        """The last hours, each by the statement behind the metric; read anew where they are too old."""
        if self._shown is not None and now_s - self._hours_s < HOURS_AGAIN_S:
            return self._shown.hours
        begin = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
        hours = [begin + timedelta(hours=each) for each in range(HOURS)]
        found = []
        for hour in hours:
            rows = await self._database.rows(SQL.orders_created, hour, hour + timedelta(hours=1))
            labels = [({"state": row["state"], "attempted": row["attempted"]}, float(row["value"])) for row in rows]
            found.append((hour, created_in([Value(each, value) for each, value in labels])))
        self._hours_s = now_s
        return found


def created_in(values: Sequence[Value], **labels: str) -> Created:
    """The orders that a figure counts, with these labels."""
    these = [each for each in values if labels.items() <= each.labels.items()]
    attempted = [each for each in these if each.labels["attempted"] == "yes"]
    return Created(
        made=sum(each.value for each in these),
        attempted=sum(each.value for each in attempted),
        paid=sum(each.value for each in attempted if each.labels["state"] == "PAID"),
    )


def _technical_success() -> float | None:
    """1 − our errors / requests of the API, as this process counted them."""
    samples = [sample for family in REQUESTS.collect() for sample in family.samples if sample.name.endswith("_total")]
    answered = {sample.labels["status"]: sample.value for sample in samples if sample.labels["area"] == "api"}
    total = sum(answered.values())
    return 1 - answered.get("5xx", 0.0) / total if total else None


def _charts(shown: Shown) -> list[Chart]:
    labels = [f"{hour:%H}:00" for hour, _ in shown.hours]
    created = [each for _, each in shown.hours]
    success = Series("order_success", tuple(each.order_success for each in created))
    conversion = Series("conversion", tuple(each.conversion for each in created))
    paid = Series("paid", tuple(each.paid for each in created))
    made = Series("created", tuple(each.made for each in created))
    overdue = shown.by("work_overdue_seconds", "work")
    waiting = shown.by("deliveries_unfinished", "state") + [
        (f"inbound {state}", value) for state, value in shown.by("inbound_unapplied", "state")
    ]
    return [
        line_chart(
            "success",
            "Success of the last 24 hours, by when orders were created (UTC)",
            labels,
            [success, conversion],
            unit="percent",
        ),
        line_chart("orders", "Orders of the last 24 hours (UTC)", labels, [made, paid]),
        _histogram("webhooks", "Webhooks by how long they took, in this process", WEBHOOK_SECONDS),
        _histogram("paid", "Orders by how long after the gateway they were PAID, in this process", PAID_AFTER_SECONDS),
        bar_chart(
            "overdue",
            "How long the oldest due work waits",
            [name for name, _ in overdue],
            [Series("waits", tuple(value for _, value in overdue))],
            unit="seconds",
        ),
        bar_chart(
            "backlog",
            "What is not finished",
            [name for name, _ in waiting],
            [Series("waiting", tuple(value for _, value in waiting))],
        ),
    ]


def _histogram(id: str, title: str, histogram: Histogram) -> Chart:
    found = between(counts_of(histogram))
    labels = ["more" if edge == inf else f"≤ {figure(edge, 'seconds')}" for edge, _ in found]
    return bar_chart(id, title, labels, [Series("count", tuple(count for _, count in found))])
