"""Webhooks that came to nothing at first: matched again by schedule, run again by hand (RULES §7).

A webhook may overtake the answer that tells us of what it is about, so what fits no order is parked and matched again.
In the end it is a case: money may have moved for nobody. One that could not be applied is tried by the same schedule,
since most faults pass, and stays runnable, with its error, as an inbound dead letter.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.gateways.port import EventMalformed, Gateway
from tallystick.merchant.intake.commands import (
    FIRST_RETRY_S,
    SQL,
    EventKey,
    Webhook,
    about_of,
    learnt_from,
    named_by_intent,
)
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.learning import Learnt
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.orders.rows import InboxState
from tallystick.ports.clock import Clock
from tallystick.ports.database import (
    Database,
    DatabaseUnavailable,
    Record,
    SerializationFailed,
    Transaction,
)
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

RETRIES_S: Final = (FIRST_RETRY_S, 5.0, 30.0, 300.0, 3600.0)  # RULES §7; the first is set by who took it in
CLAIMED_MAX: Final = 100  # webhooks tried again in one commit
LEASE_S: Final = 60.0  # no call to the outside is made, so a minute is long
PAUSE_S: Final = 0.5  # between two looks when nothing was due


class Held(Struct, frozen=True):
    """A webhook of the inbox that this worker holds."""

    key: EventKey
    generation: int
    tries: int
    gateway: str
    raw: bytes
    trace: str | None = None


class Settled(Struct, frozen=True):
    """What became of it; where it fits no order, `subject` names the payment and `order_id` the order that it names."""

    held: Held
    state: InboxState
    error: str | None
    subject: str
    type: str = ""
    order_id: str | None = None


class InboxWorker:
    """Tries webhooks again until it is cancelled. Any number of workers may run."""

    def __init__(
        self, database: Database, gateways: Mapping[str, Gateway], clock: Clock, entropy: Entropy, outbox: Outbox
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._gateways = gateways
        self._clock = clock
        self._entropy = entropy

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        await looking.run(
            self.run_once, self._clock, log, "webhooks wait to be tried again", pause_s=PAUSE_S, drains=True
        )

    async def run_once(self) -> int:
        """Try one batch of what is due again; how many webhooks that was."""
        at = self._clock.now()
        rows = await self._database.rows(SQL.due_webhooks, at, CLAIMED_MAX)
        held = await self._take([(*_key(row), row["generation"]) for row in rows], at)
        await self._try_all(held, at)
        return len(rows)

    async def run_now(self, key: EventKey) -> bool:
        """Try one webhook again, whenever it is due; False where there is none that came to nothing, or where somebody
        else takes it at the same moment. A worker that holds it loses it: what both learn of it is merged once."""
        at = self._clock.now()
        rows = await self._database.rows(SQL.find_webhook, *key)
        held = await self._take([(*key, rows[0]["generation"])], at) if rows else []
        await self._try_all(held, at)
        return bool(held)

    async def _take(self, seen: Sequence[tuple[str, str, str, int]], at: datetime) -> list[Held]:
        if not seen:
            return []
        try:
            rows = await self._database.rows(
                SQL.take_webhooks, at + timedelta(seconds=LEASE_S), *columns(4, sorted(seen))
            )
        except SerializationFailed:  # another worker was after the same rows
            return []
        taken = [
            Held(_key(row), row["generation"], row["tries"], row["gateway"], bytes(row["raw"]), row["trace"])
            for row in rows
        ]
        return sorted(taken, key=lambda held: held.key)

    async def _try_all(self, held: Sequence[Held], at: datetime) -> None:
        """All in one commit; where that fails, each in its own, so that the culprit is alone."""
        try:
            await self._try(held, at)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # poison can be anything; it ends here, alone, with its name
            if len(held) > 1:
                for each in held:
                    await self._try_all([each], at)
                return
            event_id = held[0].key.event_id
            log.error(
                "webhook could not be applied: event %s, %s",
                event_id,
                type(error).__name__,
                extra={"event_id": event_id},
            )
            await self._settle(self._database, [Settled(held[0], "failed", type(error).__name__, "")], at)

    async def _try(self, held: Sequence[Held], at: datetime) -> None:
        if not held:
            return
        read, settled = self._read(held)
        named = await named_by_intent(self._database, [webhook for _, webhook in read])
        learnt = {
            webhook.key: learnt_from(webhook, about_of(webhook, named))
            for _, webhook in read
            if not webhook.event.error
        }
        async with self._database.transaction() as tx:
            applied = await apply_facts(tx, [each for facts in learnt.values() for each in facts], at, self._outbox)
            unknown = {id(each) for each in applied.unknown}
            settled += [_settled(each, webhook, learnt.get(webhook.key, ()), unknown) for each, webhook in read]
            await self._settle(tx, settled, at)

    def _read(self, held: Sequence[Held]) -> tuple[list[tuple[Held, Webhook]], list[Settled]]:
        """What they say, and those that say nothing that this version can read."""
        read, unreadable = [], []
        for each in held:
            try:
                event = self._gateways[each.gateway].read_event(each.raw)
            except EventMalformed as malformed:
                unreadable.append(Settled(each, "failed", str(malformed), ""))
            else:
                read.append((each, Webhook(each.key.merchant_id, each.key.connection_id, each.raw, event, each.trace)))
        return read, unreadable

    async def _settle(self, tx: Transaction | Database, settled: Sequence[Settled], at: datetime) -> None:
        rows = [(*each.held.key, each.held.generation, each.state, each.error, _again_at(each, at)) for each in settled]
        await tx.execute(SQL.settle_webhooks, *columns(7, rows))
        given_up = [each for each in settled if each.state == "parked" and _again_at(each, at) is None]
        await open_cases(tx, [_case(each) for each in given_up], at, self._entropy)


def _settled(held: Held, webhook: Webhook, learnt: Sequence[Learnt], unknown: set[int]) -> Settled:
    event = webhook.event
    subject = event.intent or event.order_id or event.event_id
    if event.error is not None:
        return Settled(held, "failed", event.error, subject, event.type)
    if not event.facts:
        return Settled(held, "ignored", None, subject, event.type)
    known = bool(learnt) and not any(id(each) in unknown for each in learnt)
    return Settled(held, "applied" if known else "parked", None, subject, event.type, event.order_id)


def _case(settled: Settled) -> Found:
    """One for each payment, however many webhooks tell of it."""
    key = settled.held.key
    details = {"connection": key.connection_id, "event": key.event_id, "type": settled.type}
    if settled.order_id is not None:
        details["order"] = settled.order_id
    return Found(key.merchant_id, "webhook_unmatched", f"{key.connection_id}:{settled.subject}", details=details)


def _again_at(settled: Settled, at: datetime) -> datetime | None:
    """When to try once more; None when it is done, or its tries are used up."""
    tries = settled.held.tries
    if settled.state not in ("parked", "failed") or tries >= len(RETRIES_S):
        return None
    return at + timedelta(seconds=RETRIES_S[tries])


def _key(row: Record) -> EventKey:
    return EventKey(row["merchant_id"], row["connection_id"], row["event_id"])
