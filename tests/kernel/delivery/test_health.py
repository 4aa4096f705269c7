"""How an endpoint stands: slow-down, breaker and ramp as a table (RULES §6). Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.delivery.health import (
    BACKOFF_S_MAX,
    BREAK_AFTER,
    WELL,
    Health,
    Kind,
    Outcome,
    learn,
)

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHARE_MAX = 64


def _at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def _learn(health: Health, *outcomes: Outcome, at: float = 1.0, chance: float = 0.5) -> Health:
    return learn(health, outcomes, at=_at(at), chance=chance, share_max=SHARE_MAX)


def _good(at: float = 0.0) -> Outcome:
    return Outcome(Kind.GOOD, _at(at))


def _bad(at: float = 0.0) -> Outcome:
    return Outcome(Kind.BAD, _at(at), "http_500")


def _slow(at: float = 0.0, asked_s: float | None = None) -> Outcome:
    return Outcome(Kind.SLOW, _at(at), "http_429", asked_s, breaks=False)


def test_a_success_of_a_healthy_endpoint_changes_nothing() -> None:
    assert _learn(WELL, _good(), _good()) == WELL
    assert not WELL.ailing


def test_a_few_failures_are_counted_and_a_success_forgets_them() -> None:
    failing = _learn(WELL, *[_bad()] * (BREAK_AFTER - 1))
    assert (failing.failures, failing.failing_since, failing.reason) == (BREAK_AFTER - 1, AT, "http_500")
    assert not failing.is_broken(_at(1))
    assert failing.ailing
    assert _learn(failing, _good()) == WELL
    assert _learn(WELL, *[_bad()] * (BREAK_AFTER - 1), _good(), _bad()).failures == 1


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    broken = _learn(WELL, *[_bad()] * BREAK_AFTER)
    assert broken.is_broken(_at(5))
    assert not broken.is_broken(_at(6))
    assert broken.width == 1


def test_what_was_under_way_when_it_opened_says_nothing_new() -> None:
    """64 tries that hang and end together open it once, not for longer and longer."""
    broken = _learn(WELL, *[_bad()] * BREAK_AFTER)
    later = _learn(broken, *[_bad(0.5)] * 60, at=3)
    assert (later.broken_until, later.backoffs) == (broken.broken_until, 1)
    assert later.failures == BREAK_AFTER + 60


def test_one_delivery_goes_ahead_and_decides_for_all() -> None:
    """Half open: a failure opens the breaker again at once and for longer; a success closes it."""
    broken = _learn(WELL, *[_bad()] * BREAK_AFTER)
    again = _learn(broken, _bad(7), at=8)
    assert again.broken_until == _at(8 + 10)
    assert again.backoffs == 2
    closed = _learn(again, _good(19), at=20)
    assert not closed.is_broken(_at(20))
    assert (closed.width, closed.failures, closed.backoffs) == (2, 0, 0)


def test_after_an_outage_the_width_grows_with_every_success() -> None:
    """A ramp and no stampede: 1, 2, 4 … at once, then as many as any endpoint gets."""
    health = Health(width=1)
    widths = []
    for _ in range(SHARE_MAX):
        health = _learn(health, _good(2), at=3)
        widths.append(health.width)
    assert widths == [*range(2, SHARE_MAX), None, None]
    assert health == WELL


def test_slowed_down_it_is_left_alone_and_then_sent_half_as_much() -> None:
    """429, 502, 504."""
    slowed = _learn(WELL, _slow())
    assert slowed.is_slowed(_at(1.9))
    assert not slowed.is_slowed(_at(2))
    assert slowed.width == 32
    assert _learn(slowed, *[_slow(0.5)] * 40, at=1.5).width == 32, "what was under way is one reason"
    again = _learn(slowed, _slow(3), at=4)
    assert again.slowed_until == _at(4 + 2)
    assert again.width == 16


def test_too_many_requests_never_open_the_breaker() -> None:
    """It lives and asks for less: its deliveries wait instead of failing."""
    health = WELL
    for second in range(0, 2000, 100):
        health = _learn(health, _slow(second), at=second + 1)
    assert health.failures == 0
    assert health.broken_until is None
    assert health.width == 1
    assert health.slowed_until == _at(1901 + BACKOFF_S_MAX)


def test_bad_gateways_slow_it_down_and_at_last_break_it() -> None:
    bad_gateway = Outcome(Kind.SLOW, AT, "http_502")
    slowed = _learn(WELL, *[bad_gateway] * BREAK_AFTER)
    assert slowed.is_slowed(_at(1.5))
    assert not slowed.is_broken(_at(1.5)), "all were under way together"
    assert _learn(slowed, Outcome(Kind.SLOW, _at(3), "http_502"), at=4).is_broken(_at(5))


@pytest.mark.parametrize(
    ("asked_s", "chance", "pause_s"),
    [(30, 0.0, 30), (30, 1.0, 36), (0, 0.5, 1), (10_000_000, 0.0, 3600)],
)
def test_retry_after_holds_for_the_whole_endpoint_up_to_a_cap(asked_s: float, chance: float, pause_s: float) -> None:
    assert _learn(WELL, _slow(0, asked_s), chance=chance).slowed_until == _at(1 + pause_s)


def test_a_shorter_wish_does_not_shorten_a_longer_one() -> None:
    slowed = _learn(WELL, _slow(0, 100), chance=0)
    assert _learn(slowed, _slow(0.5, 5), at=2, chance=0).slowed_until == _at(101)


@given(
    st.lists(st.tuples(st.sampled_from([_good, _bad, _slow]), st.floats(0, 100), st.floats(0, 1)), max_size=60),
)
def test_whatever_comes_a_pause_ends_and_something_is_always_sent(history: list[tuple[object, float, float]]) -> None:
    """No endpoint is shut out for ever: each pause is bounded and the width is at least one."""
    health, at = WELL, 0.0
    for make, wait_s, chance in history:
        at += wait_s
        health = _learn(health, make(at - 0.5), at=at, chance=chance)  # type: ignore[operator]
        for until in (health.slowed_until, health.broken_until):
            assert until is None or until <= _at(at + BACKOFF_S_MAX * 1.2)
        assert 1 <= health.share(SHARE_MAX) <= SHARE_MAX
        assert health.failures >= 0
