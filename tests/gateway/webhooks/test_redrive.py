"""Dead letters are redriven: one, an endpoint, a time range, a type; rate-limited and resumable (RULES §6)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.webhooks.dead_letters import DeadLetters
from tallystick.kernel.delivery.redrive import DONE, RUNNING, Filter, Redriver, Redrives
from tallystick.ports.database import Database, Statement


@pytest.fixture
def letters(bench: Any) -> DeadLetters:
    return DeadLetters(bench.database)


@pytest.fixture
def redrives(bench: Any, letters: DeadLetters) -> Redrives:
    return Redrives(bench.database, letters, bench.clock, bench.entropy)


async def _die(bench: Any, count: int, endpoint: str = "we_1", reason: str = "http_500") -> list[str]:
    """`count` events, each with a dead letter to `endpoint`."""
    if not bench.sql("SELECT 1 FROM webhook_endpoint WHERE id = $1", endpoint):
        bench.endpoint(endpoint, "http://127.0.0.1:1/")
    ids: list[str] = await bench.happen(count)
    bench.sql("DELETE FROM delivery WHERE message = ANY ($1) AND endpoint <> $2", ids, endpoint)
    bench.sql(
        "UPDATE delivery SET state = 'dead', tries = 8, reason = $1, finished_at = $2 WHERE message = ANY ($3)",
        reason,
        bench.clock.now(),
        ids,
    )
    bench.clock.ahead_s += 60
    return ids


async def _finish(bench: Any, letters: DeadLetters, redrives: Redrives, id: str) -> list[int]:
    """Step by step to the end; gives the progress after each."""
    progress = []
    for _ in range(50):
        await Redriver(bench.database, letters, bench.clock).step()  # another process each time
        found = await redrives.find(id)
        assert found is not None
        progress.append(found.redriven)
        if found.state != RUNNING:
            assert found.state == DONE
            assert found.finished_at is not None
            return progress
        bench.clock.ahead_s += 1.1
    raise AssertionError(progress)


async def test_a_redrive_goes_by_its_rate_and_survives_every_restart(
    bench: Any, letters: DeadLetters, redrives: Redrives
) -> None:
    await _die(bench, 25)
    made = await redrives.create(Filter(endpoint="we_1"), rate_max=10, by="ada")
    assert (made.matched, made.redriven, made.created_by) == (25, 0, "ada")
    await Redriver(bench.database, letters, bench.clock).step()
    await Redriver(bench.database, letters, bench.clock).step()
    found = await redrives.find(made.id)
    assert found is not None
    assert found.redriven == 10, "no more within the same second"
    bench.clock.ahead_s += 1.1
    assert await _finish(bench, letters, redrives, made.id) == [20, 25]
    assert bench.sql("SELECT DISTINCT state, tries, reason, finished_at FROM delivery") == [("due", 0, None, None)]


async def test_workers_side_by_side_keep_to_the_rate(bench: Any, letters: DeadLetters, redrives: Redrives) -> None:
    await _die(bench, 20)
    made = await redrives.create(Filter(endpoint="we_1"), rate_max=3, by="ada")
    workers = [Redriver(bench.database, letters, bench.clock) for _ in range(4)]
    await asyncio.gather(*(worker.step() for worker in workers), return_exceptions=True)
    found = await redrives.find(made.id)
    assert found is not None
    assert found.redriven == 3
    assert await redrives.count(Filter()) == 17


async def test_a_step_that_is_cut_off_is_done_again_whole(bench: Any, letters: DeadLetters, redrives: Redrives) -> None:
    await _die(bench, 5)
    made = await redrives.create(Filter(endpoint="we_1"), rate_max=3, by="ada")

    class Dying:
        """The database of a process that is killed in the middle of a step."""

        def __init__(self, database: Database) -> None:
            self._database = database

        async def rows(self, statement: Statement, *parameters: Any) -> Any:
            return await self._database.rows(statement, *parameters)

        def transaction(self) -> Any:
            raise ZeroDivisionError("killed")

    with pytest.raises(ZeroDivisionError):
        await Redriver(Dying(bench.database), letters, bench.clock).step()  # type: ignore[arg-type]
    assert await _finish(bench, letters, redrives, made.id) == [3, 5]


async def test_redriven_deliveries_keep_their_id_and_their_tries_stay_in_the_record(
    bench: Any, receiver: Any, letters: DeadLetters, redrives: Redrives
) -> None:
    bench.endpoint("we_1", receiver.url, delays_s=[1])
    receiver.always = receiver.answer(500, b"no")
    (id,) = await bench.happen()
    async with bench.running():
        await bench.until(lambda: len(receiver.received) == 1)
        bench.clock.ahead_s += 5
        await bench.until_states(("dead", 2, "http_500"))
        (dead,) = await letters.page(Filter(), letters_max=9)
        found = await letters.find(dead.id)
        assert found is not None
        assert [(each.status, each.answer) for each in found[1]] == [(500, "no")] * 2
        assert (dead.event, dead.endpoint, dead.reason, dead.fault) == (id, "we_1", "http_500", "endpoint")

        receiver.always = receiver.answer(200)
        bench.clock.ahead_s += 1
        made = await redrives.create(Filter(delivery=dead.id), rate_max=50, by="ada")
        await _finish(bench, letters, redrives, made.id)
        await bench.until_states(("delivered", 1, None))
    assert receiver.ids() == [id] * 3
    assert [status for status, _ in bench.attempts()] == [500, 500, 200]


@pytest.mark.parametrize(
    ("filter", "matched"),
    [
        (Filter(), 9),
        (Filter(endpoint="we_1"), 5),
        (Filter(endpoint="we_2"), 4),
        (Filter(type="charge.updated"), 9),
        (Filter(type="charge.*"), 9),
        (Filter(type="charge_updated"), 0),
        (Filter(type="payment_intent.*"), 0),
        (Filter(reason="http_500"), 3),
        (Filter(ours=True), 4),
        (Filter(ours=False), 5),
        (Filter(owner="acct_a", livemode=False), 9),
        (Filter(owner="acct_b"), 0),
        (Filter(livemode=True), 0),
        (Filter(endpoint="we_1", reason="http_404"), 2),
    ],
)
async def test_what_is_chosen(
    bench: Any, letters: DeadLetters, redrives: Redrives, filter: Filter, matched: int
) -> None:
    """By endpoint, type, reason, fault, account and mode; the dry run, the list and the redrive agree."""
    await _die(bench, 3)
    await _die(bench, 2, reason="http_404")
    await _die(bench, 4, "we_2", reason="broken")
    assert await redrives.count(filter) == matched
    assert len(await letters.page(filter, letters_max=50)) == matched
    made = await redrives.create(filter, rate_max=2, by="ada")
    assert (await _finish(bench, letters, redrives, made.id))[-1] == matched
    assert await redrives.count(filter) == 0
    assert await redrives.count(Filter()) == 9 - matched


async def test_a_time_range(bench: Any, letters: DeadLetters, redrives: Redrives) -> None:
    began = bench.clock.now()
    for _ in range(4):
        await _die(bench, 1)
    between = Filter(since=began + timedelta(seconds=30), until=began + timedelta(seconds=150))
    assert await redrives.count(between) == 2


async def test_what_dies_after_it_was_made_is_no_part_of_it(
    bench: Any, letters: DeadLetters, redrives: Redrives
) -> None:
    """Or what its endpoint still refuses would go round for ever."""
    await _die(bench, 4)
    made = await redrives.create(Filter(endpoint="we_1"), rate_max=3, by="ada")
    await Redriver(bench.database, letters, bench.clock).step()
    bench.clock.ahead_s += 1
    bench.sql("UPDATE delivery SET state = 'dead', finished_at = $1 WHERE state = 'due'", bench.clock.now())
    assert (await _finish(bench, letters, redrives, made.id))[-1] == 4
    assert await redrives.count(Filter()) == 3


async def test_what_died_by_a_clock_ahead_of_ours_is_dead_all_the_same(
    bench: Any, letters: DeadLetters, redrives: Redrives
) -> None:
    """RULES §14: clocks are wrong by up to ten minutes."""
    await _die(bench, 3)
    bench.clock.ahead_s -= 600
    made = await redrives.create(Filter(), rate_max=10, by="ada")
    assert made.matched == await redrives.count(Filter()) == 3
    assert (await _finish(bench, letters, redrives, made.id))[-1] == 3
    assert await redrives.count(Filter()) == 0


async def test_canceled_it_stops_where_it_is(bench: Any, letters: DeadLetters, redrives: Redrives) -> None:
    await _die(bench, 4)
    made = await redrives.create(Filter(endpoint="we_1"), rate_max=3, by="ada")
    await Redriver(bench.database, letters, bench.clock).step()
    canceled = await redrives.cancel(made.id)
    assert canceled is not None
    assert (canceled.state, canceled.redriven) == ("canceled", 3)
    bench.clock.ahead_s += 2
    await Redriver(bench.database, letters, bench.clock).step()
    assert await redrives.count(Filter()) == 1
    assert await redrives.cancel("rdr_none") is None


async def test_redriven_letters_wait_for_a_broken_endpoint_and_do_not_die_of_it(
    bench: Any, letters: DeadLetters, redrives: Redrives
) -> None:
    """Nothing is sent while the breaker is open, so a redrive would kill them again unsent."""
    bench.endpoint("we_1", "http://127.0.0.1:1/", delays_s=[])
    await bench.happen()
    async with bench.running():
        await bench.until_states(("dead", 1, "connection_refused"))
    bench.clock.ahead_s += 1
    [(broken_until,)] = bench.sql(
        "UPDATE endpoint_health SET broken_until = now() + interval '1 hour' RETURNING broken_until"
    )
    made = await redrives.create(Filter(endpoint="we_1"), rate_max=3, by="ada")
    await _finish(bench, letters, redrives, made.id)
    assert bench.sql("SELECT state, due_at FROM delivery") == [("due", broken_until)]


async def test_redriven_an_endpoint_that_refuses_again_is_told_again(
    bench: Any, letters: DeadLetters, redrives: Redrives
) -> None:
    bench.endpoint("we_1", "http://127.0.0.1:1/", delays_s=[])
    await bench.happen()
    async with bench.running():
        await bench.until_states(("dead", 1, "connection_refused"))
    bench.sql("UPDATE dead_letter_alert SET due_at = NULL")
    bench.clock.ahead_s += 1
    made = await redrives.create(Filter(endpoint="we_1"), rate_max=3, by="ada")
    await _finish(bench, letters, redrives, made.id)
    async with bench.running():
        await bench.until_states(("dead", 1, "connection_refused"))
    assert bench.sql("SELECT count(*) FROM dead_letter_alert WHERE due_at IS NOT NULL") == [(1,)]
