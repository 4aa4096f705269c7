"""The token bucket of an endpoint (RULES §6). Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.delivery import pacing
from tallystick.kernel.delivery.pacing import Buckets


def test_a_burst_then_the_rate() -> None:
    buckets: Buckets[str] = Buckets(rate_per_s=10, burst=3)
    assert buckets.tokens("a", 100.0) == 3
    buckets.take("a", 3, 100.0)
    assert [buckets.tokens("a", 100.0 + tenths / 10) for tenths in (0, 1, 2, 3, 9)] == [0, 1, 2, 3, 3]
    assert buckets.tokens("b", 100.0) == 3, "each has its own"


def test_what_was_not_used_does_not_add_up() -> None:
    buckets: Buckets[str] = Buckets(rate_per_s=10, burst=3)
    buckets.take("a", 1, 0.0)
    buckets.take("a", 3, 1000.0)
    assert buckets.tokens("a", 1000.0) == 0


@given(st.lists(st.floats(0, 2), min_size=1, max_size=100))
def test_never_more_than_burst_and_rate_allow(waits_s: list[float]) -> None:
    buckets: Buckets[str] = Buckets(rate_per_s=5, burst=4)
    at_s, taken = 0.0, 0
    for wait_s in waits_s:
        at_s += wait_s
        count = buckets.tokens("a", at_s)
        buckets.take("a", count, at_s)
        taken += count
        assert taken <= 4 + 5 * at_s + 1e-3


def test_full_buckets_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "KEYS_MAX", 10)
    buckets: Buckets[int] = Buckets(rate_per_s=1, burst=1)
    for second in range(100):
        buckets.take(second, 1, float(second))
    assert len(buckets._full_at_s) <= 11
    assert buckets.tokens(99, 99.0) == 0
