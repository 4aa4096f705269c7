"""What the shop is told of a change. Pure. RULES §4: it may ship on `order.paid` and on nothing else."""

from collections.abc import Iterator
from typing import Final, Literal

from tallystick.merchant.orders.facts import Facts
from tallystick.merchant.orders.learning import Change
from tallystick.merchant.orders.state import OrderState

EventType = Literal["order.paid", "order.failed", "order.expired", "order.canceled", "order.refunded"]

EVENT_TYPES: Final[tuple[EventType, ...]] = (
    "order.paid",
    "order.failed",
    "order.expired",
    "order.canceled",
    "order.refunded",
)
ALL: Final = "*"

ENDED: Final[dict[OrderState, EventType]] = {
    "FAILED": "order.failed",
    "EXPIRED": "order.expired",
    "CANCELED": "order.canceled",
}


def events_of(change: Change) -> Iterator[EventType]:
    """The events that follow from `change`. `order.paid` follows from the change to `allowed`, which a late payment
    reaches later than PAID, or never."""
    how = change.standing
    if how.fulfilment == "allowed" and change.facts_before.decision is None:
        yield "order.paid"
    elif how.state != change.state_before and how.state in ENDED:
        yield ENDED[how.state]
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
