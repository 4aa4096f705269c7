"""The dispatcher: claims what is due, sends it, records what became of it, for ever (RULES §6, DESIGN §2.7).

Read from top to bottom it is the life of a delivery: `run` → `_take` → `_deliver` → `_send` → `_record`. What follows
from what is decided in `protocol`; here it is only carried out. Everything that matters is in rows: the dispatcher may
die at any point, and another one sends the delivery again, under the same id, once the lease has ended.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from tallystick.kernel.batching import Batcher
from tallystick.kernel.delivery import alerting, health, keeper, queue
from tallystick.kernel.delivery.pacing import Buckets
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
    outcome,
    prepare,
    share_of,
    spare,
    tried,
    without_sending,
)
from tallystick.kernel.delivery.states import BROKEN, DEAD, DUE, ENDPOINT_DELETED, HELD, OUR_FAULTS
from tallystick.kernel.outages import Outage
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, DatabaseUnavailable, SerializationFailed, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Answered, Exchange, Http, HttpRequest, NotSent
from tallystick.ports.metrics import DEAD_LETTERS, DELIVERIES, DELIVERY_SECONDS
from tallystick.ports.tracing import UNTRACED, Span, Tracer, read

log = logging.getLogger(__name__)

POLL_S: Final = 0.05
"""Between two looks for rows that other processes wrote or whose time has come; an idle look is one index probe."""
DATABASE_PAUSE_S: Final = 1.0
"""Before the database is asked again after it failed."""
STOP_GRACE_S: Final = 1.5
"""What is being sent at the end gets this long; the rest is given back to be sent by the next dispatcher."""
ROOM_SHARE: Final = 0.25
"""How much room there must be before a busy dispatcher claims again: few large claims instead of many small ones."""
GATHERED: Final = 64
"""Results that are worth a commit of their own; fewer wait a moment for those that are about to come."""
GATHER_S: Final = 0.005
"""That moment. Nobody waits for the record of a try, and a commit costs as much as several tries."""
CROWDED_S: Final = 5.0
"""How long an endpoint takes less than there is for it until what waits is moved out of the way of others."""


About = Callable[[bytes], Mapping[str, str]]
"""The ids of order and payment in a message's body, under the names that log lines and spans have for them."""


def about_nothing(_body: bytes) -> Mapping[str, str]:
    """Of messages that nobody reads."""
    return {}


