"""Taking webhooks in: inbox row, merged facts and timeline in one commit, many webhooks to a commit (RULES §7).

    look up (one statement, no locks) → decide (pure) → save (one statement, one commit) → 200

An order that changes between look-up and save is left out by `save`; its webhooks go round again. An event that fits no
order is parked, one that says nothing about orders is ignored, one that cannot be applied is stored as failed; all
three keep their bytes. A batch that the database refuses is split until the culprit is alone, so its neighbours are
committed and answered as if it had not been there.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import Struct

from tallystick.kernel.batching import Batcher, QueueFull
from tallystick.kernel.columns import columns, recordset
from tallystick.kernel.identifiers import is_id
from tallystick.merchant.gateways.port import EventRead
from tallystick.merchant.orders.apply import SQL as ORDERS
from tallystick.merchant.orders.apply import decide_batch, loaded, save
from tallystick.merchant.orders.learning import Change, Learnt, LoadedOrder, OrderKey
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.orders.rows import InboxState, WebhookRow
from tallystick.merchant.orders.telling import tell
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseUnavailable, SerializationFailed, Statements
from tallystick.ports.metrics import PAID_AFTER_SECONDS

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

BATCH_ITEMS_MAX: Final = 256  # beyond it a commit gets slower and no cheaper per webhook
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024  # 64 of the largest bodies; bounds one statement's memory
BATCHES_IN_FLIGHT_MAX: Final = 2  # one is prepared while the other is committed
BESIDE_ITEMS_MIN: Final = 6  # below it a second batch costs more than the waiting; one that is alone starts at once
SHARE_ITEMS_MIN: Final = 6  # of many that wait two batches are made, one decided while the other is committed
QUEUED_MAX: Final = 2_000  # at 64 KiB each 128 MiB; at our rate a fraction of a second of waiting
FIRST_RETRY_S: Final = 1.0  # when parked and failed webhooks are looked at again for the first time (RULES §7)
ROUNDS_MAX: Final = 20  # for a batch whose orders others change at the same time; each round saves all but those


class EventKey(NamedTuple):
    """What makes a webhook the same one as before."""

    merchant_id: str
    connection_id: str
    event_id: str


class Webhook(Struct, frozen=True):
    """A webhook that was verified: whose it is, its bytes, and what they say. `trace` is the step that takes it in,
    where somebody follows that."""

    merchant_id: str
    connection_id: str
    raw: bytes
    event: EventRead
    trace: str | None = None

    @property
    def key(self) -> EventKey:
        return EventKey(self.merchant_id, self.connection_id, self.event.event_id)


class _Wanted(Struct, frozen=True):
    """A webhook as `look_up` takes it."""

    place: int
    merchant_id: str
    connection_id: str
    event_id: str
    order_id: str | None


class _Seen(Struct, frozen=True):
    """A webhook that was not stored before, and what it is about, as far as that is known."""

    webhook: Webhook
    learnt: tuple[Learnt, ...]


class Intake:
    """Where verified webhooks are handed in. Concurrent ones share a commit."""

    def __init__(self, database: Database, clock: Clock, outbox: Outbox) -> None:
        self._database = database
        self._clock = clock
        self._outbox = outbox
        self._batches: Batcher[Webhook, None] = Batcher(
            self._take_in,
            items_max=BATCH_ITEMS_MAX,
            in_flight_max=BATCHES_IN_FLIGHT_MAX,
            beside_items_min=BESIDE_ITEMS_MIN,
            share_items_min=SHARE_ITEMS_MIN,
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
        except Exception as error:
            await self.take_in_failed(webhook, error)

    def begin(self, webhook: Webhook) -> "asyncio.Future[None]":
        """As `take_in`, for callers that have no task to wait in: an error that the future ends with is for
        `take_in_failed`. Raises QueueFull.
        """
        return self._batches.put(webhook)

    async def take_in_failed(self, webhook: Webhook, error: BaseException) -> None:
        """Store a webhook that could not be applied for this error, or raise the error where it says that the webhook
        should be sent again. Poison can be anything; it ends here, alone, with its name.
        """
        if isinstance(error, QueueFull | DatabaseUnavailable | SerializationFailed):
            raise error
        ids = subjects_of(webhook)
        log.error("webhook could not be applied: event %s, %s", ids["event_id"], type(error).__name__, extra=ids)
        await self._store_failed(webhook, type(error).__name__)

    async def _take_in(self, webhooks: Sequence[Webhook]) -> Sequence[None]:
        await take_in(self._database, webhooks, self._clock.now(), self._outbox)
        return [None] * len(webhooks)

    async def _store_failed(self, webhook: Webhook, error: str) -> None:
        at = self._clock.now()
        await save(self._database, (), at, [_row(webhook, 1, None, "failed", at, error)], [webhook.raw])


async def take_in(database: Database, webhooks: Sequence[Webhook], at: datetime, outbox: Outbox) -> None:
    """Store the webhooks that are new and merge what they tell. What is stored is committed, also where this raises.

    Raises SerializationFailed when the orders of some changed again and again.
    """
    left = list({webhook.key: webhook for webhook in webhooks}.values())
    for _ in range(ROUNDS_MAX):
        left = await _round(database, left, at, outbox)
        if not left:
            return
    raise SerializationFailed("orders of webhooks keep changing")


async def _round(database: Database, webhooks: Sequence[Webhook], at: datetime, outbox: Outbox) -> list[Webhook]:
    """Store what can be stored now; gives the webhooks whose order changed meanwhile."""
    named = await named_by_intent(database, webhooks)
    seen, orders = await _look_up(database, webhooks, named)
    applied = decide_batch(orders, [learnt for each in seen for learnt in each.learnt])
    changed = {change.key: place for place, change in enumerate(applied.changes)}
    unknown = {id(learnt) for learnt in applied.unknown}
    rows = []
    for place, each in enumerate(seen, start=1):
        known = bool(each.learnt) and id(each.learnt[0]) not in unknown
        order_place = changed.get(_order_of(each)) if known else None
        rows.append(_row(each.webhook, place, order_place, _state(each.webhook.event, known), at))
    raws = [each.webhook.raw for each in seen]
    following = await outbox.following(database, applied.changes)
    if following:
        async with database.transaction() as tx:
            saved = await save(tx, applied.changes, at, rows, raws)
            await outbox.store(tx, [each for each in following if each.key in saved], at)
    else:
        saved = await save(database, applied.changes, at, rows, raws)
    done = [change for change in applied.changes if change.key in saved]
    _observe(seen, done, at)
    tell(done)
    if len(saved) == len(applied.changes):
        return []
    return [each.webhook for each in seen if each.learnt and (key := _order_of(each)) in changed and key not in saved]


def _observe(seen: Sequence[_Seen], changes: Sequence[Change], at: datetime) -> None:
    """How long after the gateway's success orders became PAID; events tell their time in seconds."""
    paid = {change.key for change in changes if change.standing.state == "PAID" != change.state_before}
    if not paid:
        return
    for each in seen:
        if each.learnt and _order_of(each) in paid:
            PAID_AFTER_SECONDS.observe(max(0.0, at.timestamp() - each.webhook.event.created))


