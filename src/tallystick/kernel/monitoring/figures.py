"""Figures: numbers that a service reads in its database, each by one statement, the same for whoever asks.

A statement gives rows with the figure's labels as columns, and `value`. Its parameters are the present time, or, where
it looks at a window, the window's beginning and the present time: then each window is a label value of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel.monitoring.conditions import Value
from tallystick.ports.database import Database, Statement, Statements

SQL = Statements.beside(__file__)
ALERTS = Statements.beside(__file__, "alerts.sql")

WINDOWS: Final = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "1d": timedelta(days=1)}
"""Over which rates are looked at: what happens now, and what is usual."""


class Figure(Struct, frozen=True):
    """A number to be read. `name` is that of the metric without its prefix; `words` say what it counts, and in what."""

    name: str
    words: str
    statement: Statement
    labels: tuple[str, ...] = ()
    windowed: bool = False


Figures = Mapping[Figure, Sequence[Value]]

DELIVERING: Final = (
    Figure("deliveries_unfinished", "Deliveries that are due, held or dead.", SQL.deliveries_unfinished, ("state",)),
    Figure("delivery_due_oldest_seconds", "How long the oldest due delivery waits.", SQL.delivery_due_oldest),
    Figure("heartbeat_age_seconds", "Since a process last ran this service's workers.", SQL.heartbeat_age),
    Figure(
        "workers_silent_seconds",
        "Since a process of each kind that runs workers last said so.",
        SQL.workers_silent,
        ("kind",),
    ),
    Figure(
        "alerts_firing",
        "Alerts that fire where the service judges itself.",
        ALERTS.alerts_firing,
        ("alert", "severity"),
    ),
)
"""Of the tables that both services have."""


async def read(database: Database, figures: Sequence[Figure], at: datetime) -> Figures:
    """All figures as they stand. Raises DatabaseError."""
    return {figure: await _read(database, figure, at) for figure in figures}


async def _read(database: Database, figure: Figure, at: datetime) -> list[Value]:
    if not figure.windowed:
        return _values(figure, await database.rows(figure.statement, at))
    return [
        Value({"window": window, **value.labels}, value.value)
        for window, length in WINDOWS.items()
        for value in _values(figure, await database.rows(figure.statement, at - length, at))
    ]


def _values(figure: Figure, rows: Sequence[Mapping[str, object]]) -> list[Value]:
    return [
        Value({label: str(row[label]) for label in figure.labels}, float(str(row["value"])))
        for row in rows
        if row["value"] is not None
    ]
