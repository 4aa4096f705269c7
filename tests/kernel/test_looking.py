"""A worker looks for ever; a database that is away neither ends it nor is pressed (DESIGN §2.7)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tallystick.kernel import looking
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import DatabaseUnavailable

log = logging.getLogger("tallystick.test")


class CountedClock(SystemClock):
    """A clock on which nobody waits: its time is what was slept. After so many pauses whoever looks is cancelled."""

    def __init__(self, pauses: int) -> None:
        self.slept_s: list[float] = []
        self._pauses = pauses

    def monotonic_s(self) -> float:
        return sum(self.slept_s)

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        if len(self.slept_s) == self._pauses:
            raise asyncio.CancelledError


def finds(*found: int | Exception) -> tuple[Callable[[], Awaitable[int]], list[int | Exception]]:
    """A look that finds so much each time, and what it has not told yet."""
    left: list[int | Exception] = list(found)

    async def look() -> int:
        told = left.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    return look, left


async def paused(
    found: Sequence[int | Exception], pauses: int, *, pause_s: float = 0.2, drains: bool = False
) -> list[float]:
    clock = CountedClock(pauses)
    look, left = finds(*found)
    with pytest.raises(asyncio.CancelledError):
        await looking.run(look, clock, log, "the tests wait", pause_s=pause_s, drains=drains)
    assert left == []
    return clock.slept_s


async def test_between_two_looks_is_a_pause_whatever_was_found() -> None:
    assert await paused([3, 0, 1], 3) == [0.2, 0.2, 0.2]


async def test_who_drains_looks_again_at_once_until_nothing_is_left() -> None:
    assert await paused([3, 1, 0, 0], 2, drains=True) == [0.2, 0.2]


@pytest.mark.parametrize(("pause_s", "rests_s"), [(0.2, looking.AWAY_PAUSE_S), (30.0, 30.0)])
@pytest.mark.parametrize("drains", [False, True])
async def test_a_database_that_is_away_is_waited_for(
    caplog: pytest.LogCaptureFixture, pause_s: float, rests_s: float, drains: bool
) -> None:
    away = DatabaseUnavailable("ConnectionRefusedError")
    assert await paused([away, 0], 2, pause_s=pause_s, drains=drains) == [rests_s, pause_s]
    assert [record.getMessage() for record in caplog.records] == [
        "the tests wait: DatabaseUnavailable: ConnectionRefusedError",
        "the tests wait: it works again",
    ]


async def test_a_minute_without_a_database_is_three_lines_and_not_sixty(caplog: pytest.LogCaptureFixture) -> None:
    away = [DatabaseUnavailable("ConnectionRefusedError")] * 70
    await paused([*away, 0], 71, pause_s=0.05)
    assert [record.getMessage() for record in caplog.records] == [
        "the tests wait: DatabaseUnavailable: ConnectionRefusedError",
        "the tests wait: DatabaseUnavailable: ConnectionRefusedError (60 tries failed since the last line)",
        "the tests wait: it works again (9 tries failed since the last line)",
    ]


async def test_what_is_no_fault_of_the_database_ends_the_worker() -> None:
    look, _ = finds(ValueError("ours"))
    with pytest.raises(ValueError, match="ours"):
        await looking.run(look, CountedClock(1), log, "the tests wait", pause_s=1.0)
