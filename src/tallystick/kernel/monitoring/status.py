"""How a service is, in some lines: its figures in words, and which of them need a person (RULES §13).

The same figures as on `/metrics`, with the thresholds of the alerts' table; docs/alerts.md says of each alert what to
do. This is one moment: what an alert waits for before it fires is not waited for here. What must be looked at for
longer (rates, budgets) is told where the service judges its own alerts, as that found it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from tallystick.kernel.monitoring.conditions import Above, Value
from tallystick.kernel.monitoring.counts import last_violations
from tallystick.kernel.monitoring.figures import Figure, read
from tallystick.kernel.monitoring.rules import RULES
from tallystick.kernel.timeline.entries import duration
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

LIMITS: Final = {rule.name: rule.condition.threshold for rule in RULES if isinstance(rule.condition, Above)}
"""From where on an alert's gauge is too much."""

MINUTE_S: Final = 60  # what is late by less is not worth a word

Read = Mapping[str, Sequence[Value]]


class Line(Struct, frozen=True):
    """One thing in words. `alert` names what needs a person, by its heading in docs/alerts.md, and `do` what to do;
    both are empty where all is well."""

    name: str
    said: str
    alert: str = ""
    do: str = ""


class Status(Struct, frozen=True):
    """A service at one moment. `well`: no line needs a person."""

    service: str
    at: datetime
    well: bool
    lines: tuple[Line, ...]


async def status_of(service: str, database: Database, figures: Sequence[Figure], clock: Clock) -> Status:
    """How the service is now, as its database says. Raises DatabaseError."""
    at = clock.now()
    found = await read(database, figures, at)
    known = {figure.name: values for figure, values in found.items()}
    return judged(service, known, await last_violations(database), at)


def judged(service: str, known: Read, violated: Mapping[str, int], at: datetime) -> Status:
    """The lines of a service. `violated` is what the last round of checks found, by rule."""
    said = [say(service, known) for needs, say in LINES if needs in known]
    lines = (*said, _invariants(violated))
    lines += _others(known.get("alerts_firing", ()), {line.alert for line in lines})
    return Status(service, at, not any(line.alert for line in lines), lines)


def _workers(service: str, known: Read) -> Line:
    beats = known["heartbeat_age_seconds"]
    if not beats:
        return Line("workers", "never seen", "WorkersDead", "start them: `tallystick serve`, or `… work`")
    age_s = beats[0].value
    if age_s > LIMITS["WorkersDead"]:
        do = "no process runs this service's workers: start them, and look why they ended"
        return Line("workers", f"last seen {_age(age_s)} ago", "WorkersDead", do)
    kinds = _by(known.get("workers_silent_seconds", ()), "kind")
    if silent := sorted(kind for kind, silent_s in kinds.items() if silent_s > LIMITS["WorkersDead"]):
        do = f"`tallystick {service} {silent[0]}` died: start it, and look why it ended"
        return Line("workers", f"seen {_age(age_s)} ago, but none of {', '.join(silent)}", "WorkersDead", do)
    return Line("workers", f"seen {_age(age_s)} ago")


def _deliveries(service: str, known: Read) -> Line:
    states = _by(known["deliveries_unfinished"], "state")
    oldest_s = _one(known["delivery_due_oldest_seconds"])
    said = f"{_number(states, 'due')} due, {_number(states, 'held')} held, {_number(states, 'dead')} dead letters"
    said += f"; the oldest is {_age(oldest_s)} late" if oldest_s else ""
    name = "webhooks out" if service == "gateway" else "notifications"
    if states.get("dead"):
        return Line(name, said, "DeadLetters", f"`tallystick {service} dead-letters list`, mend the endpoint, redrive")
    if oldest_s > LIMITS["DeliveriesLate"]:
        return Line(name, said, "DeliveriesLate", f"`tallystick {service} endpoints health` shows which is slow")
    return Line(name, said)


def _inbound(_service: str, known: Read) -> Line:
    states = _by(known["inbound_unapplied"], "state")
    said = f"{_number(states, 'parked')} wait for their order, {_number(states, 'failed')} could not be taken in"
    if states.get("failed"):
        return Line("webhooks in", said, "InboundDeadLetters", "`tallystick merchant inbox list`, then `inbox run`")
    return Line("webhooks in", said)


def _unknown(_service: str, known: Read) -> Line:
    oldest_s = _one(known["unknown_outcome_oldest_seconds"])
    said = f"{int(_one(known['unknown_outcomes']))}"
    said += f"; the oldest is {_age(oldest_s)} old" if oldest_s else ""
    if oldest_s > LIMITS["OutcomeUnknownLong"]:
        return Line("unknown", said, "OutcomeUnknownLong", "`tallystick gateway unknown-outcomes list`; ask the bank")
    return Line("unknown", said)


