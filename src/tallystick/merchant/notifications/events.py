"""What the shop is told of a change. Pure. RULES §4: it may ship on `order.paid` and on nothing else."""

from collections.abc import Iterator
from typing import Final, Literal

from tallystick.merchant.orders.facts import Facts
from tallystick.merchant.orders.learning import Change
from tallystick.merchant.orders.state import OrderState, held_for

EventType = Literal[
    "order.paid",
    "order.failed",
    "order.expired",
    "order.canceled",
    "order.refunded",
    "order.held",
    "order.hold_lifted",
]

EVENT_TYPES: Final[tuple[EventType, ...]] = (
    "order.paid",
    "order.failed",
    "order.expired",
    "order.canceled",
    "order.refunded",
    "order.held",
    "order.hold_lifted",
)
ALL: Final = "*"

ENDED: Final[dict[OrderState, EventType]] = {
    "FAILED": "order.failed",
    "EXPIRED": "order.expired",
    "CANCELED": "order.canceled",
}


def events_of(change: Change) -> Iterator[EventType]:
    """The events that follow from `change`. `order.paid` follows from the change to `allowed`, which a late payment
    reaches later than PAID, or never. Once told it is not told again: goods that are then held, because reconciliation
    says so or the payment is disputed, are `order.held`, and `order.hold_lifted` when they may leave after all."""
    how = change.standing
    if how.fulfilment == "allowed" and change.facts_before.decision is None:
        yield "order.paid"
    elif how.state != change.state_before and how.state in ENDED:
        yield ENDED[how.state]
    elif change.facts_before.decision == "allowed" and how.fulfilment != "refused":
        before, after = held_for(change.facts_before), held_for(change.facts)
        if (before is None) != (after is None):
            yield "order.held" if after is not None else "order.hold_lifted"
    if how.amount_refunded_minor and _refunded(change.facts) > _refunded(change.facts_before):
        yield "order.refunded"


def _refunded(facts: Facts) -> int:
    """What was really given back by now, in minor units."""
    return sum(
        refund.amount_minor
        for attempt in facts.attempts.values()
        for refund in attempt.refunds.values()
        if refund.status == "succeeded"
    )
