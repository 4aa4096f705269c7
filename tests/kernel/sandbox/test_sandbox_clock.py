"""The sandbox's time moves forward in every process, from due time to due time (issue's "time on demand")."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.kernel.sandbox.clock import PATIENCE_S, SQL, SandboxTime
from tallystick.ports.clock import SandboxClock, SystemClock, unmoved
from tallystick.ports.database import Database, Statement

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING = Statement(
    "pending", "SELECT false AS busy, NULL::timestamptz AS next_due_at WHERE $1::timestamptz IS NOT NULL"
)


class Still:
    """A machine's clock that stands until it is told otherwise."""

    def __init__(self) -> None:
        self.at = START
        self.passed_s = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def due_at(*instants: datetime) -> Statement:
    """What a service would say in which these instants are due and nothing is done about them."""
    rows = ", ".join(f"('{instant.isoformat()}'::timestamptz)" for instant in instants)
    return Statement(
        "pending",
        f"SELECT coalesce(bool_or(at <= $1), false) AS busy, min(at) AS next_due_at FROM (VALUES {rows}) AS v(at)",
    )


async def test_whoever_sleeps_is_woken_when_time_moves_past_his_hour() -> None:
    clock = SandboxClock(SystemClock())
    short, long = asyncio.create_task(clock.sleep(60)), asyncio.create_task(clock.sleep(7200))
    await asyncio.sleep(0.01)
    clock.move(timedelta(hours=1))
    await asyncio.wait_for(short, 1)
    assert not long.done()
    clock.move(timedelta(hours=3))
    await asyncio.wait_for(long, 1)


async def test_a_sleep_without_any_move_is_as_long_as_it_says() -> None:
    clock = SandboxClock(SystemClock())
    before_s = clock.monotonic_s()
    await clock.sleep(0.05)
    assert clock.monotonic_s() - before_s >= 0.05


def test_time_never_goes_back() -> None:
    clock = SandboxClock(Still())
    clock.move(timedelta(hours=2))
    clock.move(timedelta(hours=1))
    assert clock.now() == START + timedelta(hours=2)


async def test_time_goes_from_due_time_to_due_time(gateway_database: Database) -> None:
    """It stops where something is due, and goes on once that is done."""
    clock = SandboxClock(Still())
    first, second = START + timedelta(minutes=10), START + timedelta(minutes=40)
    time = SandboxTime(gateway_database, clock, due_at(first, second))
    standing = await time.advance(3600)
    assert standing.now == first
    assert standing.busy
    assert standing.target_at == START + timedelta(hours=1)
    await time.run_once()
    assert clock.now() == first, "what is due was not done yet"

    time = SandboxTime(gateway_database, clock, due_at(second))
    await time.run_once()
    assert clock.now() == second
    time = SandboxTime(gateway_database, clock, NOTHING)
    await time.run_once()
    standing = await time.standing()
    assert standing.now == START + timedelta(hours=1)
    assert standing.arrived


async def test_every_process_follows(gateway_database: Database) -> None:
    here, there = SandboxClock(Still()), SandboxClock(Still())
    await SandboxTime(gateway_database, here, NOTHING).advance(600)
    assert there.now() == START
    await SandboxTime(gateway_database, there, NOTHING).run_once()
    assert there.now() == here.now() == START + timedelta(minutes=10)


async def test_two_processes_take_one_step(gateway_database: Database) -> None:
    first, second = START + timedelta(minutes=10), START + timedelta(minutes=40)
    times = [SandboxTime(gateway_database, SandboxClock(Still()), due_at(first, second)) for _ in range(2)]
    await times[0].advance(3600)
    await asyncio.gather(*(time.run_once() for time in times))
    assert [(await time.standing()).now for time in times] == [first, first]


async def test_a_process_that_is_behind_never_takes_time_back(gateway_database: Database) -> None:
    time = SandboxTime(gateway_database, SandboxClock(Still()), NOTHING)
    await time.advance(3600)
    assert await gateway_database.execute(SQL.move_sandbox_clock, 0, 600_000) == 0, "it saw the time before the step"
    assert (await time.standing()).now == START + timedelta(hours=1)


async def test_what_is_never_done_holds_time_up_for_a_while_only(gateway_database: Database) -> None:
    machine = Still()
    clock = SandboxClock(machine)
    time = SandboxTime(gateway_database, clock, due_at(START + timedelta(minutes=10)))
    await time.advance(3600)
    await time.run_once()
    assert clock.now() == START + timedelta(minutes=10)
    machine.passed_s += PATIENCE_S + 1
    await time.run_once()
    assert clock.now() > START + timedelta(minutes=10)


@pytest.mark.parametrize("minutes", [1, 60])
async def test_what_is_asked_for_twice_adds_up(gateway_database: Database, minutes: int) -> None:
    clock = SandboxClock(Still())
    time = SandboxTime(gateway_database, clock, NOTHING)
    await time.advance(minutes * 60)
    await time.advance(minutes * 60)
    assert clock.now() == START + timedelta(minutes=2 * minutes)


def test_who_is_logged_in_stays_so_however_far_time_is_moved() -> None:
    machine = SystemClock()
    moved = SandboxClock(machine)
    moved.move(timedelta(days=30))
    assert unmoved(moved) is machine
    assert unmoved(machine) is machine
