"""How long one must wait after failed logins. Pure.

Nobody is locked out for good, since then anybody could lock out anybody. What is counted, each with its own patience:

    a name from a place     someone at their own desk; and whoever guesses from one address
    a place                 whoever tries many names from one address
    a name from elsewhere   whoever guesses one name from many addresses. It waits shortly, and never those who have
                            logged in from where they are: an attacker cannot keep them out
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct


class Patience(Struct, frozen=True):
    """How many failures are free, how long the first wait is, how it grows to, and when all is forgotten."""

    free: int
    first_s: float
    wait_s_max: float
    forgotten_s: float


NAME_AT_PLACE: Final = Patience(free=5, first_s=2.0, wait_s_max=900.0, forgotten_s=86_400.0)
PLACE: Final = Patience(free=20, first_s=2.0, wait_s_max=900.0, forgotten_s=3_600.0)
NAME_FROM_ELSEWHERE: Final = Patience(free=10, first_s=1.0, wait_s_max=60.0, forgotten_s=3_600.0)
STALE_S: Final = 86_400.0
assert max(each.forgotten_s for each in (NAME_AT_PLACE, PLACE, NAME_FROM_ELSEWHERE)) <= STALE_S


class Failures(Struct, frozen=True):
    """What was counted so far. `free_at`: when the next try is taken."""

    count: int
    last_at: datetime
    free_at: datetime


def wait_s(failures: Failures, at: datetime) -> float:
    """How long one must still wait; 0 where a try is taken."""
    return max(0.0, (failures.free_at - at).total_seconds())


def counted(failures: Failures, at: datetime, patience: Patience) -> Failures:
    """One failure more."""
    forgotten = (at - failures.last_at).total_seconds() > patience.forgotten_s
    count = 1 if forgotten else failures.count + 1
    doublings = min(count - patience.free, 30)
    wait = 0.0 if doublings < 0 else min(patience.first_s * 2**doublings, patience.wait_s_max)
    return Failures(count, at, at + timedelta(seconds=wait))
