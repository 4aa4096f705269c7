"""Taking webhooks in: inbox row, merged facts and timeline in one commit, many webhooks to a commit (RULES §7).

    receive (one statement, in key order) → orders/apply → commit → 200

An event that fits no order is parked, one that says nothing about orders is ignored, one that cannot be applied is
stored as failed; all three keep their bytes. A batch that the database refuses is split until the culprit is alone, so
its neighbours are committed and answered as if it had not been there.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from tallystick.kernel.batching import Batcher, QueueFull
from tallystick.kernel.columns import recordset
from tallystick.merchant.gateways.port import EventRead
from tallystick.merchant.orders import apply
from tallystick.merchant.orders.learning import Learnt
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseUnavailable, SerializationFailed, Statements, Transaction

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

BATCH_ITEMS_MAX: Final = 256  # beyond it a commit gets slower and no cheaper per webhook
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024  # 64 of the largest bodies; bounds one statement's memory
BATCHES_IN_FLIGHT_MAX: Final = 2  # one is prepared while the other is committed
QUEUED_MAX: Final = 2_000  # at 64 KiB each 128 MiB; at our rate a fraction of a second of waiting
FIRST_RETRY_S: Final = 1.0  # when parked and failed webhooks are looked at again for the first time (RULES §7)

InboxState = Literal["applied", "parked", "failed", "ignored"]


class EventKey(NamedTuple):
    """What makes a webhook the same one as before."""

    merchant_id: str
    connection_id: str
    event_id: str


class Webhook(Struct, frozen=True):
    """A webhook that was verified: whose it is, its bytes, and what they say."""

    merchant_id: str
    connection_id: str
    raw: bytes
    event: EventRead

    @property
    def key(self) -> EventKey:
        return EventKey(self.merchant_id, self.connection_id, self.event.event_id)


class _Received(Struct, frozen=True):
    """A row of the inbox as `receive` takes it; its bytes stand at `place` of another parameter, counted from 1."""

    merchant_id: str
    connection_id: str
    event_id: str
    type: str
    order_id: str | None
    state: InboxState
    error: str | None
    due_at: datetime | None
    place: int


class Intake:
    """Where verified webhooks are handed in. Concurrent ones share a commit."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._batches: Batcher[Webhook, None] = Batcher(
            self._take_in,
            items_max=BATCH_ITEMS_MAX,
            in_flight_max=BATCHES_IN_FLIGHT_MAX,
            queued_max=QUEUED_MAX,
            weigh=lambda webhook: len(webhook.raw),
            weight_max=BATCH_BYTES_MAX,
        )

    async def take_in(self, webhook: Webhook) -> None:
        """Returns once the webhook is committed, whatever became of it.

        Raises QueueFull, DatabaseUnavailable, SerializationFailed: it is not stored and should be sent again.
        """
        try:
            await self._batches.submit(webhook)
        except (QueueFull, DatabaseUnavailable, SerializationFailed):
            raise
        except Exception as error:  # poison can be anything; it ends here, alone, with its name
            log.error("webhook could not be applied: event %s, %s", webhook.event.event_id, type(error).__name__)
            await self._store_failed(webhook, type(error).__name__)

    async def _take_in(self, webhooks: Sequence[Webhook]) -> Sequence[None]:
        async with self._database.transaction() as tx:
            await take_in(tx, webhooks, self._clock.now())
        return [None] * len(webhooks)

    async def _store_failed(self, webhook: Webhook, error: str) -> None:
        at = self._clock.now()
        async with self._database.transaction() as tx:
            await _receive(tx, [webhook], at, error=error)


async def take_in(tx: Transaction, webhooks: Sequence[Webhook], at: datetime) -> None:
    """Store the webhooks that are new and merge what they tell; in the caller's transaction."""
    unique = {webhook.key: webhook for webhook in webhooks}
    fresh = await _receive(tx, list(unique.values()), at)
    told = [webhook for webhook in fresh if webhook.event.facts and webhook.event.error is None]
    learnt, strays = await _learnt(tx, told)
    applied = await apply.apply_facts(tx, learnt, at)
    strays |= {EventKey(each.merchant_id, str(each.connection_id), str(each.reference)) for each in applied.unknown}
    if strays:
        keys = sorted(strays)
        await tx.execute(SQL.park, at + timedelta(seconds=FIRST_RETRY_S), *map(list, zip(*keys, strict=True)))


async def _receive(
    tx: Transaction, webhooks: Sequence[Webhook], at: datetime, error: str | None = None
) -> Sequence[Webhook]:
    """Store webhooks, as failed where `error` says so, and give those that were not stored before."""
    again_at = at + timedelta(seconds=FIRST_RETRY_S)
    received = [_received(webhook, error, again_at, place) for place, webhook in enumerate(webhooks, start=1)]
    rows = await tx.rows(SQL.receive, at, recordset(received), [webhook.raw for webhook in webhooks])
    if len(rows) == len(webhooks):
        return webhooks
    fresh = {EventKey(row["merchant_id"], row["connection_id"], row["event_id"]) for row in rows}
    return [webhook for webhook in webhooks if webhook.key in fresh]


def _received(webhook: Webhook, error: str | None, again_at: datetime, place: int) -> _Received:
    event = webhook.event
    reason = error or event.error
    return _Received(
        *webhook.key,
        type=event.type,
        order_id=event.order_id,
        state="failed" if reason else "applied" if event.facts else "ignored",
        error=reason,
        due_at=again_at if reason else None,
        place=place,
    )


async def _learnt(tx: Transaction, webhooks: Sequence[Webhook]) -> tuple[list[Learnt], set[EventKey]]:
    """The facts of webhooks with the order and attempt each is about; and those webhooks that name none we know."""
    known = await _named_by_intent(tx, [webhook for webhook in webhooks if webhook.event.attempt is None])
    learnt: list[Learnt] = []
    strays: set[EventKey] = set()
    for webhook in webhooks:
        event = webhook.event
        if event.order_id is not None and event.attempt is not None:
            about: tuple[str, int] | None = (event.order_id, event.attempt)
        else:
            about = known.get((webhook.merchant_id, webhook.connection_id, event.intent or ""))
        if about is None:
            strays.add(webhook.key)
            continue
        learnt += [
            Learnt(
                merchant_id=webhook.merchant_id,
                order_id=about[0],
                attempt=about[1],
                fact=fact,
                source="webhook",
                reference=event.event_id,
                connection_id=webhook.connection_id,
            )
            for fact in event.facts
        ]
    return learnt, strays


async def _named_by_intent(tx: Transaction, webhooks: Sequence[Webhook]) -> dict[tuple[str, str, str], tuple[str, int]]:
    """Order and attempt of payment intents: events about refunds and disputes carry no reference of ours."""
    wanted = {(w.merchant_id, w.connection_id, w.event.intent) for w in webhooks if w.event.intent}
    if not wanted:
        return {}
    rows = await tx.rows(apply.SQL.attempts_of_intents, *map(list, zip(*sorted(wanted), strict=True)))
    return {
        (row["merchant_id"], row["connection_id"], row["payment_intent"]): (row["order_id"], row["number"])
        for row in rows
    }
