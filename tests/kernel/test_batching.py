"""Natural batching: what arrives while one commit is in flight forms the next batch (DESIGN §2.2)."""

import asyncio
from collections.abc import Sequence

import pytest

from tallystick.kernel.batching import Batcher, QueueFull
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed, StatementRefused


class Work:
    """Records the batches it was given; waits on a gate so that tests decide when a commit ends."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        return [item * 10 for item in items]


async def test_a_batch_of_one_is_a_batch() -> None:
    work = Work()
    assert await Batcher(work).submit(7) == 70
    assert work.batches == [[7]]


async def test_what_arrives_in_one_turn_of_the_loop_shares_a_batch() -> None:
    work = Work()
    batcher = Batcher(work)
    assert await asyncio.gather(*(batcher.submit(n) for n in range(5))) == [0, 10, 20, 30, 40]
    assert work.batches == [[0, 1, 2, 3, 4]]


async def test_what_arrives_during_a_commit_forms_the_next_batch() -> None:
    work = Work()
    batcher = Batcher(work, in_flight_max=1)
    work.gate.clear()
    first = asyncio.ensure_future(batcher.submit(1))
    await asyncio.sleep(0.01)
    rest = [asyncio.ensure_future(batcher.submit(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0.01)
    work.gate.set()
    assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]
    assert work.batches == [[1], [2, 3, 4]]


async def test_a_batch_beside_one_in_flight_waits_for_enough_items() -> None:
    work = Work()
    batcher = Batcher(work, in_flight_max=2, beside_items_min=3)
    work.gate.clear()
    sent = [asyncio.ensure_future(batcher.submit(0))]
    for number in range(1, 8):
        await asyncio.sleep(0.001)
        sent.append(asyncio.ensure_future(batcher.submit(number)))
    await asyncio.sleep(0.001)
    assert work.batches == [[0], [1, 2, 3]], "the first at once, the next beside it when it is worth it"
    work.gate.set()
    assert await asyncio.gather(*sent) == [10 * number for number in range(8)]
    assert work.batches == [[0], [1, 2, 3], [4, 5, 6, 7]]


async def test_many_items_are_shared_evenly_by_the_batches_that_may_run() -> None:
    """If the first took all, callers who wait for their answers would be in step, and nothing beside anything."""
    work = Work()
    work.gate.clear()
    batcher = Batcher(work, in_flight_max=3, share_items_min=4)
    sent = [asyncio.ensure_future(batcher.submit(number)) for number in range(13)]
    await asyncio.sleep(0.001)
    assert [len(batch) for batch in work.batches] == [5, 4, 4]
    work.gate.set()
    assert await asyncio.gather(*sent) == [10 * number for number in range(len(sent))]


async def test_what_comes_beside_a_batch_in_flight_is_not_shared_with_it() -> None:
    work = Work()
    work.gate.clear()
    batcher = Batcher(work, in_flight_max=2, share_items_min=4)
    sent = [asyncio.ensure_future(batcher.submit(0))]
    await asyncio.sleep(0.001)
    sent += [asyncio.ensure_future(batcher.submit(number)) for number in range(1, 16)]
    await asyncio.sleep(0.001)
    assert [len(batch) for batch in work.batches] == [1, 15]
    work.gate.set()
    await asyncio.gather(*sent)


@pytest.mark.parametrize("beside_items_min", [1, 2, 5])
async def test_no_item_is_forgotten_however_batches_end(beside_items_min: int) -> None:
    turns = iter(range(10_000_000))

    async def work(items: Sequence[int]) -> list[int]:
        for _ in range(next(turns) * 7 % 4):
            await asyncio.sleep(0)
        return list(items)

    batcher = Batcher(work, in_flight_max=3, beside_items_min=beside_items_min, share_items_min=2, items_max=4)

    async def caller(number: int) -> None:
        for turn in range(200):
            assert await batcher.submit(number) == number
            for _ in range((number * turn) % 5):
                await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await asyncio.gather(*map(caller, range(9)))


@pytest.mark.parametrize("in_flight_max", [1, 2, 3])
async def test_an_item_that_comes_in_the_turn_in_which_a_batch_ends_is_not_forgotten(in_flight_max: int) -> None:
    batcher = Batcher(Work(), in_flight_max=in_flight_max)

    async def again_and_again(first: int) -> list[int]:
        return [await batcher.submit(n) for n in range(first, first + 20)]

    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(again_and_again(100 * caller) for caller in range(in_flight_max)))
    assert answers == [[10 * n for n in range(100 * c, 100 * c + 20)] for c in range(in_flight_max)]


async def test_a_batch_is_bounded_in_items_and_in_weight() -> None:
    work = Work()
    by_items = Batcher(work, items_max=2)
    await asyncio.gather(*(by_items.submit(n) for n in range(5)))
    assert max(len(batch) for batch in work.batches) == 2
    work.batches.clear()
    by_weight = Batcher(work, weigh=lambda item: item, weight_max=10)
    await asyncio.gather(*(by_weight.submit(n) for n in (4, 4, 4, 50)))
    assert all(sum(batch) <= 10 or len(batch) == 1 for batch in work.batches)
    assert sorted(item for batch in work.batches for item in batch) == [4, 4, 4, 50]


async def test_a_full_queue_refuses_and_loses_nothing() -> None:
    work = Work()
    work.gate.clear()
    batcher = Batcher(work, items_max=1, in_flight_max=1, queued_max=2)
    accepted = []
    for n in (1, 2, 3):
        accepted.append(asyncio.ensure_future(batcher.submit(n)))
        await asyncio.sleep(0.01)
    with pytest.raises(QueueFull):
        await batcher.submit(4)
    work.gate.set()
    assert await asyncio.gather(*accepted) == [10, 20, 30]


async def test_one_bad_item_never_fails_its_neighbours() -> None:
    """RULES §7: a batch that the database refuses is split until the culprit is alone."""

    async def work(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise StatementRefused("22000")
        return list(items)

    batcher = Batcher(work)
    results = await asyncio.gather(*(batcher.submit(n) for n in range(20)), return_exceptions=True)
    assert [n for n, result in enumerate(results) if result != n] == [13]
    assert isinstance(results[13], StatementRefused)


async def test_a_result_that_is_an_error_goes_to_its_own_caller() -> None:
    async def work(items: Sequence[int]) -> list[int | Exception]:
        return [ValueError("odd") if item % 2 else item for item in items]

    batcher: Batcher[int, int] = Batcher(work)
    results = await asyncio.gather(*(batcher.submit(n) for n in range(4)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["int", "ValueError", "int", "ValueError"]


async def test_an_unavailable_database_is_not_asked_again_and_again() -> None:
    calls = 0

    async def work(items: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        raise DatabaseUnavailable("gone")

    batcher = Batcher(work)
    results = await asyncio.gather(*(batcher.submit(n) for n in range(8)), return_exceptions=True)
    assert all(isinstance(result, DatabaseUnavailable) for result in results)
    assert calls == 1


async def test_a_serialization_failure_runs_the_batch_again() -> None:
    calls = 0

    async def work(items: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise SerializationFailed("deadlock")
        return list(items)

    assert await Batcher(work).submit(5) == 5
    assert calls == 3


async def test_a_caller_that_went_away_does_not_disturb_the_others() -> None:
    work = Work()
    work.gate.clear()
    batcher = Batcher(work, in_flight_max=1)
    first = asyncio.ensure_future(batcher.submit(1))
    await asyncio.sleep(0.01)
    leaver, stayer = asyncio.ensure_future(batcher.submit(2)), asyncio.ensure_future(batcher.submit(3))
    await asyncio.sleep(0.01)
    leaver.cancel()
    await asyncio.sleep(0.01)
    work.gate.set()
    assert list(await asyncio.gather(first, stayer)) == [10, 30]
    assert work.batches == [[1], [3]]
