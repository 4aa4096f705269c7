"""The one write path: what was learnt, from whatever source, is merged into the orders it concerns (RULES §4).

    load → decide (pure) → save (one statement)

Whoever has facts calls `apply_facts` in a transaction of his own, which locks the orders from load to save. The webhook
intake, where most facts come from, loads without locks: `save` leaves out the orders that changed meanwhile, and they
are loaded and decided again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from tallystick.kernel.columns import recordset
from tallystick.merchant.orders.facts import Authorised, Succeeded, decode_facts
from tallystick.merchant.orders.learning import Change, Learnt, LoadedOrder, OrderKey, Source, concerns, decide
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.orders.rows import WebhookRow, attempt_rows, line_rows, order_row
from tallystick.merchant.orders.state import Owed
from tallystick.merchant.orders.telling import tell
from tallystick.ports.database import Database, Record, Statements, Transaction
from tallystick.ports.metrics import PAYMENTS_FOUND

SQL = Statements.beside(__file__)

_LOOKS: frozenset[Source] = frozenset({"api", "return", "poll", "expiry"})


class Applied(Struct, frozen=True):
    """The outcome of a batch. `unknown` are those that fit no order, no attempt or another connection: they may be
    early.
    """

    changes: Sequence[Change]
    unknown: Sequence[Learnt]


async def apply_facts(tx: Transaction, learnt: Sequence[Learnt], at: datetime, outbox: Outbox) -> Applied:
    """Merge what was learnt into the orders it concerns, with what follows from it, in the caller's transaction. Facts
    that say nothing new write nothing.
    """
    if not learnt:
        return Applied((), ())
    orders = await load_locked(tx, {OrderKey(each.merchant_id, each.order_id) for each in learnt})
    applied = decide_batch(orders, learnt)
    saved = await save(tx, applied.changes, at)
    assert len(saved) == len(applied.changes), "no order changes while we hold its lock"
    await outbox.store(tx, await outbox.following(tx, applied.changes), at)
    tell(applied.changes)
    PAYMENTS_FOUND.inc(sum(map(_found, applied.changes)))
    return applied


def decide_batch(orders: Mapping[OrderKey, LoadedOrder], learnt: Sequence[Learnt]) -> Applied:
    """What a batch of facts does to the orders that were loaded for it; the changes in id order. Pure."""
    known: dict[OrderKey, list[Learnt]] = {}
    unknown = []
    for each in learnt:
        order = orders.get(OrderKey(each.merchant_id, each.order_id))
        if order is None or not concerns(order, each):
            unknown.append(each)
        else:
            known.setdefault(order.key, []).append(each)
    changes = [change for key in sorted(known) if (change := decide(orders[key], known[key])) is not None]
    return Applied(changes, unknown)


async def load_locked(tx: Transaction, keys: set[OrderKey]) -> dict[OrderKey, LoadedOrder]:
    """The orders named by `keys` that exist, locked in id order until the transaction ends."""
    wanted = sorted(keys)
    rows = await tx.rows(SQL.load_locked, [key.merchant_id for key in wanted], [key.order_id for key in wanted])
    return {order.key: order for order in map(loaded, rows)}


async def save(
    database: Transaction | Database,
    changes: Sequence[Change],
    at: datetime,
    webhooks: Sequence[WebhookRow] = (),
    raws: Sequence[bytes] = (),
) -> set[OrderKey]:
    """Store a batch of changes, in id order, and the webhooks that brought them, in one statement; gives the orders
    that were saved.

    Under their locks that is all of them. Without locks, an order that changed since it was loaded is left out, with
    its attempts, its timeline and its webhooks: load it again and decide again.
    """
    if not changes and not webhooks:
        return set()
    in_key_order: list[WebhookRow] = sorted(webhooks, key=_inbox_key)
    rows = await database.rows(
        SQL.save_changes,
        at,
        recordset([order_row(place, change) for place, change in enumerate(changes)]),
        recordset([row for place, change in enumerate(changes) for row in attempt_rows(place, change)]),
        recordset([row for place, change in enumerate(changes) for row in line_rows(place, change)]),
        recordset(in_key_order),
        list(raws),
    )
    return {changes[row["place"]].key for row in rows}


def _found(change: Change) -> int:
    """How many payments a look at the gateway has just told of, before any webhook did."""
    return sum(
        line.source in _LOOKS
        and isinstance(line.fact, Succeeded | Authorised)
        and change.facts_before.attempts[line.attempt].state not in ("authorised", "succeeded")
        for line in change.lines
    )


def _inbox_key(row: WebhookRow) -> tuple[str, str, str]:
    return (row.merchant_id, row.connection_id, row.event_id)


def loaded(row: Record) -> LoadedOrder:
    """An order as statements give it that load orders for a decision."""
    return LoadedOrder(
        key=OrderKey(row["merchant_id"], row["order_id"]),
        connection_id=row["connection_id"],
        owed=Owed(row["amount_minor"], row["currency"]),
        declines_max=row["declines_max"],
        facts=decode_facts(row["facts"]),
        version=row["version"],
    )
