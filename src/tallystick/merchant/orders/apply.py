"""The one write path: what was learnt, from whatever source, is merged into the orders it concerns (RULES §4).

    load_locked (one statement, in id order) → decide (pure) → save (one statement)

Whoever has facts calls `apply_facts` inside a transaction of his own, so that webhook, inbox row and order change
commit together.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from tallystick.kernel.columns import recordset
from tallystick.merchant.orders.facts import (
    AnyFact,
    AttemptFacts,
    AttemptState,
    CloseReason,
    Facts,
    SessionOpened,
    decode_facts,
)
from tallystick.merchant.orders.learning import Change, Learnt, LoadedOrder, OrderKey, Source, concerns, decide
from tallystick.merchant.orders.state import (
    Attention,
    Fulfilment,
    OrderState,
    Owed,
)
from tallystick.ports.database import Record, Statements, Transaction

SQL = Statements.beside(__file__)


class Applied(Struct, frozen=True):
    """The outcome of a batch. `unknown` are those that fit no order, no attempt or another connection: they may be
    early.
    """

    changes: Sequence[Change]
    unknown: Sequence[Learnt]


async def apply_facts(tx: Transaction, learnt: Sequence[Learnt], at: datetime) -> Applied:
    """Merge what was learnt into the orders it concerns, in the caller's transaction. Facts that say nothing new
    write nothing.
    """
    if not learnt:
        return Applied((), ())
    orders = await load_locked(tx, {OrderKey(each.merchant_id, each.order_id) for each in learnt})
    known: dict[OrderKey, list[Learnt]] = {}
    unknown = []
    for each in learnt:
        order = orders.get(OrderKey(each.merchant_id, each.order_id))
        if order is None or not concerns(order, each):
            unknown.append(each)
        else:
            known.setdefault(order.key, []).append(each)
    changes = [change for key, about in known.items() if (change := decide(orders[key], about)) is not None]
    await save(tx, changes, at)
    return Applied(changes, unknown)


async def load_locked(tx: Transaction, keys: set[OrderKey]) -> dict[OrderKey, LoadedOrder]:
    """The orders named by `keys` that exist, locked in id order until the transaction ends."""
    wanted = sorted(keys)
    rows = await tx.rows(SQL.load_locked, [key.merchant_id for key in wanted], [key.order_id for key in wanted])
    return {order.key: order for order in map(_loaded, rows)}


async def save(tx: Transaction, changes: Sequence[Change], at: datetime) -> None:
    """Store a batch of changes: orders, attempts and timeline, in one statement."""
    if not changes:
        return
    attempts = recordset([row for change in changes for row in _attempt_rows(change)])
    lines = recordset([row for change in changes for row in _line_rows(change)])
    orders = recordset([_order_row(change) for change in changes])
    saved = await tx.rows(SQL.save_changes, at, attempts, lines, orders)
    assert saved[0]["saved"] == len(changes), "an order changed while we held its lock"


def _loaded(row: Record) -> LoadedOrder:
    return LoadedOrder(
        key=OrderKey(row["merchant_id"], row["order_id"]),
        connection_id=row["connection_id"],
        owed=Owed(row["amount_minor"], row["currency"]),
        declines_max=row["declines_max"],
        facts=decode_facts(row["facts"]),
        version=row["version"],
    )


class _OrderRow(Struct, frozen=True):
    """An order as `save_changes` takes it."""

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


class _LineRow(Struct, frozen=True):
    """A line of the timeline as `save_changes` takes it."""

    merchant_id: str
    order_id: str
    number: int
    source: Source
    attempt: int
    fact: AnyFact
    state_before: OrderState
    state_after: OrderState
    reference: str | None


class _AttemptRow(Struct, frozen=True):
    """An attempt as `save_changes` takes it. `close_step` is 1 when we now ask for its close."""

    merchant_id: str
    order_id: str
    number: int
    state: AttemptState
    checkout_session: str | None
    payment_intent: str | None
    redirect_url: str | None
    client_secret: str | None
    close_reason: CloseReason | None
    close_step: int


def _order_row(change: Change) -> _OrderRow:
    how = change.standing
    return _OrderRow(
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


def _line_rows(change: Change) -> list[_LineRow]:
    return [
        _LineRow(
            *change.key,
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


def _attempt_rows(change: Change) -> list[_AttemptRow]:
    rows = []
    for number, after in change.facts.attempts.items():
        before = change.facts_before.attempts.get(number)
        opened = change.opened.get(number)
        if number == 0 or (opened is None and before is not None and _kept(before) == _kept(after)):
            continue
        asked = after.close_asked is not None and (before is None or before.close_asked != after.close_asked)
        rows.append(
            _AttemptRow(
                *change.key,
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
