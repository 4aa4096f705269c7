"""The last hours as charts: charges by their outcome, deliveries, and which of these still wait (RULES §13)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.console.desk import SQL
from tallystick.gateway.monitoring.figures import SQL as OF_ALL_OWNERS
from tallystick.kernel.console.charts import Chart, Series, bar_chart, line_chart
from tallystick.kernel.identifiers import first_id
from tallystick.ports.database import Database

HOURS: Final = 24

APPROVED: Final = frozenset({"approved", "reversing", "reversed"})
REACHED: Final = APPROVED | {"declined", "unknown"}
"""Charges that reached the acquirer, as docs/alerts.md counts them: approved ones, declined ones, unknown ones."""
OUTCOMES: Final = {
    "approved": APPROVED,
    "declined": frozenset({"declined"}),
    "unknown": frozenset({"unknown"}),
    "under way": frozenset({"authenticating", "created", "sent"}),
    "abandoned": frozenset({"abandoned"}),
}
WAITING: Final = ("due", "held", "dead")

Counts = Mapping[str, int]


class Hours(Struct, frozen=True):
    """Hours in the order of time, and of each how many charges and deliveries were made in it, by their state now."""

    begin: Sequence[datetime]
    charges: Sequence[Counts]
    deliveries: Sequence[Counts]


async def read_hours(database: Database, accounts: Sequence[str], at: datetime) -> Hours:
    """The hour of `at` and those before it: charges of all, deliveries of these accounts. Raises DatabaseError."""
    first = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    begin = [first + timedelta(hours=each) for each in range(HOURS)]
    end = begin[-1] + timedelta(hours=1)
    charges, deliveries = await asyncio.gather(
        database.rows(OF_ALL_OWNERS.charges_by_hour, first, end),
        database.rows(SQL.deliveries_by_hour, accounts, first_id("dlv", first), first_id("dlv", end), first),
    )
    return Hours(begin, _by_hour(begin, charges), _by_hour(begin, deliveries))


def _by_hour(begin: Sequence[datetime], rows: Sequence[Mapping[str, Any]]) -> list[Counts]:
    found: dict[datetime, dict[str, int]] = {hour: {} for hour in begin}
    for row in rows:
        if row["hour"] in found:
            found[row["hour"]][row["state"]] = row["count"]
    return list(found.values())


def charts_of(hours: Hours, overdue: Mapping[str, float]) -> list[Chart]:
    """What is drawn; `overdue` is for how many seconds the oldest due work of each kind waits. Pure."""
    labels = [f"{hour:%H}:00" for hour in hours.begin]
    made = Series("made", tuple(sum(each.values()) for each in hours.deliveries))
    delivered = Series("delivered", tuple(each.get("delivered", 0) for each in hours.deliveries))
    return [
        line_chart(
            "charges",
            "Charges of the last 24 hours, by what became of them (UTC)",
            labels,
            [Series(name, tuple(_of(each, states) for each in hours.charges)) for name, states in OUTCOMES.items()],
        ),
        line_chart(
            "authorization",
            "Approved of those that reached the acquirer, last 24 hours (UTC)",
            labels,
            [Series("attempt_authorization", tuple(_authorization(each) for each in hours.charges))],
            unit="percent",
        ),
        line_chart("deliveries", "Deliveries of the last 24 hours (UTC)", labels, [made, delivered]),
        line_chart(
            "backlog",
            "Deliveries that still wait or are dead, by when they were made (UTC)",
            labels,
            [Series(state, tuple(each.get(state, 0) for each in hours.deliveries)) for state in WAITING],
        ),
        bar_chart(
            "overdue",
            "How long the oldest due work waits",
            list(overdue),
            [Series("waits", tuple(overdue.values()))],
            unit="seconds",
        ),
    ]


def _of(counts: Counts, states: frozenset[str]) -> int:
    return sum(count for state, count in counts.items() if state in states)


def _authorization(counts: Counts) -> float | None:
    """None where no charge reached the acquirer."""
    reached = _of(counts, REACHED)
    return _of(counts, APPROVED) / reached if reached else None
