"""What each movement of money posts. Pure. RULES §10.

Debits are positive, credits negative, in minor units; the legs of one entry sum to zero, by assertion here and by CHECK
in the database. What the acquirer owes us stands in `acquirer_receivable`, what we owe the merchant and have not
released yet in `merchant_pending`.

    charge    captured with its approval          acquirer_receivable +a   merchant_pending −a
    capture   captured later, all or a part       acquirer_receivable +a   merchant_pending −a
    void      captured money given back at once   merchant_pending +a      acquirer_receivable −a

An authorisation alone moves no money and posts nothing, nor does its void.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

Kind = Literal["charge", "capture", "void"]

ACQUIRER_RECEIVABLE = "acquirer_receivable"
MERCHANT_PENDING = "merchant_pending"


class Cause(Struct, frozen=True):
    """Whose money moved and by which charge; `currency` in upper case."""

    account_id: str
    livemode: bool
    payment_intent: str
    charge: str
    currency: str


class Entry(Struct, frozen=True):
    """One ledger transaction. `reference` names what caused it: the same cause can be posted once only."""

    cause: Cause
    kind: Kind
    reference: str
    legs: tuple[tuple[str, int], ...]
    effective_at: datetime

    def __post_init__(self) -> None:
        assert len(self.legs) >= 2, "money comes from somewhere and goes somewhere"
        assert sum(amount for _, amount in self.legs) == 0, "a ledger entry sums to zero"


def charged(cause: Cause, amount_minor: int, at: datetime) -> Entry:
    """The charge was approved and captured in one go."""
    return Entry(cause, "charge", f"charge:{cause.charge}", _owed_to_merchant(amount_minor), at)


def captured(cause: Cause, request: str, amount_minor: int, at: datetime) -> Entry:
    """The acquirer request `request` captured `amount_minor` of an authorised charge."""
    return Entry(cause, "capture", f"capture:{request}", _owed_to_merchant(amount_minor), at)


def voided(cause: Cause, request: str, amount_minor: int, at: datetime) -> Entry:
    """The acquirer request `request` gave back `amount_minor` that had been captured."""
    legs = tuple((account, -amount) for account, amount in _owed_to_merchant(amount_minor))
    return Entry(cause, "void", f"void:{request}", legs, at)


def _owed_to_merchant(amount_minor: int) -> tuple[tuple[str, int], ...]:
    assert amount_minor > 0, "amounts are positive; the side says the direction"
    return ((ACQUIRER_RECEIVABLE, amount_minor), (MERCHANT_PENDING, -amount_minor))
