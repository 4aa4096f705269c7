"""The gateway's own rules, and what it tells to be compared with the merchant's half."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tallystick.kernel.invariants.rules import Paid, Rule
from tallystick.ports.database import Statements

SQL = Statements.beside(__file__)

RULES: Final = (
    Rule(SQL.one_charge_for_a_payment, "pi"),
    Rule(SQL.money_has_a_payment, "pi"),
    Rule(SQL.payment_has_money, "pi"),
    Rule(SQL.sessions_and_payments_agree, "pi"),
    Rule(SQL.no_payment_leaves_its_end, "evt"),
    Rule(SQL.ledger_follows_payments, "pi"),
    Rule(SQL.refunds_are_within_the_capture, "pi"),
    Rule(SQL.ledger_follows_refunds, "pi"),
    Rule(SQL.disputes_are_withheld, "pi"),
    Rule(SQL.clearing_accounts_hold_what_is_open, ""),
    Rule(SQL.ledger_sums_to_zero, "txn"),
    Rule(SQL.reports_are_their_lines, "stl"),
    Rule(SQL.reports_are_chained, "stl"),
    Rule(SQL.reports_close_with_the_balance, "stl"),
    Rule(SQL.nothing_is_left_out_of_reports, "txn"),
    Rule(SQL.every_event_is_delivered_held_or_dead, "dlv", timed=True),
    Rule(SQL.no_call_stays_unfinished, "", timed=True),
    Rule(SQL.no_outcome_is_forgotten, "", timed=True),
    Rule(SQL.held_deliveries_have_a_reason, "dlv"),
)
OWNERS: Final = SQL.owners
PAYMENTS: Final = Rule(SQL.payments_for_comparison, "pi")


def paid(rows: Iterable[Mapping[str, Any]]) -> list[Paid]:
    """The payments that `PAYMENTS` gives."""
    return [
        Paid(
            intent=row["intent"],
            order=row["order_id"],
            attempt=row["attempt"] or 0,
            status=row["status"],
            received=row["received"],
            returned=row["returned"],
            busy=row["busy"],
            canceled_at=row["canceled_at"],
        )
        for row in rows
    ]
