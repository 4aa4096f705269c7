"""What ends by the clock: open sessions at `expires_at`, authorisations at `capture_before` (RULES §3).

Found without a lock, in batches, oldest first; then each goes through the one write path of payments, which locks it
and looks again. So any number of these workers may run, and each thing ends once. A payment that is with the bank is
left to the bank's answer; when that is a decline, the session is found here again.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from tallystick.gateway.checkout.commands import SQL
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.payment import Payment
from tallystick.gateway.payments.records import Key
from tallystick.gateway.payments.work import Work
from tallystick.kernel import looking
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Record, Statement
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

POLL_S = 1.0  # how late a session may expire
CAPTURES_POLL_S = 60.0  # a window of days; and how often a bank that cannot be reached is asked to void again
ITEMS_MAX = 256  # payments at a time: memory stays flat however many are due

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Expiry:
    """Expires what is due until it is cancelled."""

    def __init__(self, carrying: Carrying, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._carrying = carrying
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._captures_due_s = 0.0  # at once

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self._look, self._clock, log, "expiry waits for the database", pause_s=POLL_S)

    async def _look(self) -> None:
        await self.expire_sessions()
        if self._clock.monotonic_s() >= self._captures_due_s:
            await self.void_uncaptured()
            self._captures_due_s = self._clock.monotonic_s() + CAPTURES_POLL_S

    async def expire_sessions(self) -> int:
        """Expire the open sessions whose time is over; how many were looked at. Raises DatabaseError."""
        at = self._clock.now()

        def expire(payment: Payment) -> inputs.ExpireSession | None:
            session = payment.open_session
            return inputs.ExpireSession() if session is not None and session.expires_at <= at else None

        return await self._each_due(SQL.due_sessions, at, lambda key: Work(key=key, tell=expire))

    async def void_uncaptured(self) -> int:
        """Void what was authorised and not captured in time; how many were looked at. Raises DatabaseError."""
        at = self._clock.now()

        def void(key: Key) -> Work:
            request_id = new_id("acr", at, self._entropy)
            return Work(key=key, tell=lambda _: inputs.CaptureWindowPassed(request_id=request_id))

        return await self._each_due(SQL.due_captures, at, void)

    async def _each_due(self, statement: Statement, at: datetime, work: Callable[[Key], Work]) -> int:
        """Carry out a work for everything due, page by page; what fails does not stand in the way of the others."""
        count, after = 0, (_BEGINNING, "")
        while rows := await self._database.rows(statement, at, *after, ITEMS_MAX):
            results = await asyncio.gather(
                *(self._carrying.carry(work(_key(row))) for row in rows), return_exceptions=True
            )
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, DatabaseError):
                    raise result
                if isinstance(result, BaseException):
                    log.error("%s could not be ended: %s", row["id"], type(result).__name__, exc_info=result)
            count, after = count + len(rows), (rows[-1]["due_at"], rows[-1]["id"])
        return count


def _key(row: Record) -> Key:
    return row["account_id"], row["livemode"], row["payment_intent"]
