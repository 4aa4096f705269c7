"""Posting to the ledger, in the transaction of the change that moved the money."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from tallystick.gateway.ledger.postings import Entry
from tallystick.kernel.identifiers import new_id
from tallystick.ports.database import Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)


async def post(tx: Transaction, entries: Sequence[Entry], *, at: datetime, entropy: Entropy) -> None:
    """Write `entries` in the caller's transaction. A cause that was posted before raises ConstraintViolated."""
    if not entries:
        return
    await tx.execute(
        SQL.post,
        at,
        [entry.cause.account_id for entry in entries],
        [entry.cause.livemode for entry in entries],
        [new_id("ltx", at, entropy) for _ in entries],
        [entry.kind for entry in entries],
        [entry.reference for entry in entries],
        [entry.cause.payment_intent for entry in entries],
        [entry.cause.charge for entry in entries],
        [entry.cause.currency for entry in entries],
        [_array(account for account, _ in entry.legs) for entry in entries],
        [_array(amount for _, amount in entry.legs) for entry in entries],
        [entry.effective_at for entry in entries],
    )


def _array(items: Iterable[str | int]) -> str:
    """An array of words or numbers as PostgreSQL reads it; `unnest` takes no arrays of arrays of different lengths."""
    return "{" + ",".join(str(item) for item in items) + "}"
