"""What was learnt about an order, and what it does to it: the pure half of the write path (RULES §4)."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from tallystick.merchant.orders.facts import (
    AnyFact,
    Attempted,
    Facts,
    FulfilmentDecided,
    Kept,
    Released,
    SessionOpened,
)
from tallystick.merchant.orders.merge import merge
from tallystick.merchant.orders.state import OrderState, Owed, Standing, conclude, held_for, standing, state_of

Source = Literal["merchant", "api", "webhook", "return", "poll", "expiry", "settlement"]

# What we conclude ourselves within one commit is visible in the state that it leads to; only the request to close is
# a step of its own.
_SILENT = (Kept, Released, FulfilmentDecided)


class OrderKey(NamedTuple):
    """Names an order; sorts in the order in which rows are locked."""

    merchant_id: str
    order_id: str


class Learnt(Struct, frozen=True):
    """One fact, whom it is about and who told it.

    `reference` is what the source calls it (an event id, a request id). `connection_id`, where given, must be the
    order's: one gateway account may not speak about what was sold through another. `trace` is the step in which it was
    learnt, where somebody follows that.
    """

    merchant_id: str
    order_id: str
    attempt: int
    fact: AnyFact
    source: Source
    reference: str | None = None
    connection_id: str | None = None
    trace: str | None = None


class Line(Struct, frozen=True):
    """One row of the timeline."""

    source: Source
    attempt: int
    fact: AnyFact
    state_before: OrderState
    state_after: OrderState
    reference: str | None


class Change(Struct, frozen=True):
    """What a batch of facts does to one order."""

    key: OrderKey
    version: int
    owed: Owed
    facts_before: Facts
    facts: Facts
    state_before: OrderState
    standing: Standing
    lines: tuple[Line, ...]
    opened: Mapping[int, SessionOpened]  # by attempt number: what the facts do not keep, the way to the page
    trace: str | None = None


class LoadedOrder(Struct, frozen=True):
    """An order as the write path needs it, under lock."""

    key: OrderKey
    connection_id: str
    owed: Owed
    declines_max: int
    facts: Facts
    version: int


def concerns(order: LoadedOrder, learnt: Learnt) -> bool:
    """Whether the order has the attempt (or is learning of it now), and the teller may speak about it."""
    if learnt.connection_id is not None and learnt.connection_id != order.connection_id:
        return False
    return learnt.attempt in order.facts.attempts or (
        learnt.source == "merchant" and isinstance(learnt.fact, Attempted)
    )


def decide(order: LoadedOrder, learnt: Sequence[Learnt]) -> Change | None:
    """What `learnt` does to `order`, and what we do about it in the same commit; None when it says nothing new.
    Pure.
    """
    facts = order.facts
    state = state_before = state_of(facts, order.owed)
    lines: list[Line] = []
    for each in learnt:
        if isinstance(each.fact, FulfilmentDecided) and held_for(facts) is not None:
            continue  # something came up while it was being decided: it is decided once that is settled
        merged = merge(facts, each.attempt, each.fact)
        if merged is facts:
            continue
        state_after = state_of(merged, order.owed)
        lines.append(Line(each.source, each.attempt, each.fact, state, state_after, each.reference))
        facts, state = merged, state_after
    for attempt, fact in conclude(facts, order.owed, order.declines_max):
        facts = merge(facts, attempt, fact)
        if not isinstance(fact, _SILENT):
            lines.append(Line("merchant", attempt, fact, state, state, None))
    if facts is order.facts:
        return None
    return Change(
        key=order.key,
        version=order.version,
        owed=order.owed,
        facts_before=order.facts,
        facts=facts,
        state_before=state_before,
        standing=standing(facts, order.owed),
        lines=tuple(lines),
        opened={each.attempt: each.fact for each in learnt if isinstance(each.fact, SessionOpened)},
        trace=learnt[-1].trace,
    )
