"""Rate limits of one process: for keys, and for addresses. Pure.

Token buckets in memory, on purpose: they spare this process work, so each process counts its own; a row for every
call would cost more than the call. What must hold across processes (logins, tries to pay) is counted in rows.
"""

import math
from collections.abc import Hashable
from typing import Final

from tallystick.kernel.delivery.pacing import Buckets
from tallystick.kernel.proxies import crowd

BURST_S: Final = 2  # how many seconds' worth may come at once, after a pause


class Rate:
    """So many a second of each; 0: no limit."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        burst = max(1, math.ceil(per_s * BURST_S))
        self._buckets: Buckets[Hashable] | None = Buckets(rate_per_s=per_s, burst=burst) if per_s else None

    def spent(self, key: Hashable, at_s: float) -> bool:
        """Whether there is nothing left just now; nothing is taken."""
        return self._buckets is not None and self._buckets.tokens(key, at_s) < 1

    def take(self, key: Hashable, at_s: float) -> None:
        """Take one."""
        if self._buckets is not None:
            self._buckets.take(key, 1, at_s)

    def exceeded(self, key: Hashable, at_s: float) -> bool:
        """Take one, where there is one; True where there is none."""
        if self.spent(key, at_s):
            return True
        self.take(key, at_s)
        return False

    @property
    def retry_after_s(self) -> int:
        """When to come again: then there is one at least."""
        return max(1, math.ceil(1 / self._per_s)) if self._per_s else 1


class Rates:
    """What keys and addresses may do."""

    def __init__(
        self, *, calls_per_key: float = 0, pages_per_address: float = 0, refusals_per_address: float = 0
    ) -> None:
        self.keys = Rate(calls_per_key)
        self.pages = Rate(pages_per_address)
        self.refusals = Rate(refusals_per_address)

    def stranger(self, address: str, at_s: float) -> bool:
        """Whether an address has shown so many keys that open nothing that the next one is not looked at."""
        place = crowd(address)
        return place is not None and self.refusals.spent(place, at_s)

    def refused(self, address: str, at_s: float) -> None:
        """An address has shown a key that opens nothing."""
        place = crowd(address)
        if place is not None:
            self.refusals.take(place, at_s)

    def visitor(self, address: str, at_s: float) -> bool:
        """Whether an address asks for pages faster than anybody clicks."""
        place = crowd(address)
        return place is not None and self.pages.exceeded(place, at_s)
