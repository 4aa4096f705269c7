"""Slow-down, breaker, held backlogs and their release, on real rows and over real HTTP (RULES §6)."""

import asyncio
from typing import Any

import pytest

from tallystick.gateway.stripe_wire.call import Call, Caller
from tallystick.gateway.stripe_wire.parameters import Retrieve
from tallystick.gateway.webhooks.endpoints import Endpoints
from tallystick.gateway.webhooks.parameters import UpdateEndpoint
from tallystick.gateway.webhooks.worker import backlog_keeper
from tallystick.kernel.delivery import keeper, queue
from tallystick.kernel.delivery.health import BREAK_AFTER
from tallystick.kernel.delivery.protocol import EndpointKey, Result, Try, Verdict
from tallystick.kernel.idempotency import Idempotency
from tallystick.ports.asyncpg_database import open_database

KEY = EndpointKey("acct_a", False, "we_1")


def _counts(bench: Any) -> dict[str, int]:
    return dict(bench.sql("SELECT state, count(*)::int FROM delivery GROUP BY state"))


def _health(bench: Any, id: str = "we_1") -> Any:
    return bench.sql("SELECT width, failures, broken_until, slowed_until FROM endpoint_health WHERE endpoint = $1", id)[
        0
    ]


async def test_an_endpoint_that_always_succeeds_has_no_row(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    await bench.happen(20)
    async with bench.running():
        await bench.until(lambda: _counts(bench) == {"delivered": 20})
    assert bench.sql("SELECT count(*) FROM endpoint_health") == [(0,)]


async def test_a_broken_endpoint_is_not_called_and_its_deliveries_keep_their_schedule(
    bench: Any, receiver: Any
) -> None:
    """Each has its try in the record; the receiver saw only those that opened the breaker, and what was under way."""
    bench.endpoint("we_1", receiver.url)
    bench.limit(in_flight_max=16, share_max=8)
    receiver.always = receiver.answer(500)
    await bench.happen(200)
    async with bench.running():
        await bench.until(lambda: bench.sql("SELECT count(*) FROM delivery WHERE tries = 1") == [(200,)])
    assert BREAK_AFTER <= len(receiver.received) <= BREAK_AFTER + 2 * 8
    spared = bench.sql("SELECT count(*) FROM delivery_attempt WHERE reason = 'endpoint_failing' AND status IS NULL")
    assert spared == [(200 - len(receiver.received),)]
    ((first_s, last_s),) = bench.sql(
        "SELECT extract(epoch FROM min(due_at) - $1)::float8, extract(epoch FROM max(due_at) - $1)::float8"
        " FROM delivery",
        bench.clock.now(),
    )
    assert 40 <= first_s <= last_s <= 72 + 5


async def test_it_comes_back_as_a_ramp(bench: Any, receiver: Any) -> None:
    """After an outage: one delivery first, then more and more at once, and everything arrives."""
    bench.endpoint("we_1", receiver.url)
    bench.limit(share_max=32, rate_per_s=100_000, burst=1000)
    receiver.always = receiver.answer(500)
    await bench.happen(300)
    at_once, highest = 0, [0]

    async def recovered(writer: asyncio.StreamWriter) -> None:
        nonlocal at_once
        at_once += 1
        highest.append(at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        await receiver.answer(204)(writer)

    async with bench.running():
        await bench.until(lambda: bench.sql("SELECT count(*) FROM delivery WHERE tries = 1") == [(300,)])
        receiver.always = recovered
        bench.clock.ahead_s += 100
        await bench.until(lambda: _counts(bench) == {"delivered": 300})
    assert max(highest[:4]) <= 3
    assert 8 < max(highest) <= 32
    assert _health(bench)[:2] == (None, 0)


async def test_slowed_down_by_429_its_deliveries_wait_and_lose_no_try(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    bench.limit(in_flight_max=8, share_max=4)
    receiver.always = receiver.answer(429, retry_after="30")
    await bench.happen(50)
    async with bench.running():
        await bench.until(lambda: len(receiver.received) == 4)
        await asyncio.sleep(0.2)
        assert len(receiver.received) == 4, "what was under way, and nothing after it"
        assert bench.sql("SELECT count(*) FROM delivery WHERE tries = 0 AND state = 'due'") == [(46,)]
        receiver.always = receiver.answer(200)
        bench.clock.ahead_s += 40
        await bench.until(lambda: _counts(bench).get("delivered", 0) >= 46)


async def test_what_an_endpoint_does_not_take_is_held_out_of_the_way_and_released(
    bench: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog does not stand in front of the others; nothing is skipped."""
    monkeypatch.setattr(keeper, "KEPT_DUE", 10)
    monkeypatch.setattr(keeper, "HELD_MAX", 15)
    monkeypatch.setattr(keeper, "RELEASED_MAX", 5)
    bench.endpoint("we_1", receiver.url)
    await bench.happen(50)
    keeping = backlog_keeper(bench.database, bench.clock)
    async with bench.database.transaction() as tx:
        await queue.ask_keeper(tx, [KEY], at=bench.clock.now())
    steps = []
    for _ in range(4):
        await keeping.step()
        counts = _counts(bench)
        steps.append((counts["due"], counts.get("held", 0)))
        bench.clock.ahead_s += 1
    assert steps == [(35, 15), (20, 30), (10, 40), (10, 40)]
    assert bench.sql("SELECT DISTINCT reason FROM delivery WHERE state = 'held'") == [("endpoint_busy",)]
    first_due = bench.sql("SELECT id FROM delivery WHERE state = 'due' ORDER BY id")
    assert first_due == bench.sql("SELECT id FROM delivery ORDER BY due_at, id LIMIT 10")

    bench.sql("UPDATE delivery SET state = 'delivered', finished_at = $1 WHERE state = 'due'", bench.clock.now())
    for expected in (5, 10, 10):
        await keeping.step()
        assert _counts(bench)["due"] == expected
        bench.clock.ahead_s += 1
    async with bench.running():
        task = asyncio.create_task(keeping.run())
        for _ in range(200):
            bench.clock.ahead_s += 0.5
            await asyncio.sleep(0.01)
            if _counts(bench) == {"delivered": 50}:
                break
            await keeping.step()
        task.cancel()
    assert _counts(bench) == {"delivered": 50}
    await keeping.step()
    assert bench.sql("SELECT keep_at FROM endpoint_health") == [(None,)]


async def test_a_dispatcher_calls_the_keeper_for_an_endpoint_that_is_crowded_for_long(
    bench: Any, receiver: Any
) -> None:
    bench.endpoint("we_1", receiver.url)
    bench.limit(in_flight_max=8, share_max=4)
    receiver.always = receiver.hang
    await bench.happen(20)
    async with bench.running():
        await bench.until(lambda: len(receiver.received) == 4)
        await asyncio.sleep(0.1)
        assert bench.sql("SELECT count(*) FROM endpoint_health") == [(0,)]
        bench.clock.ahead_s += 6
        await bench.until(
            lambda: bench.sql("SELECT count(*) FROM endpoint_health WHERE keep_at <= $1", bench.clock.now()) == [(1,)]
        )


async def test_endpoints_that_hang_leave_room_for_the_others(bench: Any, receiver: Any) -> None:
    """RULES §6 fairness: behind a backlog of one that hangs, everybody else is served at once."""
    async with bench.receiving() as hanging:
        hanging.always = hanging.hang
        bench.endpoint("we_1", hanging.url)
        bench.sql("UPDATE webhook_endpoint SET enabled_events = '{charge.updated}'")
        bench.limit(in_flight_max=32, share_max=8)
        await bench.happen(100)
        bench.endpoint("we_2", receiver.url)
        bench.sql("UPDATE webhook_endpoint SET enabled_events = '{nothing}' WHERE id = 'we_1'")
        await bench.happen(100)
        async with bench.running():
            await bench.until(lambda: len(receiver.received) == 100)
            assert len(hanging.received) <= 8


async def test_a_410_holds_what_is_due_in_the_commit_that_disables(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    bench.limit(in_flight_max=4, share_max=1)
    receiver.always = receiver.answer(410)
    await bench.happen(30)
    async with bench.running():
        await bench.until(lambda: _counts(bench) == {"held": 30})
    assert len(receiver.received) == 1
    assert bench.sql("SELECT reason, count(*)::int FROM delivery GROUP BY reason ORDER BY reason") == [
        ("endpoint_disabled", 29),
        ("endpoint_gone", 1),
    ]


async def _change(bench: Any, **sent: Any) -> None:
    """Through the API's command; without a change the endpoint is deleted."""
    endpoints = Endpoints(bench.database, Idempotency(bench.database), bench.clock, bench.entropy, loopback=True)
    call = Call(Caller("acct_a", False), "req_1", None, None)
    if sent:
        await endpoints.update([(call, "we_1", UpdateEndpoint(**sent))])
    else:
        await endpoints.delete([(call, "we_1", Retrieve())])


async def test_the_commit_that_disables_also_holds_and_enabling_releases_gradually(
    bench: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES §6: what is due is held at once, the rest of a great backlog in bounded steps; nothing is skipped."""
    monkeypatch.setattr(keeper, "HELD_MAX", 10)
    monkeypatch.setattr(keeper, "RELEASED_MAX", 4)
    bench.endpoint("we_1", receiver.url)
    await bench.happen(25)
    await _change(bench, disabled=True)
    assert _counts(bench) == {"due": 15, "held": 10}
    keeping = backlog_keeper(bench.database, bench.clock)
    for expected in ({"due": 5, "held": 20}, {"held": 25}, {"held": 25}):
        await keeping.step()
        assert _counts(bench) == expected
        bench.clock.ahead_s += 1
    assert bench.sql("SELECT keep_at FROM endpoint_health") == [(None,)]

    await _change(bench, description="no change of its status")
    await keeping.step()
    assert _counts(bench) == {"held": 25}
    await _change(bench, disabled=False)
    assert _health(bench)[0] == 1, "it comes as a ramp"
    released = []
    for _ in range(8):  # another keeper each time: it goes on where the one before ended
        await backlog_keeper(bench.database, bench.clock).step()
        released.append(_counts(bench)["due"])
        bench.clock.ahead_s += 1
    assert released == [4, 8, 12, 16, 20, 24, 25, 25]
    async with bench.running():
        await bench.until(lambda: _counts(bench) == {"delivered": 25})


async def test_who_lost_its_lease_before_the_hold_writes_nothing_after_the_release(bench: Any) -> None:
    """The generation goes on with the hold: what a stale holder brings is no news of what was released."""
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen()
    at = bench.clock.now()
    seen = await queue.due(bench.database, at=at, without=(), items_max=9)
    (stale,) = await queue.claim(bench.database, seen, at=at, lease_s=60)
    await _change(bench, disabled=True)
    assert _counts(bench) == {"due": 1}, "what is being sent is not touched"
    bench.clock.ahead_s += 61
    keeping = backlog_keeper(bench.database, bench.clock)
    async with bench.database.transaction() as tx:
        await queue.ask_keeper(tx, [KEY], at=bench.clock.now())
    await keeping.step()
    assert _counts(bench) == {"held": 1}
    await _change(bench, disabled=False)
    await keeping.step()
    assert _counts(bench) == {"due": 1}
    late = Result(stale, Verdict("delivered"), bench.clock.now(), Try(at, 1, 200, None, None))
    assert await queue.record(bench.database, [late]) == set()


async def test_two_keepers_at_once_release_no_more_than_one(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RELEASED_MAX", 4)
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen(25)
    await _change(bench, disabled=True)
    await _change(bench, disabled=False)
    keepers = [backlog_keeper(bench.database, bench.clock) for _ in range(4)]
    await asyncio.gather(*(each.step() for each in keepers), return_exceptions=True)
    assert _counts(bench) == {"held": 21, "due": 4}


async def test_what_a_deleted_endpoint_had_still_to_get_becomes_dead_letters(bench: Any) -> None:
    """Also what was held for it."""
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen(5)
    await _change(bench, disabled=True)
    await _change(bench)
    await backlog_keeper(bench.database, bench.clock).step()
    async with bench.running():
        await bench.until_states(*[("dead", 0, "endpoint_deleted")] * 5)


async def test_ten_thousand_that_fail_together_come_back_spread(bench: Any, receiver: Any) -> None:
    """Not at once: over the whole width of the jitter, also those that the breaker spared."""
    bench.endpoint("we_1", "http://127.0.0.1:1/refuses")
    bench.limit(rate_per_s=100_000, burst=10_000)
    for _ in range(10):
        await bench.happen(1000)
    async with bench.running():
        await bench.until(
            lambda: bench.sql("SELECT count(*) FROM delivery WHERE tries = 1") == [(10_000,)], patience_s=60
        )
    busiest = bench.sql(
        "SELECT max(n)::int, count(*)::int FROM (SELECT count(*) AS n FROM delivery"
        " GROUP BY floor(extract(epoch FROM due_at))) AS seconds"
    )
    assert busiest[0][0] < 1000
    assert busiest[0][1] > 20


async def test_the_keeper_awaits_nothing_but_its_own_connection(bench: Any, gateway_dsn: str) -> None:
    """Nothing but a transaction's own statements is awaited inside it: with one connection there is no second one."""
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen(3)
    bench.sql("UPDATE webhook_endpoint SET status = 'disabled'")
    await queue.ask_keeper(bench.database, [KEY], at=bench.clock.now())
    alone = await open_database(gateway_dsn, connections_max=1)
    async with asyncio.timeout(3):
        await backlog_keeper(alone, bench.clock).step()
    await alone.close()
    assert _counts(bench) == {"held": 3}
