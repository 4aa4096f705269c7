"""What each movement of money posts. Pure. RULES §10.

Debits are positive, credits negative, in minor units; the legs of one entry sum to zero, by assertion here and by CHECK
in the database. What the acquirer owes us stands in `acquirer_receivable`, what we owe the merchant and have not
released yet in `merchant_pending`.

    charge    captured with its approval          acquirer_receivable +a   merchant_pending −a
    capture   captured later, all or a part       acquirer_receivable +a   merchant_pending −a
    void      captured money given back at once   merchant_pending +a      acquirer_receivable −a
    refund          asked for by the merchant     merchant_pending +a      refund_clearing −a
    refund_paid     given back by the acquirer    refund_clearing +a       acquirer_receivable −a
    refund_failure  refused by the acquirer       refund_clearing +a       merchant_pending −a
    refund_failure  sent back after it was paid   acquirer_receivable +a   merchant_pending −a   (of a void too)
    dispute           withheld by the bank        merchant_pending +a      dispute_clearing −a
    dispute_reversal  won: the merchant's again   dispute_clearing +a      merchant_pending −a
    dispute_lost      the bank keeps it           dispute_clearing +a      acquirer_receivable −a
    release         become available              merchant_pending +a      merchant_available −a
    payout          on its way to the merchant    merchant_available +a    payout_in_transit −a
    payout_paid     arrived                       payout_in_transit +a     settlement_bank −a
    payout_reversal sent back by the bank         payout_in_transit +a     merchant_pending −a
    payout_cancel   called off by the merchant    payout_in_transit +a     merchant_available −a

Where a fee is charged it is taken from what the merchant is owed (`terms.py`): merchant_pending +f, fee_revenue −f. An
authorisation alone moves no money and posts nothing, nor does its void. `refund_clearing` holds what is on its way
back to shoppers: the sum of pending refunds. `dispute_clearing` holds what banks withhold: the sum of open disputes.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

Kind = Literal[
    "charge",
    "capture",
    "void",
    "refund",
    "refund_paid",
    "refund_failure",
    "dispute",
    "dispute_reversal",
    "dispute_lost",
    "release",
    "payout",
    "payout_paid",
    "payout_reversal",
    "payout_cancel",
]

ACQUIRER_RECEIVABLE = "acquirer_receivable"
MERCHANT_PENDING = "merchant_pending"
MERCHANT_AVAILABLE = "merchant_available"
PAYOUT_IN_TRANSIT = "payout_in_transit"
SETTLEMENT_BANK = "settlement_bank"
REFUND_CLEARING = "refund_clearing"
DISPUTE_CLEARING = "dispute_clearing"
FEE_REVENUE = "fee_revenue"

OPEN = (MERCHANT_PENDING, MERCHANT_AVAILABLE, PAYOUT_IN_TRANSIT, REFUND_CLEARING, DISPUTE_CLEARING)
"""Accounts of which something is still to move."""

Fee = Literal["charge", "dispute", "dispute_returned"]
"""Which fee an entry costs by the account's contract, or gives back."""


class Cause(Struct, frozen=True):
    """Whose money moved, and by which charge where it was one; `currency` in upper case."""

    account_id: str
    livemode: bool
    payment_intent: str | None
    charge: str | None
    currency: str


class Entry(Struct, frozen=True):
    """One ledger transaction. `reference` names what caused it: the same cause can be posted once only."""

    cause: Cause
    kind: Kind
    reference: str
    legs: tuple[tuple[str, int], ...]
    effective_at: datetime
    fee: Fee | None = None
    waits: bool = False  # what the merchant gets by it becomes available later only

    def __post_init__(self) -> None:
        assert len(self.legs) >= 2, "money comes from somewhere and goes somewhere"
        assert sum(amount for _, amount in self.legs) == 0, "a ledger entry sums to zero"


def charged(cause: Cause, amount_minor: int, at: datetime, *, kept: bool = True) -> Entry:
    """The charge was approved and captured in one go. One that is not `kept`, but given back at once, costs no fee."""
    fee: Fee | None = "charge" if kept else None
    return Entry(cause, "charge", f"charge:{cause.charge}", _owed_to_merchant(amount_minor), at, fee, waits=True)


def captured(cause: Cause, request: str, amount_minor: int, at: datetime) -> Entry:
    """The acquirer request `request` captured `amount_minor` of an authorised charge."""
    return Entry(cause, "capture", f"capture:{request}", _owed_to_merchant(amount_minor), at, "charge", waits=True)


