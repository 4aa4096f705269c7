"""The gateway's figures (RULES §13): what banks approve, what is not known, what waits.

attempt_authorization = approved / charges that reached the acquirer
"""

from typing import Final

from tallystick.kernel.monitoring.figures import DELIVERING, Figure
from tallystick.ports.database import Statements

SQL = Statements.beside(__file__)

FIGURES: Final = (
    Figure(
        "charges_made",
        "Charges made within the window, by their state now.",
        SQL.charges_made,
        ("state",),
        windowed=True,
    ),
    Figure("unknown_outcomes", "Charges and requests of which nobody knows what the bank did.", SQL.unknown_outcomes),
    Figure("unknown_outcome_oldest_seconds", "How long the oldest unknown outcome is one.", SQL.unknown_oldest),
    Figure("work_overdue_seconds", "How long the oldest due work of each kind waits.", SQL.work_overdue, ("work",)),
    Figure("cases_open", "Cases that wait for a person.", SQL.cases_open, ("kind",)),
    *DELIVERING,
)
