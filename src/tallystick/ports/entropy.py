"""The entropy port: the only place that makes randomness, so that a simulation seed replays exactly."""

import os
import random
from typing import Protocol


class Entropy(Protocol):
    """Where ids, secrets and jitter come from."""

    def token_bytes(self, count: int) -> bytes:
        """`count` unpredictable bytes, fit for secrets."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A number between `low` and `high`; for jitter, never for secrets."""
        ...


class SystemEntropy:
    """The operating system's randomness."""

    def __init__(self) -> None:
        self._jitter = random.Random()

    def token_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def uniform(self, low: float, high: float) -> float:
        return self._jitter.uniform(low, high)
