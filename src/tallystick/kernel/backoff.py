"""When to try again: schedules as data, the next instant as a function of time and chance. Pure. RULES §6."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec import Struct

DELAYS_S: Final = (60, 300, 3_600, 14_400, 43_200, 86_400, 86_400)
"""At once, then 1 m, 5 m, 1 h, 4 h, 12 h, 24 h, 24 h after the previous try: eight tries in about three days."""

JITTER_SHARE: Final = 0.2
"""What failed together comes back spread over ±20 % of its delay."""

RETRY_AFTER_S_MAX: Final = 86_400
"""A receiver may ask for a day at most; more would let one header park a delivery for ever."""

RETRY_AFTER_CHARACTERS_MAX: Final = 64
"""The longest HTTP date is half of it; whatever is longer is no `Retry-After`."""

DELAYS_MAX: Final = 32
DELAY_S_MAX: Final = 7 * 86_400


class Schedule(Struct, frozen=True):
    """How often and when to try again: `delays_s[n]` is the wait after try n + 1, so there is one try more."""

    delays_s: tuple[int, ...] = DELAYS_S
    jitter_share: float = JITTER_SHARE
    retry_after_s_max: int = RETRY_AFTER_S_MAX

    def __post_init__(self) -> None:
        assert len(self.delays_s) <= DELAYS_MAX, "a schedule ends"
        assert all(0 <= delay <= DELAY_S_MAX for delay in self.delays_s), "a delay is at most a week"
        assert 0 <= self.jitter_share < 1
        assert self.retry_after_s_max >= 0

    @property
    def tries_max(self) -> int:
        """How many tries there are in all."""
        return len(self.delays_s) + 1


DEFAULT_SCHEDULE: Final = Schedule()


def schedule_of(waits_s: str) -> Schedule:
    """The schedule that is written as the waits before each try, such as `0,60,300`. Raises ValueError."""
    first_s, *delays_s = (int(wait_s) for wait_s in waits_s.split(","))
    if first_s != 0 or len(delays_s) > DELAYS_MAX or not all(0 <= delay_s <= DELAY_S_MAX for delay_s in delays_s):
        raise ValueError(f"a schedule begins with 0, then up to {DELAYS_MAX} waits of at most {DELAY_S_MAX} s")
    return Schedule(tuple(delays_s))


def next_try_at(
    schedule: Schedule, *, tries: int, failed_at: datetime, chance: float, asked_s: float | None = None
) -> datetime | None:
    """When to try again after `tries` tries (the last one failed at `failed_at`), or None when they are exhausted.

    `chance` lies in 0 … 1 and places the instant within the jitter. `asked_s` is what the receiver asked for by
    `Retry-After`: we never come earlier than that, up to the schedule's cap, and spread out a little after it, because
    it asked everybody for the same instant. RULES §6.
    """
    assert tries >= 1
    assert 0 <= chance <= 1
    if tries >= schedule.tries_max:
        return None
    delay_s = schedule.delays_s[tries - 1] * (1 + schedule.jitter_share * (2 * chance - 1))
    if asked_s is not None:
        delay_s = max(delay_s, min(asked_s, schedule.retry_after_s_max) * (1 + schedule.jitter_share * chance))
    return failed_at + timedelta(seconds=delay_s)


def retry_after_s(value: str | None, at: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for, at least 0; None where it is absent or says nothing.

    It is whole seconds or an HTTP date, which is compared with our clock. RFC 9110 §10.2.3.
    """
    if value is None or len(value) > RETRY_AFTER_CHARACTERS_MAX:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:  # "-0000", or an asctime date: HTTP dates are UTC
            date = date.replace(tzinfo=UTC)
        return max((date - at).total_seconds(), 0.0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
