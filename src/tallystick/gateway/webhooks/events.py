"""Events: what happened is told in the transaction in which it happened (RULES §6).

    endpoints concerned (one statement) → rows and bodies (pure) → event, message and delivery rows (one statement)

A body is serialised once for each API version of the endpoints concerned and stored as bytes: what is sent is what was
signed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from tallystick.gateway.stripe_wire import webhook_objects
from tallystick.gateway.webhooks.listeners import SQL, Listener, Owner, listeners_of
from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.protocol import EndpointKey
from tallystick.kernel.delivery.queue import ask_keeper
from tallystick.kernel.delivery.states import DUE, ENDPOINT_DISABLED, HELD
from tallystick.kernel.identifiers import new_id
from tallystick.ports.database import Transaction
from tallystick.ports.entropy import Entropy


class Happening(Struct, frozen=True):
    """Something that happened to an object of an account.

    `object` is the object as it now is, in the wire's shape; `previous` the attributes that changed, as they were, on
    `*.updated` events; `request_id` and `idempotency_key` are those of the call that caused it, None when it happened
    by itself; `trace` is the step in which it happened, where somebody follows that.
    """

    account_id: str
    livemode: bool
    type: str
    object_id: str
    object: dict[str, Any]
    previous: Mapping[str, Any] | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    trace: str | None = None


class EventRow(NamedTuple):
    """A row of `event` but for its time; `object` and `previous` are JSON texts."""

    account_id: str
    livemode: bool
    id: str
    type: str
    object_id: str
    object: str
    previous: str | None
    request_id: str | None
    idempotency_key: str | None
    trace: str | None


class MessageRow(NamedTuple):
    """A row of `message`: the bytes that are signed and sent to endpoints of one API version."""

    owner_id: str
    id: str
    api_version: str
    body: bytes


class DeliveryRow(NamedTuple):
    """A new row of `delivery`, due at once or held because its endpoint is disabled."""

    owner_id: str
    id: str
    livemode: bool
    message: str
    api_version: str
    endpoint: str
    state: str
    reason: str | None
    trace: str | None


class Recorded(NamedTuple):
    """The ids of the events, ascending in the order of what happened, and whether there is anything to deliver."""

    ids: list[str]
    due: bool


async def record(tx: Transaction, happenings: Sequence[Happening], *, at: datetime, entropy: Entropy) -> Recorded:
    """Write events, message bodies and deliveries of `happenings` into the caller's transaction.

    Two round trips, however many happenings and accounts; three where an endpoint is disabled. Where something is due,
    the caller wakes the dispatcher after its commit.
    """
    if not happenings:
        return Recorded([], due=False)
    listeners = await listeners_of(tx, {(happening.account_id, happening.livemode) for happening in happenings})
    # Ids of the same millisecond are ordered at random; sorted, they tell the story in its order.
    ids = sorted(new_id("evt", at, entropy) for _ in happenings)
    events, messages, deliveries = compose(happenings, ids, listeners, at=at, entropy=entropy)
    await tx.execute(
        SQL.record_events,
        at,
        *columns(len(EventRow._fields), events),
        *columns(len(MessageRow._fields), messages),
        *columns(len(DeliveryRow._fields), deliveries),
    )
    # The keeper looks whether the endpoint is still disabled: it may be enabled by a commit that we did not see.
    held = {EndpointKey(row.owner_id, row.livemode, row.endpoint) for row in deliveries if row.state == HELD}
    if held:
        await ask_keeper(tx, held, at=at)
    return Recorded(ids, due=any(delivery.state == DUE for delivery in deliveries))


def compose(
    happenings: Sequence[Happening],
    ids: Sequence[str],
    listeners: Mapping[Owner, Sequence[Listener]],
    *,
    at: datetime,
    entropy: Entropy,
) -> tuple[list[EventRow], list[MessageRow], list[DeliveryRow]]:
    """The rows that `happenings` make. Pure but for the deliveries' ids."""
    events: list[EventRow] = []
    messages: list[MessageRow] = []
    deliveries: list[DeliveryRow] = []
    for id, happening in zip(ids, happenings, strict=True):
        owner = (happening.account_id, happening.livemode)
        event = _event_row(id, happening)
        concerned = [listener for listener in listeners.get(owner, ()) if listener.wants(happening.type)]
        events.append(event)
        for api_version in sorted({listener.api_version for listener in concerned}):
            body = event_body(event, api_version, pending_webhooks=len(concerned), at=at)
            messages.append(MessageRow(event.account_id, id, api_version, body))
        for listener in concerned:
            state, reason = (DUE, None) if listener.enabled else (HELD, ENDPOINT_DISABLED)
            deliveries.append(
                DeliveryRow(
                    owner_id=event.account_id,
                    id=new_id("dlv", at, entropy),
                    livemode=event.livemode,
                    message=id,
                    api_version=listener.api_version,
                    endpoint=listener.id,
                    state=state,
                    reason=reason,
                    trace=event.trace,
                )
            )
    return events, messages, deliveries


def event_body(event: EventRow, api_version: str, *, pending_webhooks: int, at: datetime) -> bytes:
    """The event as it is sent, Stripe's event object."""
    return msgspec.json.encode(
        webhook_objects.event(
            id=event.id,
            livemode=event.livemode,
            type=event.type,
            object=event.object,
            created_at=at,
            previous=event.previous,
            request_id=event.request_id,
            idempotency_key=event.idempotency_key,
            pending_webhooks=pending_webhooks,
            api_version=api_version,
        )
    )


def _event_row(id: str, happening: Happening) -> EventRow:
    previous = None if happening.previous is None else msgspec.json.encode(happening.previous).decode()
    return EventRow(
        happening.account_id,
        happening.livemode,
        id,
        happening.type,
        happening.object_id,
        msgspec.json.encode(happening.object).decode(),
        previous,
        happening.request_id,
        happening.idempotency_key,
        happening.trace,
    )
