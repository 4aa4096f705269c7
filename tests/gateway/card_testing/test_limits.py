"""How often a card and an address may try within an hour (RULES §12). Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.card_testing.limits import WINDOW_S, Count, retry_after_s, window_of

HOUR = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "minutes", "waits"),
    [
        (Count(10, 0), 0, False),
        (Count(11, 0), 0, True),
        (Count(1, 3), 0, True),
        (Count(1, 2), 0, False),
        (Count(6, 0, tries_before=10), 0, True),
        (Count(6, 0, tries_before=10), 30, True),
        (Count(6, 0, tries_before=10), 45, False),
        (Count(1, 1, declines_before=4), 15, True),
        (Count(1, 1, declines_before=4), 45, False),
    ],
)
def test_tries_and_declines_of_the_last_hour_count(count: Count, minutes: int, waits: bool) -> None:
    """Ten tries and three declines; of the hour before counts what has not slid out yet."""
    assert bool(retry_after_s(count, 10, 3, HOUR + timedelta(minutes=minutes))) == waits


def test_no_limit_is_no_limit() -> None:
    assert retry_after_s(Count(10**6, 10**6), 0, 0, HOUR) == 0


@given(st.integers(0, 10**9))
def test_the_wait_ends_with_the_hour(ms: int) -> None:
    at = HOUR + timedelta(milliseconds=ms)
    wait_s = retry_after_s(Count(100, 0), 1, 0, at)
    assert 1 <= wait_s <= WINDOW_S + 1
    assert window_of(at) <= at < window_of(at) + timedelta(seconds=WINDOW_S)
    assert window_of(at + timedelta(seconds=wait_s)) > window_of(at)
