"""Dispatchers come and go, stall and die; nothing is lost, nobody writes over another (RULES §6, DESIGN §2.7)."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import psycopg
import pytest

from tallystick.gateway.stripe_wire.reading import SQL as READING
from tallystick.gateway.webhooks.worker import CalledEndpoints
from tallystick.kernel.delivery import queue, states
from tallystick.kernel.delivery.protocol import Claimed, EndpointKey, Result, Try, Verdict
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import Database, DatabaseUnavailable, SerializationFailed, Statement, StatementRefused
from tallystick.ports.http import Answered, HttpRequest

KEY = EndpointKey("acct_a", False, "we_1")


async def _claim(bench: Any, *, lease_s: float = 60.0) -> list[Claimed]:
    at = bench.clock.now()
    seen = await queue.due(bench.database, at=at, without=(), items_max=100)
    return await queue.claim(bench.database, seen, at=at, lease_s=lease_s) if seen else []


def _delivered(bench: Any, claimed: Claimed) -> Result:
    at = bench.clock.now()
    return Result(claimed, Verdict(states.DELIVERED), at, Try(at, 1, 200, None, None))


async def test_two_dispatchers_deliver_each_event_once(bench: Any, receiver: Any, gateway_dsn: str) -> None:
    """A lease has one holder: however many dispatchers look at the same rows, while all live nobody sends twice."""
    bench.endpoint("we_1", receiver.url)
    bench.limit(in_flight_max=16, share_max=16)
    other = await open_database(gateway_dsn)
    async with bench.running(bench.dispatcher(), bench.dispatcher(other), bench.dispatcher()):
        ids = [id for _ in range(10) for id in await bench.happen(50)]
        await bench.until(lambda: bench.sql("SELECT count(*) FROM delivery WHERE state = 'delivered'") == [(500,)])
    await other.close()
    assert Counter(receiver.ids()) == Counter(ids)
    assert bench.sql("SELECT max(number), count(*) FROM delivery_attempt") == [(1, 500)]


async def test_a_row_that_another_took_is_not_claimed(bench: Any) -> None:
    """Both saw the row as due; the generation lets one of them have it."""
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen(3)
    at = bench.clock.now()
    seen = await queue.due(bench.database, at=at, without=(), items_max=2)
    assert len(seen) == 2
    assert len(await queue.claim(bench.database, seen, at=at, lease_s=60)) == 2
    assert await queue.claim(bench.database, seen, at=at, lease_s=60) == []
    assert len(await queue.due(bench.database, at=at, without=(), items_max=9)) == 1
    assert await queue.due(bench.database, at=at, without=["we_1"], items_max=9) == []


async def test_a_lease_that_ran_out_is_taken_over_and_its_late_result_refused(bench: Any) -> None:
    """The stale holder writes nothing: neither the state nor a try."""
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen()
    (stale,) = await _claim(bench)
    assert await _claim(bench) == []
    bench.clock.ahead_s += 61
    (fresh,) = await _claim(bench)
    assert (stale.generation, fresh.generation) == (1, 2)

    assert await queue.record(bench.database, [_delivered(bench, stale)]) == set()
    assert (bench.states(), bench.attempts()) == ([("due", 0, None)], [])
    assert await queue.record(bench.database, [_delivered(bench, fresh)]) == {("acct_a", fresh.id)}
    assert await queue.record(bench.database, [_delivered(bench, fresh)]) == set(), "nor twice"
    assert (bench.states(), bench.attempts()) == ([("delivered", 1, None)], [(200, None)])


async def test_a_stale_result_among_good_ones_fails_only_itself(bench: Any) -> None:
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen(3)
    first = await _claim(bench)
    bench.clock.ahead_s += 61
    second = await _claim(bench)
    results = [_delivered(bench, claimed) for claimed in (first[0], second[0], *second[1:])]
    assert await queue.record(bench.database, results) == {("acct_a", claimed.id) for claimed in second}
    assert bench.sql("SELECT number FROM delivery_attempt") == [(2,)] * 3


async def test_a_dispatcher_that_dies_after_sending_sends_again_under_the_same_id(bench: Any, receiver: Any) -> None:
    """At least once, and the receiver can tell: another sends it when the lease has ended, not before."""
    bench.endpoint("we_1", receiver.url)
    (id,) = await bench.happen()
    dying = bench.dispatcher(database=_Dying(bench.database))
    task = asyncio.create_task(dying.run())
    await bench.until(lambda: receiver.ids() == [id])
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bench.states() == [("due", 0, None)]

    async with bench.running():
        await asyncio.sleep(0.1)
        assert receiver.ids() == [id]
        bench.clock.ahead_s += 61
        await bench.until_states(("delivered", 1, None))
    assert receiver.ids() == [id, id]
    first, second = receiver.received
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 60


class _Dying:
    """The database of a process that is killed before it writes any result, or gives back any lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(self, statement: Statement, *parameters: Any) -> Any:
        if statement.name == "record_results":
            raise DatabaseUnavailable("killed")
        return await self._database.rows(statement, *parameters)

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        raise DatabaseUnavailable("killed")


