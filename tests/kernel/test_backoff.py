"""When a delivery is tried again (RULES §6)."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.backoff import DEFAULT_SCHEDULE, DELAYS_MAX, Schedule, next_try_at, retry_after_s, schedule_of

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR_S = 3600

schedules = st.builds(
    Schedule,
    delays_s=st.lists(st.integers(1, 604_800), max_size=DELAYS_MAX).map(tuple),
    jitter_share=st.floats(0, 0.9),
    retry_after_s_max=st.integers(0, 604_800),
)
chances = st.floats(0, 1)


def _wait_s(schedule: Schedule, tries: int, chance: float, asked_s: float | None = None) -> float:
    at = next_try_at(schedule, tries=tries, failed_at=AT, chance=chance, asked_s=asked_s)
    assert at is not None
    return (at - AT).total_seconds()


def test_the_default_schedule() -> None:
    """1 m, 5 m, 1 h, 4 h, 12 h, 24 h, 24 h after the previous try, then a dead letter."""
    minutes = [_wait_s(DEFAULT_SCHEDULE, tries, 0.5) / 60 for tries in range(1, 8)]
    assert minutes == [1, 5, 60, 240, 720, 1440, 1440]
    assert next_try_at(DEFAULT_SCHEDULE, tries=8, failed_at=AT, chance=0.5) is None
    assert DEFAULT_SCHEDULE.tries_max == 8


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 48), (0.25, 54), (0.5, 60), (1.0, 72)])
def test_each_wait_is_spread_by_a_fifth(chance: float, seconds: float) -> None:
    """±20 % jitter."""
    assert _wait_s(DEFAULT_SCHEDULE, 1, chance) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("asked_s", "chance", "seconds"),
    [
        (0, 0.5, 60),  # never earlier than the schedule
        (30, 0.5, 60),
        (600, 0.0, 600),  # later, when the receiver asks for it
        (600, 1.0, 720),  # and spread, because it asked everybody for the same instant
        (10**60, 0.0, 86_400),  # up to the cap
    ],
)
def test_retry_after_is_obeyed_up_to_a_cap(asked_s: float, chance: float, seconds: float) -> None:
    assert _wait_s(DEFAULT_SCHEDULE, 1, chance, asked_s) == pytest.approx(seconds)


def test_retry_after_does_not_buy_another_try() -> None:
    assert next_try_at(DEFAULT_SCHEDULE, tries=8, failed_at=AT, chance=0.5, asked_s=60) is None


@given(schedules, chances, st.integers(1, 40), st.none() | st.floats(0, 1e12))
def test_every_wait_lies_within_its_bounds(
    schedule: Schedule, chance: float, tries: int, asked_s: float | None
) -> None:
    """As many tries as the schedule says, each within its jitter, never before what was asked for (up to the cap)."""
    at = next_try_at(schedule, tries=tries, failed_at=AT, chance=chance, asked_s=asked_s)
    if tries > len(schedule.delays_s):
        assert at is None
        return
    assert at is not None
    wait_s, delay_s, jitter = (at - AT).total_seconds(), schedule.delays_s[tries - 1], schedule.jitter_share
    asked_s = min(asked_s or 0, schedule.retry_after_s_max)
    assert wait_s >= max(delay_s * (1 - jitter), asked_s) - 1e-3
    assert wait_s <= max(delay_s, asked_s) * (1 + jitter) + 1e-3


@given(schedules.filter(lambda schedule: schedule.jitter_share > 0.01 and len(schedule.delays_s) > 0))
def test_what_failed_together_comes_back_spread(schedule: Schedule) -> None:
    """RULES §6: no stampede, also when the receiver named an instant."""
    for asked_s in (None, float(schedule.retry_after_s_max)):
        waits = [_wait_s(schedule, 1, chance / 10, asked_s) for chance in range(11)]
        assert waits == sorted(waits)
        assert waits[-1] > waits[0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("-1", None),
        ("1.5", None),
        ("+5", None),
        ("1e3", None),
        ("١٢", None),  # Arabic digits
        ("9" * 64, float("9" * 64)),
        ("9" * 65, None),
        ("soon", None),
        ("Mon, 23 Nov 2026 12:02:00 GMT", 120),
        ("Monday, 23-Nov-26 12:02:00 GMT", 120),
        ("Mon Nov 23 12:02:00 2026", 120),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 25:00:00 GMT", None),
        ("Mon, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """RFC 9110 §10.2.3; what says nothing is ignored."""
    assert retry_after_s(value, AT) == seconds


@given(st.integers(0, 10**7), st.integers(-12, 12))
def test_any_date_is_compared_with_our_clock(seconds: int, zone_hours: int) -> None:
    there = (AT + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=zone_hours)))
    assert retry_after_s(format_datetime(there), AT) == seconds


@given(st.text(max_size=80) | st.text(alphabet="0123456789 :,-+GMTMonNv", max_size=40))
def test_nothing_that_a_receiver_writes_raises(value: str) -> None:
    found = retry_after_s(value, AT)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"delays_s": (604_801,)},
        {"delays_s": (-1,)},
        {"delays_s": (60,) * 33},
        {"jitter_share": 1.0},
        {"jitter_share": -0.1},
    ],
)
def test_a_schedule_that_makes_no_sense_cannot_be_made(arguments: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        Schedule(**arguments)  # type: ignore[arg-type]


def test_a_schedule_is_written_as_the_waits_before_each_try() -> None:
    assert schedule_of("0,60,300,3600,14400,43200,86400,86400") == DEFAULT_SCHEDULE
    assert schedule_of("0").tries_max == 1
    for text in ("", "60", "0,-1", "0,604801", "0,a", "0" + ",1" * 33):
        with pytest.raises(ValueError):
            schedule_of(text)