def _pending(_service: str, known: Read) -> Line:
    overdue_s = _one(known["order_overdue_seconds"])
    if overdue_s > LIMITS["OrderPendingLong"]:
        do = "`tallystick explain ORDER` of the oldest: is its gateway away, or its charge unknown?"
        return Line("orders", f"one is PENDING {_age(overdue_s)} past its end", "OrderPendingLong", do)
    return Line("orders", f"one is {_age(overdue_s)} past its end" if overdue_s else "none is PENDING past its end")


def _work(_service: str, known: Read) -> Line:
    late = {work: value for work, value in _by(known["work_overdue_seconds"], "work").items() if value > MINUTE_S}
    said = ", ".join(f"{work} {_age(value)} late" for work, value in sorted(late.items())) or "nothing is late"
    if any(value > LIMITS["WorkOverdue"] for value in late.values()):
        return Line("work", said, "WorkOverdue", "workers are missing or slow: look at their log, start more")
    return Line("work", said)


def _reconciliation(_service: str, known: Read) -> Line:
    ages = known["reconciliation_age_seconds"]
    open_ = int(sum(value.value for value in known["mismatches_open"]))
    if not ages:
        return Line("settlement", "never compared")
    age_s = ages[0].value
    said = f"compared {_age(age_s)} ago, {open_} differences open"
    if age_s > LIMITS["ReconciliationStale"]:
        return Line("settlement", said, "ReconciliationStale", "`tallystick merchant reconcile --date D` shows why")
    return Line("settlement", said)


def _cases(service: str, known: Read) -> Line:
    kinds = _by(known["cases_open"], "kind")
    if not kinds:
        return Line("cases", "none open")
    said = ", ".join(f"{int(value)} {kind.replace('_', ' ')}" for kind, value in sorted(kinds.items()))
    return Line("cases", said, "MoneyUnmatched", f"`tallystick {service} cases list`")


def _sales(service: str, known: Read) -> Line:
    if service == "gateway":
        states = _by([each for each in known["charges_made"] if each.labels["window"] == "1h"], "state")
        approved = sum(states.get(state, 0) for state in ("approved", "reversing", "reversed"))
        reached = approved + states.get("declined", 0) + states.get("unknown", 0)
        return Line("last hour", _share("attempt_authorization", approved, reached))
    orders = [each for each in known["orders_created"] if each.labels["window"] == "1h"]
    tried = [each for each in orders if each.labels["attempted"] == "yes"]
    paid = sum(each.value for each in tried if each.labels["state"] == "PAID")
    return Line("last hour", _share("order_success", paid, sum(each.value for each in tried)))


def _invariants(violated: Mapping[str, int]) -> Line:
    broken = {rule: count for rule, count in violated.items() if count}
    if broken:
        said = ", ".join(f"{rule} {count}" for rule, count in sorted(broken.items()))
        do = "do not mend it by SQL: keep a dump, read the log line `invariant violated`"
        return Line("invariants", said, "InvariantViolated", do)
    if not violated:
        return Line("invariants", "not checked yet")
    return Line(
        "invariants",
        f"all {len(violated)} hold, the ledger's too" if _has_ledger(violated) else f"all {len(violated)} hold",
    )


def _others(firing: Sequence[Value], named: set[str]) -> tuple[Line, ...]:
    """Alerts that fire and that no line has named."""
    names = sorted({each.labels["alert"] for each in firing if each.value} - named)
    do = "docs/alerts.md says what to do"
    return (Line("alerts", f"firing: {', '.join(names)}", names[0], do),) if names else ()


def _has_ledger(violated: Mapping[str, int]) -> bool:
    return any("ledger" in rule for rule in violated)


LINES: Final[tuple[tuple[str, Callable[[str, Read], Line]], ...]] = (
    ("heartbeat_age_seconds", _workers),
    ("deliveries_unfinished", _deliveries),
    ("inbound_unapplied", _inbound),
    ("unknown_outcomes", _unknown),
    ("order_overdue_seconds", _pending),
    ("work_overdue_seconds", _work),
    ("reconciliation_age_seconds", _reconciliation),
    ("cases_open", _cases),
    ("charges_made", _sales),
    ("orders_created", _sales),
)
"""A line, and the figure without which a service has none."""


def _one(values: Sequence[Value]) -> float:
    return values[0].value if values else 0.0


def _by(values: Sequence[Value], label: str) -> dict[str, float]:
    return {value.labels[label]: value.value for value in values}


def _number(states: Mapping[str, float], state: str) -> str:
    return f"{int(states.get(state, 0)):,}"


def _share(name: str, part: float, whole: float) -> str:
    return f"{name} {part / whole:.1%} of {int(whole):,}" if whole else f"{name}: nothing to count"


def _age(seconds: float) -> str:
    return duration(int(seconds * 1000))
