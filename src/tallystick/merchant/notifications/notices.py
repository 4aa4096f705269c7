"""Notifications are written in the commit of the change that they tell, as the bytes that will be signed (RULES §6)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.protocol import EndpointKey
from tallystick.kernel.delivery.queue import ask_keeper
from tallystick.kernel.delivery.states import DUE, ENDPOINT_DISABLED, HELD
from tallystick.kernel.identifiers import new_id
from tallystick.merchant.notifications.events import EventType
from tallystick.merchant.notifications.listeners import SQL, Listener
from tallystick.merchant.orders.learning import OrderKey
from tallystick.merchant.orders.view import OrderView
from tallystick.ports.database import Transaction
from tallystick.ports.entropy import Entropy

API_VERSION: Final = "1"  # of the body's shape
EVENT_PREFIX: Final = "evt"
DELIVERY_PREFIX: Final = "dlv"
LIVEMODE: Final = True  # the merchant service knows one mode


class Notice(NamedTuple):
    """An event of an order that somebody wants to hear of. `trace` is the step that led to it."""

    key: OrderKey
    type: EventType
    trace: str | None = None


class _Data(Struct, frozen=True):
    order: OrderView


class Notification(Struct, frozen=True):
    """What is sent: the order as it was when the event happened."""

    id: str
    type: EventType
    created_at: datetime
    data: _Data


async def insert_notices(
    tx: Transaction,
    notices: Sequence[Notice],
    orders: Mapping[OrderKey, OrderView],
    listeners: Mapping[str, Sequence[Listener]],
    *,
    at: datetime,
    entropy: Entropy,
) -> None:
    """Write messages and deliveries of `notices` into the caller's transaction."""
    messages, deliveries = [], []
    for key, type, trace in notices:
        owner, id = key.merchant_id, new_id(EVENT_PREFIX, at, entropy)
        body = msgspec.json.encode(Notification(id, type, at, _Data(orders[key])))
        messages.append((owner, id, API_VERSION, body))
        for listener in listeners[owner]:
            if listener.wants(type):
                state, reason = (DUE, None) if listener.enabled else (HELD, ENDPOINT_DISABLED)
                delivery = new_id(DELIVERY_PREFIX, at, entropy)
                deliveries.append((owner, delivery, id, API_VERSION, listener.endpoint_id, state, reason, trace))
    await tx.execute(SQL.insert_notifications, at, *columns(4, messages), *columns(8, deliveries))
    # The keeper looks whether the endpoint is still disabled: we may have known it from before it was enabled.
    held = {
        EndpointKey(owner, LIVEMODE, endpoint) for owner, _, _, _, endpoint, state, _, _ in deliveries if state == HELD
    }
    if held:
        await ask_keeper(tx, held, at=at)
