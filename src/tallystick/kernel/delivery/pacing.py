"""A token bucket for every endpoint: how many deliveries it may be sent now, however quickly it answers. Pure.

A bucket is one number: the instant at which it will be full again, in seconds on the dispatcher's monotonic clock (the
generic cell rate algorithm). What was never used is full and takes no memory.
"""

from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

KEYS_MAX: Final = 10_000  # buckets until full ones are thrown out; 1 MB


class Buckets(Generic[Key]):
    """Buckets that hold `burst` tokens and get `rate_per_s` of them back each second."""

    def __init__(self, *, rate_per_s: float, burst: int) -> None:
        assert rate_per_s > 0
        assert burst >= 1
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._full_at_s: dict[Key, float] = {}

    def tokens(self, key: Key, at_s: float) -> int:
        """How many may be taken now."""
        lacking = max(self._full_at_s.get(key, at_s) - at_s, 0.0) * self._rate_per_s
        return int(self._burst - lacking + 1e-6)  # a token that is there but for a rounding error is there

    def take(self, key: Key, count: int, at_s: float) -> None:
        """Take `count` tokens."""
        self._full_at_s[key] = max(self._full_at_s.get(key, at_s), at_s) + count / self._rate_per_s
        if len(self._full_at_s) > KEYS_MAX:
            self._full_at_s = {known: full_s for known, full_s in self._full_at_s.items() if full_s > at_s}
