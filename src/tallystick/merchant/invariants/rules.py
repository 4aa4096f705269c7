"""The merchant's own rules, and what it tells to be compared with the gateway's half."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from tallystick.kernel.invariants.rules import Owed, Rule
from tallystick.ports.database import Statements

SQL = Statements.beside(__file__)

RULES: Final = (
    Rule(SQL.paid_by_an_attempt, "ord", owned=True),
    Rule(SQL.paid_twice_is_overpaid, "ord", owned=True),
    Rule(SQL.ended_orders_have_ended_attempts, "ord", owned=True),
    Rule(SQL.paid_never_goes_back, "ord", owned=True),
    Rule(SQL.the_timeline_tells_the_state, "ord", owned=True),
    Rule(SQL.no_claim_outlives_its_lease, "ord", owned=True, timed=True),
    Rule(SQL.no_errand_is_forgotten, "ord", owned=True, timed=True),
    Rule(SQL.no_attempt_is_forgotten, "ord", owned=True),
    Rule(SQL.every_notification_is_delivered_held_or_dead, "dlv", timed=True),
    Rule(SQL.held_deliveries_have_a_reason, "dlv"),
    Rule(SQL.no_newcomer_is_left_over, "cus", timed=True),
)
OWNERS: Final = SQL.owners
ORDERS: Final = Rule(SQL.orders_for_comparison, "ord", owned=True)


def owed(rows: Iterable[Mapping[str, Any]]) -> list[Owed]:
    """The orders that `ORDERS` gives."""
    return [
        Owed(
            order=row["order_id"],
            state=row["state"],
            amount=row["amount_minor"],
            overpaid=row["overpaid"],
            refused=row["refused"],
            explained=row["explained"],
            intents=msgspec.json.decode(row["intents"]),
            ended=msgspec.json.decode(row["ended"], type=dict[str, datetime]),
        )
        for row in rows
    ]
