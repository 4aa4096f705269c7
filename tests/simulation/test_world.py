"""The parts of the simulated world, each by itself."""

import asyncio
import random
from typing import Any

import pytest

from tallystick.ports.database import Statement
from tallystick.simulation.faults import ALL, Faults
from tallystick.simulation.loop import VirtualLoop
from tallystick.simulation.order import any_order
from tallystick.simulation.scenario import LONG_ORDERS, LONG_SHOPS, SHORT_ORDERS, scenario_of


def test_time_jumps_to_the_next_timer_and_keeps_its_order() -> None:
    loop = VirtualLoop()
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    async def all_of_them() -> None:
        await asyncio.gather(wait("a day", 86_400), wait("a moment", 0.001), wait("a week", 7 * 86_400))

    loop.run_until_complete(all_of_them())
    loop.close()
    assert seen == [("a moment", 0.001), ("a day", 86_400.0), ("a week", 604_800.0)]


def test_deadlines_are_virtual() -> None:
    loop = VirtualLoop()

    async def late() -> None:
        async with asyncio.timeout(3600):
            await asyncio.sleep(3601)

    with pytest.raises(TimeoutError):
        loop.run_until_complete(late())
    loop.close()


def test_rows_come_in_any_order_unless_the_statement_orders_them() -> None:
    rows: list[Any] = [{"id": number} for number in range(20)]
    ordered = Statement("a", "SELECT id FROM (SELECT id FROM t) AS s ORDER BY id")
    open_ = Statement("b", "UPDATE t SET x = 1 WHERE id IN (SELECT id FROM t ORDER BY id) RETURNING id")
    assert any_order(ordered, rows, random.Random(1)) == rows
    shuffled = any_order(open_, rows, random.Random(1))
    assert shuffled != rows
    assert sorted(row["id"] for row in shuffled) == list(range(20))
    assert any_order(open_, list(reversed(rows)), random.Random(1)) == shuffled


def test_no_fault_is_made_before_its_time_or_after() -> None:
    faults = Faults(random.Random(3))
    assert all(faults.network() is faults.statement() is faults.commit() is None for _ in range(1000))


def test_every_kind_of_fault_comes_in_some_seed_and_is_missing_in_another() -> None:
    seeds = [Faults(random.Random(f"{seed}:faults")).kinds for seed in range(60)]
    for kind in ALL:
        assert any(kind in kinds for kinds in seeds)
        assert any(kind not in kinds for kinds in seeds)


def test_a_scenario_follows_from_its_seed() -> None:
    assert scenario_of(7) == scenario_of(7)
    assert {scenario_of(seed).name for seed in range(60)} >= {"checkout", "expiry", "sdk"}
    short = scenario_of(8)
    assert SHORT_ORDERS[0] <= short.orders <= SHORT_ORDERS[1]
    long = scenario_of(8, long=True)
    assert (long.shops, long.orders) == (LONG_SHOPS, LONG_ORDERS)
    assert long.faults_s >= 3 * 86_400
