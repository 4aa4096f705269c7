"""Payments that begin, as the parameters of the one statement that opens them. Pure but for the ids of what is told.

Nothing of a payment that begins is locked or loaded, and nothing is asked of the acquirer: it needs no transaction of
many statements. The one compares what it goes by, the lease of each call and the endpoints that hear of it, and leaves
out what does not hold (`open_payments` in statements.sql).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from tallystick.gateway.payments.payment import Payment
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.webhooks.events import Happening, MessageRow, compose
from tallystick.gateway.webhooks.listeners import Listener, Owner
from tallystick.kernel.columns import columns, recordset
from tallystick.kernel.delivery.states import DUE
from tallystick.kernel.identifiers import new_id
from tallystick.ports.entropy import Entropy

Opening = tuple[Payment, Happening, Call, Reply]
"""A payment, the event that tells that it was opened, the call that opens it and the answer of that."""


class Asked(Struct, frozen=True):
    """An opening as the statement reads it: the intent, its event, and the lease under which it is asked for."""

    account_id: str
    livemode: bool
    id: str
    version: int
    status: str
    amount: int
    currency: str
    capture_method: str
    client_secret: str
    checkout_session: str | None
    description: str | None
    metadata: str
    customer: str | None
    setup_future_usage: str | None
    created_at: datetime
    trace: str | None
    event: str
    request_id: str
    mode: str
    key: str | None
    generation: int | None


def parameters_of(
    openings: Sequence[Opening], listeners: Mapping[Owner, Sequence[Listener]], *, at: datetime, entropy: Entropy
) -> tuple[list[Any], bool]:
    """The statement's parameters, and whether they make webhooks due."""
    # Ids of the same millisecond are ordered at random; sorted, they tell the story in its order.
    ids = sorted(new_id("evt", at, entropy) for _ in openings)
    happenings = [happening for _, happening, _, _ in openings]
    events, messages, deliveries = compose(happenings, ids, listeners, at=at, entropy=entropy)
    owners = sorted(listeners)
    sessions = [payment.session for payment, _, _, _ in openings if payment.session is not None]
    parameters = [
        at,
        [account_id for account_id, _ in owners],
        [livemode for _, livemode in owners],
        [listener.mark for owner in owners for listener in listeners[owner]],
        recordset([_asked(payment, id, call) for (payment, _, call, _), id in zip(openings, ids, strict=True)]),
        [event.object for event in events],
        [reply.body for _, _, _, reply in openings],
        len(openings),
        recordset(sessions),
        *columns(len(MessageRow._fields), messages)[1:],  # owner and mode are those of the event
        *columns(6, [(d.id, d.message, d.api_version, d.endpoint, d.state, d.reason) for d in deliveries]),
    ]
    return parameters, any(delivery.state == DUE for delivery in deliveries)


def _asked(payment: Payment, event_id: str, call: Call) -> Asked:
    intent, claim = payment.intent, call.claim
    return Asked(
        intent.account_id,
        intent.livemode,
        intent.id,
        intent.version,
        intent.status,
        intent.amount,
        intent.currency,
        intent.capture_method,
        intent.client_secret,
        intent.checkout_session,
        intent.description,
        intent.metadata,
        intent.customer,
        intent.setup_future_usage,
        intent.created_at,
        intent.trace,
        event_id,
        call.request_id,
        call.caller.mode,
        call.idempotency_key,
        claim.generation if claim is not None else None,
    )
