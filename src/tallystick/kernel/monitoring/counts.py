"""What the rules must know of the processes, gathered in the database: there it outlives them, and is of all together.

Every process adds what it counted since it last said so, in buckets of a minute; whoever judges sums them up. What a
process counted in its last seconds dies with it where it is killed. What it said without hearing the answer it says
again to the letter, under the same time, and that is added once. What a round of checks found is written when it ends.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from tallystick.kernel.columns import columns
from tallystick.kernel.monitoring.conditions import JOB, Of, Value
from tallystick.kernel.monitoring.rules import Rule
from tallystick.ports.database import Database, Statements
from tallystick.ports.metrics import samples

SQL = Statements.beside(__file__, "alerts.sql")

BUCKET_S: Final = 60
COUNTED_BY: Final = "counted by "
VIOLATIONS: Final = "invariant_violations"
"""What no statement finds in a moment: the last round of checks that came to its end says it, whoever made it."""
RULE: Final = "rule"

Series = tuple[str, str]
"""A metric and its labels: `webhooks_received_total`, `result=stored`."""


Totals = dict[Series, int]


class Said(NamedTuple):
    """What is said at a time: how much each series grew, and where that leaves the totals."""

    at: datetime
    rows: list[tuple[str, str, int]]
    totals: Totals


class Counts:
    """What the process of this name counted, as far as the rules look at it. `times`: by how much their windows are
    shortened."""

    def __init__(self, process: str, rules: Sequence[Rule], *, times: int = 1) -> None:
        self._name = f"{COUNTED_BY}{process}"
        self._unheard: Said | None = None
        self._bucket_s = max(BUCKET_S // times, 1)
        self._of: dict[str, list[Of]] = {}
        self._labels: dict[str, set[str]] = {}
        self._windows: dict[int, set[str]] = {}
        for of, window_s, by in (each for rule in rules for each in rule.condition.counts()):
            self._of.setdefault(of.metric, []).append(of)
            self._labels.setdefault(of.metric, set()).update({of.label, *by} - {"", JOB})
            self._windows.setdefault(window_s, set()).add(of.metric)
        self._said = self._totals()

    async def say(self, database: Database, at: datetime) -> None:
        """Add what was counted since this was last said. Raises DatabaseError, and says it the next time."""
        if self._unheard is not None:
            await self._add(database, self._unheard)
        totals = self._totals()
        grown = [(*series, total - self._said.get(series, 0)) for series, total in sorted(totals.items())]
        await self._add(database, Said(at, [row for row in grown if row[2] > 0], totals))

    async def _add(self, database: Database, said: Said) -> None:
        self._unheard = said
        if said.rows:
            bucket_at = self._bucket(said.at)
            await database.execute(SQL.add_counts, self._name, said.at, bucket_at, *columns(3, said.rows))
        self._said, self._unheard = said.totals, None

    async def increases(self, database: Database, at: datetime) -> dict[tuple[str, int], list[Value]]:
        """What everything grew by within every window that a rule looks at. Raises DatabaseError."""
        found: dict[tuple[str, int], list[Value]] = {}
        for window_s, metrics in sorted(self._windows.items()):
            since = at - timedelta(seconds=window_s)
            for row in await database.rows(SQL.counts_since, sorted(metrics), since, at):
                value = Value(_read(row["labels"]), float(row["amount"]))
                found.setdefault((row["metric"], window_s), []).append(value)
        return found

    async def gauges(self, database: Database) -> dict[str, list[Value]]:
        """What rounds of checks found. Raises DatabaseError."""
        found: dict[str, list[Value]] = {}
        for row in await database.rows(SQL.gauges):
            found.setdefault(row["metric"], []).append(Value(_read(row["labels"]), float(row["value"])))
        return found

    async def forget(self, database: Database, at: datetime) -> None:
        """Delete what no window looks back on any more. Raises DatabaseError."""
        before = at - timedelta(seconds=max(self._windows) + self._bucket_s)
        await database.execute(SQL.forget_counts, sorted(self._of), before)

    def _totals(self) -> Totals:
        totals: Totals = {}
        for sample in samples(self._of):
            if any(of.matches(sample.labels) for of in self._of[sample.name]):
                kept = {label: sample.labels[label] for label in self._labels[sample.name] if label in sample.labels}
                series = sample.name, _written(kept)
                totals[series] = totals.get(series, 0) + int(sample.value)
        return totals

    def _bucket(self, at: datetime) -> datetime:
        return datetime.fromtimestamp(at.timestamp() // self._bucket_s * self._bucket_s, UTC)


async def save_violations(database: Database, found: Mapping[str, int], at: datetime) -> None:
    """What a round of checks found, of every rule. Raises DatabaseError."""
    rules = [_written({RULE: rule}) for rule in sorted(found)]
    await database.execute(SQL.save_violations, VIOLATIONS, rules, [found[rule] for rule in sorted(found)], at)


async def last_violations(database: Database) -> dict[str, int]:
    """What the last round of checks found, by rule; nothing where there was none. Raises DatabaseError."""
    rows = await database.rows(SQL.gauges)
    return {_read(row["labels"])[RULE]: int(row["value"]) for row in rows if row["metric"] == VIOLATIONS}


def _written(labels: Mapping[str, str]) -> str:
    return ",".join(f"{label}={value}" for label, value in sorted(labels.items()))


def _read(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.split(",")) if text else ()
    return {label: value for label, _, value in pairs}
