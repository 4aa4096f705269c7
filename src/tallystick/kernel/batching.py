"""Natural batching: while one commit is in flight, what arrives forms the next batch (DESIGN §2.2).

No timer: a batch is made up two turns of the loop after its first item came, so that what comes with it shares it, and
what callers bring who have just been answered. When idle, a turn is some microseconds. A batch that fails as a whole is
split until the culprit is alone, so one bad item never fails its neighbours.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import coroutine
from typing import Generic, TypeVar

from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.tracing import outside

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEMS_MAX = 256  # rows per statement beyond which a batch gains nothing and its commit only gets slower
WEIGHT_MAX = 4 * 1024 * 1024  # bytes per batch where items have a weight; keeps memory and statements small
QUEUED_MAX = 10_000  # waiting items; beyond it callers are told to come back
IN_FLIGHT_MAX = 2  # one batch at the database while the next is prepared; more only lock each other
SERIALIZATION_TRIES_MAX = 5


class QueueFull(Exception):
    """More work is waiting than the batcher may hold; nothing was done for this item."""


class Batcher(Generic[Item, Result]):
    """Collects items of concurrent callers and hands them to `work` in batches.

    `work` takes a list of items and returns as many results in the same order; a result that is an exception is raised
    to the caller of that item alone. When `work` itself raises, nothing may have been committed: the batch is split and
    run again, except when the database is unavailable, where every caller gets the error.

    A batch beside one in flight is begun only with `beside_items_min` items: where a batch has a price of its own, two
    small ones cost more than they gain. With `share_items_min` what waits is shared evenly by the batches that may run,
    if each gets so many: if the first took all, callers who wait for their answers before they send again would be in
    step for ever, and the database idle while they are answered.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        items_max: int = ITEMS_MAX,
        in_flight_max: int = IN_FLIGHT_MAX,
        beside_items_min: int = 1,
        share_items_min: int | None = None,
        queued_max: int = QUEUED_MAX,
        weigh: Callable[[Item], int] | None = None,
        weight_max: int = WEIGHT_MAX,
    ) -> None:
        assert items_max >= 1
        assert in_flight_max >= 1
        assert queued_max >= items_max
        self._work = work
        self._items_max = items_max
        self._in_flight_max = in_flight_max
        self._beside_items_min = beside_items_min
        self._share_items_min = share_items_min
        self._queued_max = queued_max
        self._weigh = weigh
        self._weight_max = weight_max
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._gathering = 0
        self._running: set[asyncio.Task[None] | None] = set()

    async def submit(self, item: Item) -> Result:
        """The result of `item`, once the batch it fell into is committed. Raises QueueFull, or what `work` raised
        for it."""
        return await self.put(item)

    def put(self, item: Item) -> "asyncio.Future[Result]":
        """Put `item` in; what becomes of it is told by the future. Raises QueueFull."""
        if len(self._waiting) >= self._queued_max:
            raise QueueFull
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._running or (len(self._running) < self._in_flight_max and self._enough()):
            self._start()
        return future

    def _enough(self) -> bool:
        """Whether what waits is worth a batch beside one in flight."""
        return len(self._waiting) >= self._beside_items_min

    def _start(self) -> None:
        self._running.add(asyncio.get_running_loop().create_task(self._run()))

    async def _run(self) -> None:
        outside()  # whoever came first began this task, and it works for all
        try:
            while batch := await self._gather():
                await self._settle(batch)
                if len(self._running) > 1 and not self._enough():
                    break  # the batch that is in flight beside this one takes them along when it is done
        finally:
            # In the same turn in which nothing was found waiting, not by a done callback one turn later: an item that
            # came in between would see a batch in flight and wait for it for ever.
            self._running.discard(asyncio.current_task())

    async def _gather(self) -> list[tuple[Item, "asyncio.Future[Result]"]]:
        """The next batch, once the loop has looked at its sockets again: without that many batches had one to four
        items, and each batch has its price.
        """
        self._gathering += 1
        try:
            await turn()
        finally:
            self._gathering -= 1
        return self._take(self._share())

    def _share(self) -> int:
        """How many items the batch may have that is made up now; begins another one for the rest."""
        if self._share_items_min is None:
            return self._items_max
        to_come = self._in_flight_max - len(self._running)
        shares = min(1 + self._gathering + to_come, len(self._waiting) // self._share_items_min)
        if shares <= 1:
            return self._items_max
        if not self._gathering:
            self._start()
        return min(self._items_max, -(-len(self._waiting) // shares))

    def _take(self, items_max: int) -> list[tuple[Item, "asyncio.Future[Result]"]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        weight = 0
        while self._waiting and len(batch) < items_max:
            item, future = self._waiting[0]
            if self._weigh is not None:
                weight += self._weigh(item)
                if batch and weight > self._weight_max:
                    break
            self._waiting.popleft()
            if not future.cancelled():
                batch.append((item, future))
        return batch

    async def _settle(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            results = await self._attempt([item for item, _ in batch])
        except DatabaseUnavailable as error:
            _fail(batch, error)
        except Exception as error:  # whatever the work raises belongs to its callers, not to this loop
            if len(batch) == 1:
                _fail(batch, error)
            else:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
        else:
            assert len(results) == len(batch), "work returns one result for each item"
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _attempt(self, items: list[Item]) -> Sequence[Result | Exception]:
        for _ in range(SERIALIZATION_TRIES_MAX - 1):
            try:
                return await self._work(items)
            except SerializationFailed:
                continue
        return await self._work(items)


@coroutine
def turn() -> Generator[None, None, None]:
    """Let the loop look at its sockets once. No time is waited for, so this is no matter of the clock."""
    yield


def _fail(batch: Sequence[tuple[Item, "asyncio.Future[Result]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
