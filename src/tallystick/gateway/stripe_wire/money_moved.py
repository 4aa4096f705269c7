"""Puts the ids of balance transactions into charges and refunds: the ledger knows them by what caused them."""

from collections.abc import Iterable, Mapping, Sequence

from tallystick.gateway.ledger.commands import Cause, Reader, transactions_of
from tallystick.gateway.stripe_wire.objects import Json

Owned = tuple[str, bool, Json]
"""Account, livemode, and an object of theirs in the wire's shape."""


async def name_transactions(reader: Reader, owned: Sequence[Owned], posted: Mapping[Cause, str] | None = None) -> None:
    """Fill `balance_transaction` in, in place. `posted` are transactions that the caller knows already."""
    named = [
        (shaped, member, (account_id, livemode, reference))
        for account_id, livemode, shaped in owned
        for member, reference in _references(shaped)
    ]
    known = dict(posted or {})
    known |= await transactions_of(reader, (cause for _, _, cause in named if cause not in known))
    for shaped, member, cause in named:
        shaped[member] = known.get(cause)


def _references(shaped: Json) -> Iterable[tuple[str, str]]:
    """The members of an object that name balance transactions, and what the ledger calls their cause."""
    match shaped["object"]:
        case "charge" if shaped["amount_captured"]:
            yield "balance_transaction", f"charge:{shaped['id']}"
        case "refund":
            yield "balance_transaction", f"refund:{shaped['id']}"
            if "failure_reason" in shaped:
                yield "failure_balance_transaction", f"refund_failure:{shaped['id']}"
