"""Ends the calls whose caller never came back (RULES §5), so that no key runs for ever and no state is stuck half-way.

    a call broke off → its lease ends → 5 min without a retry → taken over → resumed by the service, or forgotten

A key without a recovery point did nothing anywhere: it is free again. What a service does with the others it says by
`Resume`: it ends the call at the point that was reached, and keeps an answer under the key, for a retry that comes
after all. A retry that comes at the same moment takes the key over or finds it taken; one of the two wins.

The table has an index on `created_at`; the completer remembers how far nothing runs any more, and looks on from there.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from tallystick.kernel import looking
from tallystick.kernel.idempotency.engine import Claim, Idempotency, Running, Scope
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseError, SerializationFailed

log = logging.getLogger(__name__)

ABANDONED_S: Final = 300.0  # after which nobody is expected to come back: SDKs have given up long before
PAUSE_S: Final = 10.0
LOOKED_MAX: Final = 10_000  # keys looked through by one statement, ended ones too: it stays short
KEYS_MAX: Final = 256  # calls that are ended at a time

Resume = Callable[[Sequence[Claim]], Awaitable[None]]
"""Ends calls at their recovery points and finishes their keys. What it cannot end now it leaves: their leases run out,
and it gets them again. It may raise; then it gets all of them again."""


class Completer:
    """Completes until it is cancelled. Any number may run: each key is taken over by one."""

    def __init__(self, idempotency: Idempotency, resume: Resume, clock: Clock) -> None:
        self._idempotency = idempotency
        self._resume = resume
        self._clock = clock
        self._since: datetime | None = None

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        await looking.run(self.run_once, self._clock, log, "abandoned calls wait", pause_s=PAUSE_S)

    async def run_once(self) -> int:
        """End what was abandoned by now; how many calls were taken over. Raises DatabaseError."""
        until = self._clock.now() - timedelta(seconds=ABANDONED_S)
        since = self._since = self._since or await self._idempotency.oldest_at() or until
        count, left_at = 0, None
        after: Scope | None = None
        while since < until:
            running, last = await self._idempotency.running(since, until, LOOKED_MAX, after=after)
            abandoned = [one for one in running if self._abandoned(one.lease_until)]
            for start in range(0, len(abandoned), KEYS_MAX):
                count += await self._end(abandoned[start : start + KEYS_MAX])
            left_at = left_at or (running[0].created_at if running else None)
            since, after = (last.created_at, last.scope) if last is not None else (until, None)
            self._since = left_at or since
        return count

    def _abandoned(self, lease_until: datetime) -> bool:
        return lease_until <= self._clock.now() - timedelta(seconds=ABANDONED_S)

    async def _end(self, abandoned: Sequence[Running]) -> int:
        if not abandoned:
            return 0
        try:
            claims = await self._idempotency.take_over(abandoned, self._clock.now())
        except SerializationFailed:  # somebody else is after the same keys
            return 0
        await self._idempotency.release([claim for claim in claims if claim.recovery is None])
        begun = [claim for claim in claims if claim.recovery is not None]
        if begun:
            try:
                await self._resume(begun)
            except DatabaseError:
                raise
            except Exception:  # a fault of ours, and not of the keys that come after these
                log.exception("%d abandoned calls could not be ended", len(begun))
        return len(claims)