def voided(cause: Cause, request: str, amount_minor: int, at: datetime) -> Entry:
    """The acquirer request `request` gave back `amount_minor` that had been captured."""
    legs = tuple((account, -amount) for account, amount in _owed_to_merchant(amount_minor))
    return Entry(cause, "void", f"void:{request}", legs, at, waits=True)


def refund_asked(cause: Cause, refund: str, amount_minor: int, at: datetime) -> Entry:
    """The refund `refund` is on its way: the merchant has no claim to the amount any more."""
    return Entry(cause, "refund", f"refund:{refund}", _moved(MERCHANT_PENDING, REFUND_CLEARING, amount_minor), at)


def refund_paid(cause: Cause, refund: str, amount_minor: int, at: datetime) -> Entry:
    """The acquirer gave the refund to the shopper."""
    legs = _moved(REFUND_CLEARING, ACQUIRER_RECEIVABLE, amount_minor)
    return Entry(cause, "refund_paid", f"refund_paid:{refund}", legs, at)


def refund_failed(cause: Cause, refund: str, amount_minor: int, at: datetime, *, paid: bool) -> Entry:
    """The refund did not reach the shopper, or came back after it was `paid`: the amount is the merchant's again."""
    source = ACQUIRER_RECEIVABLE if paid else REFUND_CLEARING
    legs = _moved(source, MERCHANT_PENDING, amount_minor)
    return Entry(cause, "refund_failure", f"refund_failure:{refund}", legs, at)


def dispute_opened(cause: Cause, dispute: str, amount_minor: int, at: datetime) -> Entry:
    """The cardholder's bank withholds the amount."""
    legs = _moved(MERCHANT_PENDING, DISPUTE_CLEARING, amount_minor)
    return Entry(cause, "dispute", f"dispute:{dispute}", legs, at, "dispute")


def dispute_won(cause: Cause, dispute: str, amount_minor: int, at: datetime) -> Entry:
    """The amount is the merchant's again, and the fee for the dispute is given back."""
    legs = _moved(DISPUTE_CLEARING, MERCHANT_PENDING, amount_minor)
    return Entry(cause, "dispute_reversal", f"dispute_reversal:{dispute}", legs, at, "dispute_returned")


def dispute_lost(cause: Cause, dispute: str, amount_minor: int, at: datetime) -> Entry:
    """The bank keeps what it withheld."""
    legs = _moved(DISPUTE_CLEARING, ACQUIRER_RECEIVABLE, amount_minor)
    return Entry(cause, "dispute_lost", f"dispute_lost:{dispute}", legs, at)


def released(cause: Cause, day: str, amount_minor: int, at: datetime) -> Entry:
    """What was earned (where negative: taken) before is available from now on."""
    legs = ((MERCHANT_PENDING, amount_minor), (MERCHANT_AVAILABLE, -amount_minor))
    return Entry(cause, "release", f"release:{cause.currency}:{day}", legs, at)


def paid_out(cause: Cause, payout: str, amount_minor: int, at: datetime) -> Entry:
    """The available amount is on its way to the merchant's bank."""
    return Entry(cause, "payout", f"payout:{payout}", _moved(MERCHANT_AVAILABLE, PAYOUT_IN_TRANSIT, amount_minor), at)


def arrived(cause: Cause, payout: str, amount_minor: int, at: datetime) -> Entry:
    """The payout has arrived."""
    legs = _moved(PAYOUT_IN_TRANSIT, SETTLEMENT_BANK, amount_minor)
    return Entry(cause, "payout_paid", f"payout_paid:{payout}", legs, at)


def payout_failed(cause: Cause, payout: str, amount_minor: int, at: datetime) -> Entry:
    """The merchant's bank did not take the payout: the amount is the merchant's again, and available when the day is
    closed, like all that moves on it."""
    legs = _moved(PAYOUT_IN_TRANSIT, MERCHANT_PENDING, amount_minor)
    return Entry(cause, "payout_reversal", f"payout_reversal:{payout}", legs, at)


def payout_canceled(cause: Cause, payout: str, amount_minor: int, at: datetime) -> Entry:
    """The merchant called the payout off before it left: the amount is available again, at once."""
    legs = _moved(PAYOUT_IN_TRANSIT, MERCHANT_AVAILABLE, amount_minor)
    return Entry(cause, "payout_cancel", f"payout_cancel:{payout}", legs, at)


def _moved(debit: str, credit: str, amount_minor: int) -> tuple[tuple[str, int], ...]:
    assert amount_minor > 0, "amounts are positive; the side says the direction"
    return ((debit, amount_minor), (credit, -amount_minor))


def _owed_to_merchant(amount_minor: int) -> tuple[tuple[str, int], ...]:
    return _moved(ACQUIRER_RECEIVABLE, MERCHANT_PENDING, amount_minor)
