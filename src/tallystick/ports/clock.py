"""The clock port: the only place that knows what time it is."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the services may know of time. Production reads the machine's clock; the simulation jumps."""

    def now(self) -> datetime:
        """The present instant, aware and in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SandboxClock:
    """A clock that can be moved forward, for test money: whoever sleeps until an instant is woken when it comes.

    Only the wall clock moves. What a call may take, and how long it took, is measured by `monotonic_s` as ever.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = timedelta()
        self._moved = asyncio.Event()

    @property
    def machine(self) -> Clock:
        """The clock that nobody moves."""
        return self._clock

    @property
    def offset(self) -> timedelta:
        """How far this clock is ahead of the machine's."""
        return self._offset

    def move(self, offset: timedelta) -> None:
        """Be `offset` ahead of the machine's clock from now on; never less than before."""
        if offset > self._offset:
            self._offset = offset
            self._moved.set()
            self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self._clock.now() + self._offset

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        until = self.now() + timedelta(seconds=seconds)
        while (left := (until - self.now()).total_seconds()) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), left)
            except TimeoutError:
                return
        await self._clock.sleep(0)


def unmoved(clock: Clock) -> Clock:
    """The clock that nobody moves, for what is no business of the sandbox: who is logged in stays so."""
    return clock.machine if isinstance(clock, SandboxClock) else clock
