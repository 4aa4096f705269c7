"""What an alert goes through, judged again and again (RULES §13). Pure.

    quiet ── true ──► pending ── true for `for_s` ──► firing ── not true for `keep_s` ──► quiet
                         └──── not true ──► quiet

Prometheus' own words and meaning: `for` and `keep_firing_for`. Only what begins or ceases to fire is told to people.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from tallystick.kernel.monitoring.conditions import About, Seen
from tallystick.kernel.monitoring.rules import Rule

State = Literal["quiet", "pending", "firing"]
QUIET: Final = "quiet"
PENDING: Final = "pending"
FIRING: Final = "firing"

Key = tuple[str, str]
"""The rule's name, and what the alert is about: `work=attempts`; mostly nothing."""


class Alert(Struct, frozen=True, kw_only=True):
    """One alert: a rule, and what it is about. `since_at` is when it became what it is; `clear_at`, while it fires,
    since when it is not true any more; `fired_at` and `ended_at` are of the last time that it fired."""

    name: str
    about: str
    state: State
    since_at: datetime
    clear_at: datetime | None = None
    fired_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def key(self) -> Key:
        return self.name, self.about


def true_of(rules: Sequence[Rule], seen: Seen) -> set[Key]:
    """What is true at present, and does not follow from something else that is."""
    true = [(rule, rule.condition.holds(seen)) for rule in rules]
    causes = {rule.name for rule, found in true if found}
    return {(rule.name, written(about)) for rule, found in true if rule.follows not in causes for about in found}


def decide(
    rules: Sequence[Rule], true: Collection[Key], known: Mapping[Key, Alert], at: datetime, *, unseen: bool
) -> list[Alert]:
    """The alerts that are another way now. `unseen`: nobody looked for a while, so that nobody knows whether something
    was true without a break; durations begin anew. A rule that is no more falls quiet."""
    by_name = {rule.name: rule for rule in rules}
    changed = []
    for key in sorted({*true, *known}):
        before = known.get(key) or Alert(name=key[0], about=key[1], state=QUIET, since_at=at)
        after = _next(by_name.get(key[0]), before, key in true, at, unseen)
        if after != before:
            changed.append(after)
    return changed


def _next(rule: Rule | None, alert: Alert, true: bool, at: datetime, unseen: bool) -> Alert:
    if rule is None:
        return _quiet(alert, at) if alert.state != QUIET else alert
    if alert.state == FIRING:
        if true:
            return replace(alert, clear_at=None)
        clear_at = at if alert.clear_at is None or unseen else alert.clear_at
        over = at - clear_at >= timedelta(seconds=rule.keep_s)
        return _quiet(alert, at) if over else replace(alert, clear_at=clear_at)
    if not true:
        return replace(alert, state=QUIET, since_at=at) if alert.state == PENDING else alert
    since_at = at if alert.state == QUIET or unseen else alert.since_at
    if at - since_at >= timedelta(seconds=rule.for_s):
        return replace(alert, state=FIRING, since_at=at, clear_at=None, fired_at=at, ended_at=None)
    return replace(alert, state=PENDING, since_at=since_at)


def _quiet(alert: Alert, at: datetime) -> Alert:
    ended_at = at if alert.state == FIRING else alert.ended_at
    return replace(alert, state=QUIET, since_at=at, clear_at=None, ended_at=ended_at)


def news(before: Alert | None, after: Alert) -> bool:
    """Whether people are told: it began to fire, or ceased."""
    fired = before is not None and before.state == FIRING
    return fired != (after.state == FIRING)


def written(about: About) -> str:
    """What an alert is about, as it stands in its row."""
    return ",".join(f"{label}={value}" for label, value in about)


def sentence(rule: Rule, about: str) -> str:
    """The rule's sentence, of what this alert is about."""
    text = rule.summary
    for each in about.split(",") if about else ():
        label, _, value = each.partition("=")
        text = text.replace(f"{{{label}}}", value)
    return text
