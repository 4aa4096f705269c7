"""The merchant service's figures (RULES §13): what sells, what waits, what does not fit.

order_success = PAID / attempted      conversion = PAID / created      both by when the orders were created
"""

from typing import Final

from tallystick.kernel.monitoring.figures import DELIVERING, Figure
from tallystick.ports.database import Statements

SQL = Statements.beside(__file__)

FIGURES: Final = (
    Figure(
        "orders_created",
        "Orders created within the window, by their state now and whether they were ever tried to be paid.",
        SQL.orders_created,
        ("state", "attempted"),
        windowed=True,
    ),
    Figure("order_overdue_seconds", "How long the oldest PENDING order is past its end.", SQL.order_overdue),
    Figure("work_overdue_seconds", "How long the oldest due work of each kind waits.", SQL.work_overdue, ("work",)),
    Figure("inbound_unapplied", "Webhooks that were stored and not applied.", SQL.inbound_unapplied, ("state",)),
    Figure("cases_open", "Cases that wait for a person.", SQL.cases_open, ("kind",)),
    Figure("mismatches_open", "Differences of settlement that are not resolved.", SQL.mismatches_open, ("code",)),
    Figure(
        "unmatched_amount_minor",
        "Money in differences that are not resolved, in minor units.",
        SQL.unmatched_amount,
        ("currency",),
    ),
    Figure(
        "reconciliation_age_seconds",
        "How long ago the connection that was left longest was last compared with its settlement.",
        SQL.reconciliation_age,
    ),
    *DELIVERING,
)
