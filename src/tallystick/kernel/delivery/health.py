"""How an endpoint stands: what its answers tell, and how much it is therefore sent. Pure (RULES §6).

    good    2xx                            it is sent more, up to what any endpoint gets
    slow    429, 502, 504, Retry-After     it is left alone for a while, then sent half as much
    bad     anything else                  after BREAK_AFTER in a row it is broken

A broken endpoint is not called. What falls due to it meanwhile fails as if it had been called: it keeps its schedule,
costs no connection, and does not pile up. When the breaker's time is over one delivery is sent for all of them; where
that succeeds the width grows with every success, so that a backlog comes as a ramp and not as a stampede.

Every dispatcher goes by the same rows. A try that began before the last back-off tells nothing that was not known when
it was decided: a hundred answers to what was under way are one reason to slow down, not a hundred.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

SLOW_STATUSES: Final = frozenset({429, 502, 504})
TOO_MANY: Final = 429
"""It lives, and asks for less: never a reason to think it broken."""
BREAK_AFTER: Final = 10
"""Failures in a row until nothing is sent: enough that a bad minute of one event's handler does not stop the others."""
SLOW_S: Final = 1.0
"""The first pause of an endpoint that did not say how long; each next one is twice as long."""
BROKEN_S: Final = 5.0
"""How long the breaker is open at first, likewise."""
BACKOFF_S_MAX: Final = 60.0
"""A minute after it is back it gets something: as long as the schedule's first wait, so that little is lost by it."""
ASKED_S_MAX: Final = 3_600.0
"""What an endpoint may ask for all its deliveries at once by `Retry-After`; more is between it and the one delivery."""
JITTER_SHARE: Final = 0.2


class Kind(StrEnum):
    """What a try tells of its endpoint."""

    GOOD = "good"
    SLOW = "slow"
    BAD = "bad"


class Outcome(Struct, frozen=True):
    """One try as far as it tells something of its endpoint. `asked_s` is what a `Retry-After` asked for."""

    kind: Kind
    started_at: datetime
    reason: str | None = None
    asked_s: float | None = None
    breaks: bool = True


class Health(Struct, frozen=True):
    """A row of `endpoint_health`; as made here, the health of an endpoint without one."""

    width: int | None = None
    failures: int = 0
    failing_since: datetime | None = None
    reason: str | None = None
    backoffs: int = 0
    backed_off_at: datetime | None = None
    slowed_until: datetime | None = None
    broken_until: datetime | None = None

    @property
    def ailing(self) -> bool:
        """Whether a success is news."""
        return self.failures > 0 or self.width is not None

    def is_broken(self, at: datetime) -> bool:
        """Whether nothing is sent, and what falls due fails at once."""
        return self.broken_until is not None and self.broken_until > at

    def is_slowed(self, at: datetime) -> bool:
        """Whether nothing is sent, and what falls due waits."""
        return self.slowed_until is not None and self.slowed_until > at

    def share(self, share_max: int) -> int:
        """How many deliveries one dispatcher may send there at once."""
        return share_max if self.width is None else min(self.width, share_max)


WELL: Final = Health()


def learn(health: Health, outcomes: Iterable[Outcome], *, at: datetime, chance: float, share_max: int) -> Health:
    """The health after `outcomes`, which were all written down at `at`. `chance` in 0 … 1 spreads the pauses."""
    for outcome in outcomes:
        match outcome.kind:
            case Kind.GOOD:
                health = _better(health, outcome, share_max)
            case Kind.SLOW:
                health = _slower(_worse(health, outcome, at, chance), outcome, at, chance, share_max)
            case Kind.BAD:
                health = _worse(health, outcome, at, chance)
    return health


def kind_of(status: int | None, asked_s: float | None) -> Kind:
    """What an answer that is no success tells; no status where there was no answer."""
    return Kind.SLOW if status in SLOW_STATUSES or asked_s is not None else Kind.BAD


def _better(health: Health, outcome: Outcome, share_max: int) -> Health:
    health = replace(health, failures=0, failing_since=None, reason=None)
    if not _news(health, outcome):
        return health
    width = None if health.width is None or health.width + 1 >= share_max else health.width + 1
    return replace(health, width=width, backoffs=0, broken_until=None)


def _worse(health: Health, outcome: Outcome, at: datetime, chance: float) -> Health:
    if not outcome.breaks:
        return health
    health = replace(
        health,
        failures=health.failures + 1,
        failing_since=health.failing_since or outcome.started_at,
        reason=outcome.reason,
    )
    if health.failures < BREAK_AFTER or not _news(health, outcome):
        return health
    until = at + _pause(BROKEN_S, health.backoffs, chance)
    return replace(health, width=1, backoffs=health.backoffs + 1, backed_off_at=at, broken_until=until)


def _slower(health: Health, outcome: Outcome, at: datetime, chance: float, share_max: int) -> Health:
    if outcome.asked_s is not None:
        asked_s = min(outcome.asked_s, ASKED_S_MAX) * (1 + JITTER_SHARE * chance)
        health = replace(health, slowed_until=_later(health.slowed_until, at + timedelta(seconds=asked_s)))
    if not _news(health, outcome):
        return health
    pause = _pause(SLOW_S, health.backoffs, chance)
    return replace(
        health,
        width=max(1, health.share(share_max) // 2),
        backoffs=health.backoffs + 1,
        backed_off_at=at,
        slowed_until=_later(health.slowed_until, at + pause),
    )


def _news(health: Health, outcome: Outcome) -> bool:
    return health.backed_off_at is None or outcome.started_at >= health.backed_off_at


def _pause(first_s: float, backoffs: int, chance: float) -> timedelta:
    """Twice as long each time, ±20 %."""
    pause_s = min(first_s * 2 ** min(backoffs, 10), BACKOFF_S_MAX)
    return timedelta(seconds=pause_s * (1 + JITTER_SHARE * (2 * chance - 1)))


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
