"""The first page: how payments, webhooks and money stand, in the numbers that `/metrics` tells as well (RULES §13).

What stands in the database is read by the same figures (`gateway/monitoring`). What only a process can count, answers
and how long receivers took, is what the process counted that shows the page, since it was started.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.console.desk import Desk
from tallystick.gateway.monitoring.figures import FIGURES
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.monitoring.conditions import Value
from tallystick.kernel.monitoring.figures import WINDOWS, read
from tallystick.ports.metrics import DELIVERY_SECONDS, INVARIANTS_VIOLATED, REQUESTS

OVERVIEW: Final = f"{ROOT}/overview"
REFRESH_S: Final = 30
DELIVERY_QUANTILE: Final = 0.99

APPROVED: Final = frozenset({"approved", "reversing", "reversed"})
REACHED: Final = APPROVED | {"declined", "unknown"}
"""Charges that reached the acquirer, as docs/alerts.md counts them: approved ones, declined ones, unknown ones."""


class Authorization(Struct, frozen=True):
    """Of the charges of a window that reached the acquirer, how many it approved."""

    window: str
    reached: int
    approved: int

    @property
    def rate(self) -> float | None:
        """None where there was none."""
        return self.approved / self.reached if self.reached else None


class OverviewPage(Struct, frozen=True):
    """What the route does."""

    desk: Desk

    async def show(self, request: BrowserRequest) -> Html:
        """How everything stands."""
        found = await read(self.desk.database, FIGURES, self.desk.clock.now())
        figures = {figure.name: values for figure, values in found.items()}
        return self.desk.page(
            "overview",
            request,
            "Overview",
            refresh=REFRESH_S,
            authorization=authorization(figures.get("charges_made", [])),
            figures={name: by_label(values) for name, values in figures.items() if name != "charges_made"},
            words={figure.name: figure.words for figure in found},
            answers=answers(),
            delivery_p99_s=delivery_seconds(DELIVERY_QUANTILE),
            violations=violations(),
        )


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


def delivery_seconds(quantile: float) -> float | None:
    """Within how many seconds so many of a hundred receivers answered: the edge of the histogram's bucket; infinity
    beyond the last one. None where this process has delivered nothing."""
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for family in DELIVERY_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_bucket")
    ]
    total = buckets[-1][1] if buckets else 0
    return next((edge for edge, count in buckets if count >= quantile * total), None) if total else None


def violations() -> int:
    """What the last round of checks in this process found that must never be."""
    return int(sum(sample.value for family in INVARIANTS_VIOLATED.collect() for sample in family.samples))