async def _look_up(
    database: Database, webhooks: Sequence[Webhook], named: Mapping[EventKey, tuple[str, int]]
) -> tuple[list[_Seen], dict[OrderKey, LoadedOrder]]:
    """The webhooks that were not stored before, and the orders they are about."""
    abouts = [about_of(webhook, named) for webhook in webhooks]
    wanted = [
        _Wanted(place, *webhook.key, about[0] if about else None)
        for place, (webhook, about) in enumerate(zip(webhooks, abouts, strict=True))
    ]
    rows = await database.rows(SQL.look_up, recordset(wanted))
    seen: list[_Seen] = []
    orders: dict[OrderKey, LoadedOrder] = {}
    for webhook, about, row in zip(webhooks, abouts, rows, strict=True):
        if row["known"]:
            continue
        seen.append(_Seen(webhook, learnt_from(webhook, about)))
        if row["order_id"] is not None:
            order = loaded(row)
            orders[order.key] = order
    return seen, orders


def about_of(webhook: Webhook, named: Mapping[EventKey, tuple[str, int]]) -> tuple[str, int] | None:
    """The order and attempt that a webhook with facts names, by our reference or by its payment."""
    event = webhook.event
    if not event.facts or event.error is not None:
        return None
    if event.order_id is not None and event.attempt is not None:
        return event.order_id, event.attempt
    return named.get(webhook.key)


def subjects_of(webhook: Webhook) -> dict[str, str]:
    """The ids of what a webhook is about, under the names that log lines and spans have for them."""
    event = webhook.event
    ids = {"event_id": event.event_id, "payment_intent": event.intent}
    if event.order_id is not None and is_id(event.order_id):  # somebody else's reference may be anything
        ids["order_id"] = event.order_id
    return {name: id for name, id in ids.items() if id is not None}


def learnt_from(webhook: Webhook, about: tuple[str, int] | None) -> tuple[Learnt, ...]:
    """What a webhook tells about the order and attempt that it is about."""
    if about is None:
        return ()
    order_id, attempt = about
    return tuple(
        Learnt(
            merchant_id=webhook.merchant_id,
            order_id=order_id,
            attempt=attempt,
            fact=fact,
            source="webhook",
            reference=webhook.event.event_id,
            connection_id=webhook.connection_id,
            trace=webhook.trace,
        )
        for fact in webhook.event.facts
    )


def _order_of(seen: _Seen) -> OrderKey:
    return OrderKey(seen.learnt[0].merchant_id, seen.learnt[0].order_id)


def _state(event: EventRead, known: bool) -> InboxState:
    if event.error is not None:
        return "failed"
    if not event.facts:
        return "ignored"
    return "applied" if known else "parked"


def _row(
    webhook: Webhook, place: int, order_place: int | None, state: InboxState, at: datetime, error: str | None = None
) -> WebhookRow:
    event = webhook.event
    return WebhookRow(
        place,
        order_place,
        *webhook.key,
        type=event.type,
        order_id=event.order_id,
        state=state,
        error=error or event.error,
        due_at=at + timedelta(seconds=FIRST_RETRY_S) if state in ("parked", "failed") else None,
        trace=webhook.trace,
    )


async def named_by_intent(database: Database, webhooks: Sequence[Webhook]) -> dict[EventKey, tuple[str, int]]:
    """Order and attempt of webhooks that name a payment only: those about refunds and disputes carry no reference of
    ours."""
    asking = {
        webhook.key: (webhook.merchant_id, webhook.connection_id, webhook.event.intent)
        for webhook in webhooks
        if webhook.event.facts and webhook.event.attempt is None and webhook.event.intent is not None
    }
    if not asking:
        return {}
    wanted = columns(3, sorted(set(asking.values())))
    rows = await database.rows(ORDERS.attempts_of_intents, *wanted)
    found = {
        (row["merchant_id"], row["connection_id"], row["payment_intent"]): (row["order_id"], row["number"])
        for row in rows
    }
    return {key: found[asked] for key, asked in asking.items() if asked in found}
