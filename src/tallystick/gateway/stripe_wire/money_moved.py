"""Puts balance transactions into charges, refunds and disputes: the ledger knows them by what caused them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from tallystick.gateway.balance.transactions import BalanceTransaction, kinds_of
from tallystick.gateway.ledger.commands import Cause, transactions_of
from tallystick.gateway.stripe_wire.balance_objects import balance_transaction
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.kernel.columns import columns
from tallystick.ports.database import Database, Statements, Transaction

SQL = Statements.beside(__file__, "money_moved.sql")

Owned = tuple[str, bool, Json]
"""Account, livemode, and an object of theirs in the wire's shape."""

Key = tuple[str, bool, str]
"""Account, livemode, id."""


async def name_transactions(
    reader: Database | Transaction, owned: Sequence[Owned], at: datetime, posted: Mapping[Cause, str] | None = None
) -> None:
    """Fill them in, in place, as they stand at `at`. `posted` are transactions that the caller knows already."""
    named = [
        (shaped, member, (account_id, livemode, reference))
        for account_id, livemode, shaped in owned
        for member, reference in _references(shaped)
    ]
    known = dict(posted or {})
    known |= await transactions_of(reader, (cause for _, _, cause in named if cause not in known))
    whole = [(shaped, known[cause], cause) for shaped, member, cause in named if not member and cause in known]
    found = await find_transactions(reader, [(*cause[:2], id) for _, id, cause in whole], at)
    for shaped, id, cause in whole:
        shaped["balance_transactions"].append(found[(*cause[:2], id)])
    for shaped, member, cause in named:
        if member:
            shaped[member] = known.get(cause)


async def find_transactions(reader: Database | Transaction, keys: Sequence[Key], at: datetime) -> dict[Key, Json]:
    """Balance transactions by id, as they stand at `at`."""
    if not keys:
        return {}
    rows = await reader.rows(SQL.find_transactions, *columns(3, sorted(set(keys))), kinds_of(None))
    found = [BalanceTransaction(**row) for row in rows]
    return {(one.account_id, one.livemode, one.id): balance_transaction(one, at) for one in found}


def _references(shaped: Json) -> Iterable[tuple[str, str]]:
    """The members of an object that name balance transactions, and what the ledger calls their cause. A dispute holds
    its transactions whole, in a list."""
    match shaped["object"]:
        case "charge" if shaped["amount_captured"]:
            yield "balance_transaction", f"charge:{shaped['id']}"
        case "refund":
            yield "balance_transaction", f"refund:{shaped['id']}"
            if "failure_reason" in shaped:
                yield "failure_balance_transaction", f"refund_failure:{shaped['id']}"
        case "payout":
            yield "balance_transaction", f"payout:{shaped['id']}"
            if shaped["status"] == "failed":
                yield "failure_balance_transaction", f"payout_reversal:{shaped['id']}"
            elif shaped["status"] == "canceled":
                yield "failure_balance_transaction", f"payout_cancel:{shaped['id']}"
        case "dispute":
            yield "", f"dispute:{shaped['id']}"
            if shaped["status"] == "won":
                yield "", f"dispute_reversal:{shaped['id']}"