async def test_a_process_killed_between_commit_and_pick_up_loses_nothing(
    bench: Any, receiver: Any, gateway_dsn: str
) -> None:
    """The delivery is a row of the same commit: whoever comes next sends it."""
    bench.endpoint("we_1", receiver.url)
    script = f"""
import asyncio, os, signal
from datetime import UTC, datetime
from tallystick.gateway.webhooks.events import Happening, record
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.entropy import SystemEntropy
async def main():
    database = await open_database({gateway_dsn!r})
    happening = Happening("acct_a", False, "charge.updated", "ch_1", {{"id": "ch_1"}})
    async with database.transaction() as tx:
        await record(tx, [happening] * 7, at=datetime.now(UTC), entropy=SystemEntropy())
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], env=os.environ, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert receiver.received == []
    async with bench.running():
        await bench.until_states(*[("delivered", 1, None)] * 7)
    assert len(set(receiver.ids())) == 7


async def test_stopped_it_finishes_what_is_nearly_done_and_gives_back_the_rest(bench: Any, receiver: Any) -> None:
    """The next dispatcher need not wait for the end of a lease."""
    quick, slow = 4, 3
    count = 0

    async def by_turns(writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await asyncio.sleep(60 if count <= slow else 0.3)
        await receiver.answer(200)(writer)

    receiver.always = by_turns
    bench.endpoint("we_1", receiver.url)
    await bench.happen(quick + slow)
    started = time.monotonic()
    async with bench.running():
        await bench.until(lambda: len(receiver.received) == quick + slow)
    assert time.monotonic() - started < 5
    assert sorted(bench.states()) == [("delivered", 1, None)] * quick + [("due", 0, None)] * slow
    assert bench.sql("SELECT count(*) FROM delivery WHERE lease_until IS NOT NULL") == [(0,)]

    receiver.always = receiver.answer(200)
    async with bench.running():
        await bench.until_states(*[("delivered", 1, None)] * (quick + slow))


async def test_a_process_that_slept_past_its_lease_does_not_send(bench: Any, receiver: Any) -> None:
    """Swapped out or suspended between claim and sending: somebody else may be sending it by now."""
    bench.endpoint("we_1", receiver.url)
    await bench.happen()
    dispatcher = bench.dispatcher()
    find = CalledEndpoints(bench.clock).find

    class Sleepy:
        async def claim(self, *arguments: Any, **named: Any) -> list[Claimed]:
            claimed = await real(*arguments, **named)
            bench.clock.ahead_s += 50
            return claimed

    real, sleepy = queue.claim, Sleepy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "claim", sleepy.claim)
        async with bench.running(dispatcher):
            await asyncio.sleep(0.2)
    assert (await find(bench.database, [KEY]))[KEY].enabled
    assert (receiver.received, bench.attempts()) == ([], [])
    bench.clock.ahead_s += 61
    async with bench.running():
        await bench.until_states(("delivered", 1, None))


async def test_while_the_database_is_away_results_are_kept_for_the_length_of_the_lease(
    bench: Any, receiver: Any
) -> None:
    """A short outage after sending causes no second sending."""
    bench.endpoint("we_1", receiver.url)
    await bench.happen(3)
    database = _Refusing(bench.database, "record_results", DatabaseUnavailable("away"), times=2)
    async with bench.running(bench.dispatcher(database=database)):
        await bench.until_states(*[("delivered", 1, None)] * 3)
    assert len(receiver.received) == 3
    assert database.times == 0


async def test_a_result_that_others_are_in_the_way_of_is_recorded_all_the_same(bench: Any, receiver: Any) -> None:
    """What was taken by its receiver does not become a dead letter because rows were locked again and again."""
    bench.endpoint("we_1", receiver.url)
    await bench.happen()
    database = _Refusing(bench.database, "record_results", SerializationFailed("DeadlockDetectedError"), times=6)
    async with bench.running(bench.dispatcher(database=database)):
        await bench.until(lambda: ("due", 0, None) not in bench.states())
    assert bench.states() == [("delivered", 1, None)]


async def test_an_outage_of_the_database_does_not_end_the_dispatcher(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    await bench.happen()
    database = _Refusing(bench.database, "due_deliveries", DatabaseUnavailable("away"), times=1)
    async with bench.running(bench.dispatcher(database=database)):
        await bench.until_states(("delivered", 1, None))


async def test_a_result_that_cannot_be_recorded_becomes_a_dead_letter_of_ours(bench: Any, receiver: Any) -> None:
    """Poison: it would be sent for ever otherwise. Neighbours are recorded, and the reason says whose fault it is."""
    bench.endpoint("we_1", receiver.url)
    ids = await bench.happen(5)
    database = _Refusing(bench.database, "record_results", StatementRefused("22P05"), times=1000, only=ids[2])
    async with bench.running(bench.dispatcher(database=database)):
        await bench.until(lambda: ("due", 0, None) not in bench.states())
    assert sorted(bench.states()) == [("dead", 0, "broken")] + [("delivered", 1, None)] * 4
    assert len(receiver.received) == 5


class _Refusing:
    """A database that refuses one statement some times; with `only`, when it concerns that message and was a try."""

    def __init__(self, database: Database, name: str, error: Exception, *, times: int, only: str | None = None) -> None:
        self._database = database
        self._name = name
        self._error = error
        self._only = only
        self._poison: set[str] = set()
        self.times = times

    async def rows(self, statement: Statement, *parameters: Any) -> Any:
        if statement.name == self._name and self.times and self._concerns(parameters):
            self.times -= 1
            raise self._error
        rows = await self._database.rows(statement, *parameters)
        if statement.name == "claim_deliveries":
            self._poison |= {row["id"] for row in rows if row["message"] == self._only}
        return rows

    def _concerns(self, parameters: Any) -> bool:
        if self._only is None:
            return True
        return any(id in self._poison and tried for id, tried in zip(parameters[1], parameters[7], strict=True))

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        return await self._database.execute(statement, *parameters)

    def transaction(self) -> Any:
        return self._database.transaction()


async def test_a_failure_of_our_own_code_is_a_try_and_ends(bench: Any, receiver: Any) -> None:
    """Whatever breaks while sending one delivery is recorded as our fault; the dispatcher and the others go on."""

    class Breaking:
        async def send(self, request: HttpRequest) -> Answered:
            if request.url.endswith("/broken"):
                raise ZeroDivisionError
            return Answered(204, {}, b"")

    bench.endpoint("we_1", "http://127.0.0.1:1/broken", delays_s=[])
    bench.endpoint("we_2", "http://127.0.0.1:1/fine")
    await bench.happen()
    async with bench.running(bench.dispatcher(http=Breaking())):
        await bench.until_states(("dead", 1, "broken"), ("delivered", 1, None))
    assert states.BROKEN in states.OUR_FAULTS


async def test_woken_it_picks_up_at_once(bench: Any, receiver: Any) -> None:
    """An idle dispatcher needs no poll to hear of a commit in its own process; benchmarks/deliveries.py has the p50."""
    bench.endpoint("we_1", receiver.url)
    dispatcher = bench.dispatcher()
    dispatcher._poll_s = 3600.0
    waits_ms = []
    async with bench.running(dispatcher), asyncio.timeout(30):
        await asyncio.sleep(0.1)
        for number in range(1, 41):
            await bench.happen()
            committed = time.perf_counter()
            dispatcher.wake()
            while len(receiver.received) < number:  # noqa: ASYNC110 - as finely as can be
                await asyncio.sleep(0.0005)
            waits_ms.append((time.perf_counter() - committed) * 1000)
    assert min(waits_ms) < 20, waits_ms  # the machine may be busy; once in forty it is not


async def test_what_other_processes_committed_is_found_by_polling(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    async with bench.running():
        await asyncio.sleep(0.1)
        await bench.happen()
        await bench.until_states(("delivered", 1, None))


async def test_a_backlog_is_worked_off_with_bounded_places(bench: Any, receiver: Any) -> None:
    """Never more than its places in flight, and nothing is kept of what is done."""
    bench.limit(in_flight_max=8, share_max=8)
    bench.endpoint("we_1", receiver.url)
    at_once = highest = 0

    async def counting(writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, highest
        at_once += 1
        highest = max(highest, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        await receiver.answer(204)(writer)

    receiver.always = counting
    await bench.happen(400)
    dispatcher = bench.dispatcher()
    async with bench.running(dispatcher):
        await bench.until(lambda: bench.sql("SELECT count(*) FROM delivery WHERE state = 'delivered'") == [(400,)])
    assert 2 <= highest <= 8
    assert (len(dispatcher._under_way), len(dispatcher._in_flight)) == (0, 0)


@pytest.mark.parametrize("name", ["due_deliveries", "count_due", "waiting_of_endpoints"])
@pytest.mark.parametrize("state", ["delivered", "due"])
def test_backlogs_are_found_by_their_indexes_whatever_the_statistics_say(bench: Any, name: str, state: str) -> None:
    """No look passes over what is delivered, nor over what waits for other endpoints, nor sorts a backlog."""
    bench.sql(
        "INSERT INTO delivery SELECT 'acct_a', 'dlv_' || n, false, 'evt_' || n, 'v', 'we_1', $2, 1, $1, NULL,"
        " 1, NULL, $1, $1 FROM generate_series(1, 5000) AS n",
        bench.clock.now(),
        state,
    )
    bench.sql("ANALYZE delivery")
    plan = _plan(bench, getattr(queue.SQL, name).text)
    assert "Seq Scan on delivery" not in plan
    assert ("delivery_due" if name == "due_deliveries" else "delivery_of_endpoint") in plan
    assert "Sort Key: d.due_at" not in plan


@pytest.mark.parametrize("name", ["page_of_undelivered", "page_of_undelivered_backwards"])
def test_undelivered_events_are_found_without_walking_through_the_others(bench: Any, name: str) -> None:
    bench.sql(
        "INSERT INTO delivery SELECT 'acct_a', 'dlv_' || n, false, 'evt_' || n, 'v', 'we_1', 'delivered', 1, $1, NULL,"
        " 1, NULL, $1, $1 FROM generate_series(1, 5000) AS n",
        bench.clock.now(),
    )
    bench.sql("ANALYZE delivery")
    plan = _plan(bench, getattr(READING, name).text)
    assert "delivery_undelivered" in plan
    assert "event_pkey" in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    "name", ["claim_deliveries", "record_results", "release_deliveries", "hold_deliveries", "release_held"]
)
def test_rows_are_found_by_their_key_whatever_the_statistics_say(bench: Any, name: str) -> None:
    """A plan that was made while nothing was due must not walk through the backlog that comes later."""
    bench.sql(
        "INSERT INTO delivery SELECT 'acct_a', 'dlv_' || n, false, 'evt_' || n, 'v', 'we_1', 'delivered', 1, $1, NULL,"
        " 1, NULL, $1, $1 FROM generate_series(1, 5000) AS n",
        bench.clock.now(),
    )
    bench.sql("ANALYZE delivery")
    plan = _plan(bench, getattr(queue.SQL, name).text)
    assert "delivery_pkey" in plan
    assert not [name for name in ("delivery_due", "delivery_of_endpoint", "delivery_undelivered") if name in plan]
    assert "Seq Scan on delivery" not in plan


def _plan(bench: Any, statement: str) -> str:
    nothing = ", ".join(["NULL"] * len(set(re.findall(r"\$[0-9]+", statement))))
    with psycopg.connect(bench.dsn, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")  # as the database port does
        connection.execute("SET random_page_cost = 1.1")
        connection.execute(f"PREPARE planned AS {statement}".encode())
        return "\n".join(row[0] for row in connection.execute(f"EXPLAIN EXECUTE planned({nothing})".encode()))
