"""Orders and their timelines as the API shows them (DESIGN §6). Pure."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tallystick.merchant.orders.facts import (
    AttemptFacts,
    AttemptState,
    ChargeStatus,
    DisputeOutcome,
    DisputeStatus,
    Facts,
    RefundStatus,
    decode_facts,
)
from tallystick.merchant.orders.state import Attention, Fulfilment, OrderState
from tallystick.ports.database import Record

Minor = Annotated[int, Meta(description="Minor units of the order's currency, by ISO 4217.")]


class LineItem(Struct, frozen=True):
    """A line of an order: `amount` for each of `quantity`."""

    name: str
    amount: Minor
    quantity: int


class ChargeView(Struct, frozen=True):
    """One charge of an attempt, as the gateway told it. `code` says why it failed."""

    id: str
    status: ChargeStatus
    code: str | None


class RefundLine(Struct, frozen=True):
    """One refund of an attempt, as the gateway told it."""

    id: str
    status: RefundStatus
    amount: Minor


class DisputeLine(Struct, frozen=True):
    """One dispute of an attempt, as the gateway told it."""

    id: str
    status: DisputeStatus
    outcome: DisputeOutcome | None


class AttemptView(Struct, frozen=True):
    """One try to pay an order."""

    number: int
    state: AttemptState
    checkout_session: str | None
    payment_intent: str | None
    charges: tuple[ChargeView, ...]
    refunds: tuple[RefundLine, ...]
    disputes: tuple[DisputeLine, ...]


class OrderView(Struct, frozen=True):
    """An order. Ship only when `fulfilment` is `allowed`, whatever `state` says (RULES §4). `attention` says what a
    person must look at: another amount, or why the goods are held (RULES §11)."""

    id: str
    state: OrderState
    fulfilment: Fulfilment
    amount: Minor
    currency: str
    amount_captured: Minor
    amount_refunded: Minor
    late: bool
    overpaid: bool
    attention: Attention | None
    reference: str | None
    customer: str | None
    connection: str
    line_items: tuple[LineItem, ...] | None
    metadata: dict[str, str]
    ui_mode: str
    return_url: str | None
    cancel_url: str | None
    redirect_url: Annotated[
        str | None, Meta(description="Where to send the shopper; null once there is nothing to pay.")
    ]
    client_secret: Annotated[str | None, Meta(description="For the embedded page; null once there is nothing to pay.")]
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    attempts: tuple[AttemptView, ...]


class OrderPage(Struct, frozen=True):
    """A page of orders, the newest first. `next_cursor` is null on the last page."""

    data: tuple[OrderView, ...]
    next_cursor: str | None


class TimelineRow(Struct, frozen=True):
    """One change of an order: who told what, and what followed."""

    number: int
    at: datetime
    source: str
    attempt: int
    fact: dict[str, Any]
    state_before: OrderState
    state_after: OrderState
    reference: str | None


class TimelinePage(Struct, frozen=True):
    """A page of a timeline, the oldest row first. `next_cursor` is null on the last page."""

    data: tuple[TimelineRow, ...]
    next_cursor: int | None


decode_line_items = msgspec.json.Decoder(tuple[LineItem, ...]).decode
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode


def order_view(row: Record) -> OrderView:
    """A row of `find_orders` or `list_orders` as the API shows it."""
    facts = decode_facts(row["facts"])
    payable = _payable(row["state"], facts)
    return OrderView(
        id=row["order_id"],
        state=row["state"],
        fulfilment=row["fulfilment"],
        amount=row["amount_minor"],
        currency=row["currency"],
        amount_captured=row["amount_captured_minor"],
        amount_refunded=row["amount_refunded_minor"],
        late=row["late"],
        overpaid=row["overpaid"],
        attention=row["attention"],
        reference=row["reference"],
        customer=row["customer_id"],
        connection=row["connection_id"],
        line_items=decode_line_items(row["line_items"]) if row["line_items"] is not None else None,
        metadata=_decode_metadata(row["metadata"]),
        ui_mode=row["ui_mode"],
        return_url=row["return_url"],
        cancel_url=row["cancel_url"],
        redirect_url=row["redirect_url"] if payable else None,
        client_secret=row["client_secret"] if payable else None,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires_at=row["expires_at"],
        attempts=tuple(_attempt_view(number, facts.attempts[number]) for number in sorted(facts.attempts) if number),
    )


def timeline_row(row: Record) -> TimelineRow:
    """A row of `list_timeline` as the API shows it."""
    return TimelineRow(
        number=row["number"],
        at=row["at"],
        source=row["source"],
        attempt=row["attempt"],
        fact=msgspec.json.decode(row["fact"]),
        state_before=row["state_before"],
        state_after=row["state_after"],
        reference=row["reference"],
    )


def _payable(state: OrderState, facts: Facts) -> bool:
    """Whether the newest attempt's page still takes a payment."""
    return state == "PENDING" and bool(facts.attempts) and facts.attempts[max(facts.attempts)].state == "open"


def _attempt_view(number: int, attempt: AttemptFacts) -> AttemptView:
    return AttemptView(
        number=number,
        state=attempt.state,
        checkout_session=attempt.session,
        payment_intent=attempt.intent,
        charges=tuple(ChargeView(id, charge.status, charge.code) for id, charge in sorted(attempt.charges.items())),
        refunds=tuple(
            RefundLine(id, refund.status, refund.amount_minor) for id, refund in sorted(attempt.refunds.items())
        ),
        disputes=tuple(
            DisputeLine(id, dispute.status, dispute.outcome) for id, dispute in sorted(attempt.disputes.items())
        ),
    )