class Endpoints(keeper.Endpoints, Protocol):
    """The endpoints of the service that uses the engine."""

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
        tracer: Tracer = UNTRACED,
        about: About = about_nothing,
    ) -> None:
        self._tracer = tracer
        self._about = about
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
        self._shares: dict[EndpointKey, int] = {}  # of the endpoints in flight
        self._buckets: Buckets[EndpointKey] = Buckets(rate_per_s=self._limits.rate_per_s, burst=self._limits.burst)
        self._crowded_since_s: dict[EndpointKey, float] = {}
        self._results: Batcher[Result, bool] = Batcher(self._record, in_flight_max=1)

    def wake(self) -> None:
        """Something was committed that may be due: look now. To be called in the dispatcher's own event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Work for ever; on cancellation finish or give back what is under way."""
        outage = Outage(log, "deliveries wait for the database")
        try:
            while True:
                self._woken.clear()
                try:
                    more = await self._take()
                except DatabaseError as error:
                    outage.failed(error, self._clock.monotonic_s())
                    await self._clock.sleep(DATABASE_PAUSE_S)
                    continue
                outage.worked()
                if not more:
                    await self._pause()
        finally:
            await self._stop()

    async def _take(self) -> bool:
        """Claim what is due and start sending it. Gives whether there may be more that could be taken at once."""
        limits = self._limits
        places = limits.in_flight_max - self._in_flight.total()
        at, at_s = self._clock.now(), self._clock.monotonic_s()
        full = self._full(at_s)
        self._waiting_for_room = bool(full) or places == 0
        if places == 0:
            return False
        seen = await queue.due(self._database, at=at, without={key.id for key in full}, items_max=places)
        choice = choose(
            seen,
            self._in_flight,
            at=at,
            places=places,
            share_max=limits.share_max,
            tokens=lambda key: self._buckets.tokens(key, at_s),
        )
        chosen = choice.taken
        await self._note_crowded(full | choice.crowded, at, at_s)
        if not chosen:
            return False
        self._waiting_for_room = self._waiting_for_room or len(chosen) < len(seen)
        endpoints = await self._endpoints.find(self._database, {item.endpoint for item in chosen})
        try:
            claimed = await queue.claim(self._database, chosen, at=at, lease_s=limits.lease_s)
        except SerializationFailed:  # another dispatcher was after the same rows; what it left is looked for again
            return True
        for item in claimed:
            self._shares[item.endpoint] = share_of(item.health, at, limits.share_max)
            if not item.health.is_broken(at):
                self._buckets.take(item.endpoint, 1, at_s)
            self._start(item, endpoints.get(item.endpoint), at_s)
        return len(seen) == places or len(claimed) < len(chosen)

    def _full(self, at_s: float) -> set[EndpointKey]:
        """The endpoints that get nothing more now: no room, or no token."""
        full = {key for key, count in self._in_flight.items() if not self._has_room(count, self._shares[key])}
        return full | {key for key in self._crowded_since_s if self._buckets.tokens(key, at_s) < 1}

    async def _note_crowded(self, crowded: set[EndpointKey], at: datetime, at_s: float) -> None:
        """What waits for endpoints that have long been crowded is the keeper's."""
        since_s = {key: self._crowded_since_s.get(key, at_s) for key in crowded}
        long = [key for key, key_since_s in since_s.items() if at_s - key_since_s >= CROWDED_S]
        if long:
            await queue.ask_keeper(self._database, long, at=at)
        self._crowded_since_s = since_s | dict.fromkeys(long, at_s)

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
        count, share = self._in_flight[key], self._shares[key]
        if not count:
            del self._in_flight[key], self._shares[key]  # endpoints come and go; the counts must not grow with them
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a delivery's lease is left to run out: %s", type(error).__name__, exc_info=error)
        room = self._has_room(count, share) and self._has_room(self._in_flight.total(), self._limits.in_flight_max)
        if self._waiting_for_room and room:
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
        if claimed.health.is_broken(started_at):
            verdict, spared = spare(claimed, endpoint.schedule, at=started_at, chance=self._chance())
            await self._write_down(Result(claimed, verdict, started_at, spared), claimed_s)
            return
        exchange = await self._send(claimed, endpoint, started_at)
        at = self._clock.now()
        duration_s = self._clock.monotonic_s() - started_s
        DELIVERY_SECONDS.observe(duration_s)
        attempt = tried(exchange, started_at=started_at, duration_s=duration_s)
        verdict = judge(exchange, endpoint.schedule, tries=claimed.tries + 1, at=at, chance=self._chance())
        self._tell(claimed, attempt, verdict)
        told = outcome(exchange, started_at=started_at, at=at)
        await self._write_down(Result(claimed, verdict, at, attempt, told), claimed_s)

    def _chance(self) -> float:
        return self._entropy.uniform(0.0, 1.0)

    def _lease_covers_a_try(self, claimed_s: float) -> bool:
        """After a long pause of this process (swapped out, suspended) somebody else may be sending it by now."""
        return self._clock.monotonic_s() - claimed_s <= self._limits.lease_s - self._limits.deadline_s

    async def _send(self, claimed: Claimed, endpoint: Endpoint, at: datetime) -> Exchange:
        """Each try is a step of the trace in which the delivery was made, however long ago that is."""
        with self._tracer.span("send webhook", "producer", read(claimed.trace)) as span:
            exchange = await self._exchange(claimed, endpoint, at, span)
            if span.stored is not None:
                span.note(event_id=claimed.message, delivery_id=claimed.id, endpoint_id=claimed.endpoint.id)
                span.note(tries=claimed.tries, **self._about(claimed.body or b""))
                if isinstance(exchange, Answered):
                    span.answered(exchange.status)
                else:
                    span.fail(exchange.reason)
            return exchange

    async def _exchange(self, claimed: Claimed, endpoint: Endpoint, at: datetime, span: Span) -> Exchange:
        trace = span.context.header if span.context is not None else None
        request = prepare(claimed, endpoint, self._limits, at=at, trace=trace)
        if not isinstance(request, HttpRequest):
            log.error("delivery %s cannot be sent: %s", claimed.id, request.reason, extra=self._ids(claimed))
            return request
        try:
            return await self._http.send(request)
        except Exception:
            log.exception("sending delivery %s failed", claimed.id, extra=self._ids(claimed))
            return NotSent(BROKEN)

    def _ids(self, claimed: Claimed) -> dict[str, str]:
        """What a line about a delivery is about."""
        ids = {"event_id": claimed.message, "delivery_id": claimed.id, "endpoint_id": claimed.endpoint.id}
        return {**ids, **self._about(claimed.body or b"")}

    def _tell(self, claimed: Claimed, attempt: Try, verdict: Verdict) -> None:
        if verdict.reason is not None and log.isEnabledFor(logging.INFO):
            log.info(
                "delivery %s of %s to %s, try %d: %s, now %s",
                claimed.id,
                claimed.message,
                claimed.endpoint.id,
                claimed.tries + 1,
                attempt.reason,
                verdict.state,
                extra=self._ids(claimed),
            )

    async def _write_down(self, result: Result, claimed_s: float) -> None:
        """Record a result; while the database is away, or others are at the same rows, for as long as the lease lasts:
        it means nothing afterwards."""
        while True:
            try:
                counted = await self._results.submit(result)
            except (DatabaseUnavailable, SerializationFailed):
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
        """Write results down, many in one commit, together with what they told of their endpoints."""
        if len(results) < GATHERED and len(self._under_way) > len(results):
            await self._clock.sleep(GATHER_S)  # what comes meanwhile is the next batch, and it will be a larger one
        if not any(result.is_news or result.verdict.state in (DEAD, HELD) for result in results):
            counted = await queue.record(self._database, results)
        else:
            async with self._database.transaction() as tx:
                counted = await queue.record(tx, results)
                written = [result for result in results if _id(result) in counted]
                await alerting.raise_alerts(tx, written)
                await self._learn(tx, written)
        _count([result for result in results if _id(result) in counted])
        return [_id(result) in counted for result in results]

    async def _learn(self, tx: Transaction, results: Sequence[Result]) -> None:
        """What was told of endpoints: those of a 410 are disabled, and all have their health."""
        at = self._clock.now()
        gone = {result.claimed.endpoint for result in results if result.verdict.gone}
        if gone:
            await self._endpoints.disable(tx, gone, at=at)
            await keeper.hold(tx, gone, at=at)
        held = {result.claimed.endpoint for result in results if result.verdict.state == HELD} - gone
        if held:  # it was found disabled when it was claimed, and may have been enabled since
            await queue.ask_keeper(tx, held, at=at)
        told: dict[EndpointKey, list[health.Outcome]] = {
            result.claimed.endpoint: [] for result in results if result.is_news
        }
        for result in results:
            if result.claimed.endpoint in told and result.outcome is not None:
                told[result.claimed.endpoint].append(result.outcome)
        if told:
            await self._judge_health(tx, told, at)

    async def _judge_health(
        self, tx: Transaction, told: Mapping[EndpointKey, Sequence[health.Outcome]], at: datetime
    ) -> None:
        before = await queue.lock_health(tx, told)
        after: dict[EndpointKey, health.Health] = {}
        for key in sorted(told):
            outcomes = sorted(told[key], key=lambda each: each.started_at)
            share_max, chance = self._limits.share_max, self._chance()
            after[key] = health.learn(before.get(key, health.WELL), outcomes, at=at, chance=chance, share_max=share_max)
            if after[key].is_broken(at) and after[key].backed_off_at == at:
                log.warning("endpoint %s fails again and again, left alone until %s", key.id, after[key].broken_until)
        await queue.save_health(tx, after, at=at)

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


def _count(written: Sequence[Result]) -> None:
    for state, tries in Counter(result.verdict.state for result in written).items():
        DELIVERIES.labels("failed" if state == DUE else state).inc(tries)
    for result in written:
        if result.verdict.state == DEAD and result.verdict.reason != ENDPOINT_DELETED:  # that is no news
            DEAD_LETTERS.labels("ours" if result.verdict.reason in OUR_FAULTS else "endpoint").inc()


def _id(result: Result) -> tuple[str, str]:
    return result.claimed.owner_id, result.claimed.id
