"""How a batch of changes travels to `save_changes`: rows whose fields bear the names of its columns."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tallystick.merchant.orders.facts import (
    AnyFact,
    AttemptFacts,
    AttemptState,
    CloseReason,
    Facts,
    SessionOpened,
)
from tallystick.merchant.orders.learning import Change, Source
from tallystick.merchant.orders.state import Attention, Fulfilment, OrderState

InboxState = Literal["applied", "parked", "failed", "ignored"]


class WebhookRow(Struct, frozen=True, omit_defaults=True):
    """A webhook as `save_changes` stores it in the inbox. Its bytes stand at `place` of their own parameter, counted
    from 1; `order_place` is the place of the change that it depends on, None where it changes nothing."""

    place: int
    order_place: int | None
    merchant_id: str
    connection_id: str
    event_id: str
    type: str
    order_id: str | None
    state: InboxState
    error: str | None
    due_at: datetime | None
    trace: str | None = None


class OrderRow(Struct, frozen=True):
    """An order as `save_changes` takes it; what belongs to it names its `place`."""

    place: int
    merchant_id: str
    order_id: str
    version_before: int
    version: int
    facts: Facts
    state: OrderState
    fulfilment: Fulfilment
    attention: Attention | None
    late: bool
    overpaid: bool
    keeper: int | None
    released: int | None
    attempt_newest: int
    amount_captured_minor: int
    amount_refunded_minor: int


class LineRow(Struct, frozen=True):
    """A line of the timeline as `save_changes` takes it."""

    order_place: int
    number: int
    source: Source
    attempt: int
    fact: AnyFact
    state_before: OrderState
    state_after: OrderState
    reference: str | None


class AttemptRow(Struct, frozen=True):
    """An attempt as `save_changes` takes it. `close_step` is 1 when we now ask for its close."""

    order_place: int
    number: int
    state: AttemptState
    checkout_session: str | None
    payment_intent: str | None
    redirect_url: str | None
    client_secret: str | None
    close_reason: CloseReason | None
    close_step: int


def order_row(place: int, change: Change) -> OrderRow:
    """The order after the change, standing at `place` of the batch."""
    how = change.standing
    return OrderRow(
        place,
        *change.key,
        version_before=change.version,
        version=change.version + max(1, len(change.lines)),
        facts=change.facts,
        state=how.state,
        fulfilment=how.fulfilment,
        attention=how.attention,
        late=how.late,
        overpaid=how.overpaid,
        keeper=how.keeper,
        released=how.released,
        attempt_newest=how.attempt_newest,
        amount_captured_minor=how.amount_captured_minor,
        amount_refunded_minor=how.amount_refunded_minor,
    )


def line_rows(place: int, change: Change) -> list[LineRow]:
    """The change's timeline, its rows numbered on from the order's version."""
    return [
        LineRow(
            place,
            number=change.version + index,
            source=line.source,
            attempt=line.attempt,
            fact=_without_secret(line.fact),
            state_before=line.state_before,
            state_after=line.state_after,
            reference=line.reference,
        )
        for index, line in enumerate(change.lines, start=1)
    ]


def _without_secret(fact: AnyFact) -> AnyFact:
    """The fact as people may read it: who holds a session's client secret can pay it, or read it in the shopper's
    name.
    """
    return msgspec.structs.replace(fact, client_secret=None) if isinstance(fact, SessionOpened) else fact


def attempt_rows(place: int, change: Change) -> list[AttemptRow]:
    """The attempts whose rows the change alters."""
    rows = []
    for number, after in change.facts.attempts.items():
        before = change.facts_before.attempts.get(number)
        opened = change.opened.get(number)
        if number == 0 or (opened is None and before is not None and _kept(before) == _kept(after)):
            continue
        asked = after.close_asked is not None and (before is None or before.close_asked != after.close_asked)
        rows.append(
            AttemptRow(
                place,
                number=number,
                state=after.state,
                checkout_session=after.session,
                payment_intent=after.intent,
                redirect_url=opened.redirect_url if opened else None,
                client_secret=opened.client_secret if opened else None,
                close_reason=after.close_asked,
                close_step=int(asked),
            )
        )
    return rows


def _kept(attempt: AttemptFacts) -> tuple[Any, ...]:
    """What the attempt's row repeats of the facts."""
    return (attempt.state, attempt.session, attempt.intent, attempt.close_asked)
