"""Balance transactions: ledger transactions that change what a merchant has, in the words of the wire. Pure.

The ledger has one kind for every movement; Stripe has a type (how its API sorts them) and a reporting category (how its
reports do). docs/settlement.md says which is which.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from msgspec import Struct

CATEGORIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "charge": ("charge", "charge"),
        "capture": ("charge", "charge"),
        "void": ("refund", "refund"),
        "refund": ("refund", "refund"),
        "refund_failure": ("refund_failure", "refund_failure"),
        "dispute": ("adjustment", "dispute"),
        "dispute_reversal": ("adjustment", "dispute_reversal"),
        "payout": ("payout", "payout"),
        "payout_reversal": ("payout_failure", "payout_reversal"),
        "payout_cancel": ("payout_cancel", "payout_reversal"),
    }
)
"""Kind of the ledger transaction → type and reporting category. Other kinds move nothing of the merchant's."""

_CAUSES = (
    "charge",
    "refund",
    "refund_failure",
    "dispute",
    "dispute_reversal",
    "payout",
    "payout_reversal",
    "payout_cancel",
)
_PREFIXES = {"ch_": _CAUSES[:1], "re_": _CAUSES[1:3], "dp_": _CAUSES[3:5], "po_": _CAUSES[5:]}


class BalanceTransaction(Struct, frozen=True, kw_only=True):
    """One balance transaction, in minor units. `source` is what caused it: a charge, a refund, …"""

    account_id: str
    livemode: bool
    id: str
    kind: str
    currency: str
    net: int
    fee: int
    source: str
    available_at: datetime
    created_at: datetime

    @property
    def gross(self) -> int:
        """What it gave or took before fees."""
        return self.net + self.fee

    @property
    def type(self) -> str:
        """As the API sorts it."""
        return CATEGORIES[self.kind][0]

    @property
    def reporting_category(self) -> str:
        """As reports sort it."""
        return CATEGORIES[self.kind][1]


def kinds_of(type: str | None) -> list[str]:
    """The kinds of ledger transactions behind a type of the wire; behind none, all that change a balance."""
    return [kind for kind, (shown, _) in CATEGORIES.items() if type in (None, shown)]


def references_of(source: str) -> list[str]:
    """Under which references the ledger may hold what an object caused."""
    return [f"{cause}:{source}" for cause in _PREFIXES.get(source[:3], ())]
