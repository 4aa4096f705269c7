"""The dispatcher: claims what is due, sends it, records what became of it, for ever (RULES §6, DESIGN §2.7).

Read from top to bottom it is the life of a delivery: `run` → `_take` → `_deliver` → `_send` → `_record`. What follows
from what is decided in `protocol`; here it is only carried out. Everything that matters is in rows: the dispatcher may
die at any point, and another one sends the delivery again, under the same id, once the lease has ended.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from tallystick.kernel.batching import Batcher
from tallystick.kernel.delivery import queue
from tallystick.kernel.delivery.protocol import (
    Claimed,
    Endpoint,
    EndpointKey,
    Limits,
    Result,
    Try,
    Verdict,
    choose,
    judge,
    prepare,
    tried,
    without_sending,
)
from tallystick.kernel.delivery.states import BROKEN, DEAD
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, DatabaseUnavailable, SerializationFailed, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Exchange, Http, HttpRequest, NotSent

log = logging.getLogger(__name__)

POLL_S: Final = 0.05
"""Between two looks for rows that other processes wrote or whose time has come; an idle look is one index probe."""
DATABASE_PAUSE_S: Final = 1.0
"""Before the database is asked again after it failed."""
STOP_GRACE_S: Final = 1.5
"""What is being sent at the end gets this long; the rest is given back to be sent by the next dispatcher."""
ROOM_SHARE: Final = 0.25
"""How much room there must be before a busy dispatcher claims again: few large claims instead of many small ones."""


class Endpoints(Protocol):
    """The endpoints of the service that uses the engine."""

    async def find(self, keys: Collection[EndpointKey]) -> Mapping[EndpointKey, Endpoint]:
        """The endpoints as they are now; deleted ones are left out."""
        ...

    async def disable(self, tx: Transaction, keys: Collection[EndpointKey], *, at: datetime) -> None:
        """Disable endpoints that asked for it by answering 410."""
        ...


class Dispatcher:
    """Delivers what is due until it is cancelled. Any number of dispatchers may run on the same rows."""

    def __init__(
        self,
        database: Database,
        http: Http,
        endpoints: Endpoints,
        clock: Clock,
        entropy: Entropy,
        limits: Limits | None = None,
        *,
        poll_s: float = POLL_S,
    ) -> None:
        self._database = database
        self._http = http
        self._endpoints = endpoints
        self._clock = clock
        self._entropy = entropy
        self._limits = limits or Limits()
        self._poll_s = poll_s
        self._woken = asyncio.Event()
        self._waiting_for_room = False
        self._under_way: dict[asyncio.Task[None], Claimed] = {}
        self._in_flight: Counter[EndpointKey] = Counter()
        self._results: Batcher[Result, bool] = Batcher(self._record)

    def wake(self) -> None:
        """Something was committed that may be due: look now. To be called in the dispatcher's own event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Work for ever; on cancellation finish or give back what is under way."""
        try:
            while True:
                self._woken.clear()
                try:
                    more = await self._take()
                except DatabaseError as error:
                    log.warning("deliveries wait for the database: %s", type(error).__name__)
                    await self._clock.sleep(DATABASE_PAUSE_S)
                    continue
                if not more:
                    await self._pause()
        finally:
            await self._stop()

    async def _take(self) -> bool:
        """Claim what is due and start sending it. Gives whether there may be more that could be taken at once."""
        limits = self._limits
        places = limits.in_flight_max - self._in_flight.total()
        busy = [key.id for key, count in self._in_flight.items() if not self._has_room(count, limits.share_max)]
        self._waiting_for_room = bool(busy) or places == 0
        if places == 0:
            return False
        at, at_s = self._clock.now(), self._clock.monotonic_s()
        seen = await queue.due(self._database, at=at, without=busy, items_max=places)
        chosen = choose(seen, self._in_flight, places=places, share_max=limits.share_max)
        if not chosen:
            return False
        self._waiting_for_room = self._waiting_for_room or len(chosen) < len(seen)
        endpoints = await self._endpoints.find({item.endpoint for item in chosen})
        try:
            claimed = await queue.claim(self._database, chosen, at=at, lease_s=limits.lease_s)
        except SerializationFailed:  # another dispatcher was after the same rows; what it left is looked for again
            return True
        for item in claimed:
            self._start(item, endpoints.get(item.endpoint), at_s)
        return len(seen) == places or len(claimed) < len(chosen)

    def _has_room(self, count: int, count_max: int) -> bool:
        return count <= count_max - max(1, int(count_max * ROOM_SHARE))

    def _start(self, claimed: Claimed, endpoint: Endpoint | None, claimed_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(claimed, endpoint, claimed_s))
        self._under_way[task] = claimed
        self._in_flight[claimed.endpoint] += 1
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        key = self._under_way.pop(task).endpoint
        self._in_flight[key] -= 1
        count = self._in_flight[key]
        if not count:
            del self._in_flight[key]  # endpoints come and go; the count must not grow with them
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a delivery's lease is left to run out: %s", type(error).__name__, exc_info=error)
        if self._waiting_for_room:
            limits = self._limits
            if self._has_room(count, limits.share_max) and self._has_room(
                self._in_flight.total(), limits.in_flight_max
            ):
                self._woken.set()

    async def _deliver(self, claimed: Claimed, endpoint: Endpoint | None, claimed_s: float) -> None:
        """Everything that happens to one claimed delivery."""
        verdict = without_sending(endpoint)
        if verdict is not None:
            await self._write_down(Result(claimed, verdict, self._clock.now(), None), claimed_s)
            return
        assert endpoint is not None
        if not self._lease_covers_a_try(claimed_s):
            return
        started_at, started_s = self._clock.now(), self._clock.monotonic_s()
        exchange = await self._send(claimed, endpoint, started_at)
        at = self._clock.now()
        attempt = tried(exchange, started_at=started_at, duration_s=self._clock.monotonic_s() - started_s)
        verdict = judge(
            exchange, endpoint.schedule, tries=claimed.tries + 1, at=at, chance=self._entropy.uniform(0.0, 1.0)
        )
        self._tell(claimed, attempt, verdict)
        await self._write_down(Result(claimed, verdict, at, attempt), claimed_s)

    def _lease_covers_a_try(self, claimed_s: float) -> bool:
        """After a long pause of this process (swapped out, suspended) somebody else may be sending it by now."""
        return self._clock.monotonic_s() - claimed_s <= self._limits.lease_s - self._limits.deadline_s

    async def _send(self, claimed: Claimed, endpoint: Endpoint, at: datetime) -> Exchange:
        request = prepare(claimed, endpoint, self._limits, at=at)
        if not isinstance(request, HttpRequest):
            log.error("delivery %s cannot be sent: %s", claimed.id, request.reason)
            return request
        try:
            return await self._http.send(request)
        except Exception:
            log.exception("sending delivery %s failed", claimed.id)
            return NotSent(BROKEN)

    def _tell(self, claimed: Claimed, attempt: Try, verdict: Verdict) -> None:
        if verdict.reason is not None:
            log.info(
                "delivery %s of %s to %s, try %d: %s, now %s",
                claimed.id,
                claimed.message,
                claimed.endpoint.id,
                claimed.tries + 1,
                attempt.reason,
                verdict.state,
            )

    async def _write_down(self, result: Result, claimed_s: float) -> None:
        """Record a result; while the database is away, for as long as the lease lasts: it means nothing afterwards."""
        while True:
            try:
                counted = await self._results.submit(result)
            except DatabaseUnavailable:
                if self._clock.monotonic_s() - claimed_s > self._limits.lease_s:
                    log.warning("the result of delivery %s is lost; it will be sent again", result.claimed.id)
                    return
                await self._clock.sleep(DATABASE_PAUSE_S)
            except DatabaseError as error:
                if result.verdict.reason == BROKEN:
                    raise
                # What cannot be recorded would be sent for ever. It becomes a dead letter of our own making instead.
                log.error("the result of delivery %s is refused: %s", result.claimed.id, error)
                result = Result(result.claimed, Verdict(DEAD, reason=BROKEN), result.at, None)
            else:
                if not counted:
                    log.warning("the result of delivery %s came too late: another has taken it over", result.claimed.id)
                return

    async def _record(self, results: Sequence[Result]) -> Sequence[bool]:
        """Write results down, many in one commit; those of a 410 together with the end of their endpoint."""
        if not any(result.verdict.gone for result in results):
            counted = await queue.record(self._database, results)
        else:
            async with self._database.transaction() as tx:
                counted = await queue.record(tx, results)
                gone = {
                    result.claimed.endpoint
                    for result in results
                    if result.verdict.gone and (result.claimed.owner_id, result.claimed.id) in counted
                }
                await self._endpoints.disable(tx, gone, at=self._clock.now())
        return [(result.claimed.owner_id, result.claimed.id) in counted for result in results]

    async def _pause(self) -> None:
        """Wait until something may be due: woken, room to work in, or the next look."""
        if self._woken.is_set():
            return
        waits = [asyncio.create_task(self._woken.wait()), asyncio.create_task(self._clock.sleep(self._poll_s))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _stop(self) -> None:
        """Let what is under way finish for a short time, then give the rest back."""
        if not self._under_way:
            return
        patience = asyncio.create_task(self._clock.sleep(STOP_GRACE_S))
        while self._under_way and not patience.done():
            await asyncio.wait([patience, *self._under_way], return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        unfinished = dict(self._under_way)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        if unfinished:
            try:
                await queue.release(self._database, list(unfinished.values()))
            except DatabaseError as error:
                log.warning("leases are left to run out: %s", type(error).__name__)
