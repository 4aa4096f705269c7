"""The sandbox's time in every process of a service: one row says how far it is ahead of the machine's (DESIGN §2.7).

    an operator raises the target → a worker steps from due time to due time → every process follows within a moment

A step goes to the next instant at which something is due, and the next one waits until that was done. So whoever moves
the time forward by an hour sees what an hour would have brought, in its order. Each service says by a statement of its
own what is due in it (`pending`): one row, `busy` (something is due and not done yet) and `next_due_at`.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel import looking
from tallystick.ports.clock import SandboxClock
from tallystick.ports.database import Database, Statement, Statements

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

FOLLOW_S: Final = 0.1  # how soon a process sees that another one moved the time
PATIENCE_S: Final = 20.0  # for what is due before time goes on without it: longer than any call to the outside
ADVANCE_S_MAX: Final = 366 * 86_400
STEPS_MAX: Final = 500  # what is due within a five-hundredth of the way happens together, in the order of its due times
STEP_MS_MIN: Final = 1_000


class Standing(Struct, frozen=True):
    """The sandbox's time: where it is, where it is going, and whether something due there is still to be done."""

    now: datetime
    target_at: datetime
    next_due_at: datetime | None
    busy: bool

    @property
    def arrived(self) -> bool:
        """Whether it stands where it was to go, and all that was due has been done."""
        return not self.busy and self.target_at <= self.now


class SandboxTime:
    """Reads and moves the time of one service; as a worker, keeps this process's clock with it."""

    def __init__(self, database: Database, clock: SandboxClock, pending: Statement) -> None:
        self._database = database
        self._clock = clock
        self._pending = pending
        self._waiting_since_s: float | None = None

    async def standing(self) -> Standing:
        """The time as it stands. Raises DatabaseError."""
        offset_ms, target_ms, _ = await self._follow()
        [due] = await self._database.rows(self._pending, self._clock.now())
        now = self._clock.now()
        left = timedelta(milliseconds=target_ms - offset_ms)
        return Standing(now, now + left, due["next_due_at"], due["busy"])

    async def advance(self, seconds: float) -> Standing:
        """Ask for the time to move forward by `seconds`, up to ADVANCE_S_MAX; gives how it stands now.
        Raises DatabaseError."""
        assert 0 < seconds <= ADVANCE_S_MAX
        by_ms = max(int(seconds * 1000), 1)
        await self._database.execute(SQL.raise_sandbox_target, by_ms, max(by_ms // STEPS_MAX, STEP_MS_MIN))
        await self.run_once()
        return await self.standing()

    async def run(self) -> None:
        """Follow and step until cancelled."""
        await looking.run(self.run_once, self._clock, log, "the sandbox's time stands still", pause_s=FOLLOW_S)

    async def run_once(self) -> None:
        """Keep with the time, and take one step where it is to go on and nothing due is left to be done."""
        offset_ms, target_ms, step_ms = await self._follow()
        if offset_ms == target_ms:
            self._waiting_since_s = None
            return
        now = self._clock.now()
        [due] = await self._database.rows(self._pending, now)
        if due["busy"] and self._patient():
            return
        self._waiting_since_s = None
        step = timedelta(milliseconds=step_ms)
        if due["next_due_at"] is not None:
            step = max(due["next_due_at"] - now, step)
            step_to_ms = offset_ms + -(-step // timedelta(milliseconds=1))
        else:
            step_to_ms = target_ms
        await self._database.execute(SQL.move_sandbox_clock, offset_ms, min(step_to_ms, target_ms))
        await self._follow()

    def _patient(self) -> bool:
        since_s = self._waiting_since_s
        if since_s is None:
            self._waiting_since_s = since_s = self._clock.monotonic_s()
        return self._clock.monotonic_s() - since_s < PATIENCE_S

    async def _follow(self) -> tuple[int, int, int]:
        rows = await self._database.rows(SQL.read_sandbox_clock)
        if not rows:
            return 0, 0, STEP_MS_MIN
        [row] = rows
        self._clock.move(timedelta(milliseconds=row["offset_ms"]))
        return row["offset_ms"], row["target_ms"], row["step_ms"]
