"""The words of reconciliation: codes and what is done about each (RULES §11), a day, a payment's two halves. Pure."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

from tallystick.merchant.orders.facts import AttemptFacts
from tallystick.merchant.orders.state import OrderState, Owed
from tallystick.merchant.reconciliation.lines import Category, SettlementLine

Code = Literal[
    "matched",
    "captured_but_pending",
    "captured_but_closed",
    "unknown_payment",
    "paid_but_missing",
    "amount_differs",
    "currency_differs",
    "refund_unknown",
    "refund_missing",
    "refund_amount_differs",
    "captured_and_returned",
    "settled_twice",
    "captured_twice",
    "fee_differs",
    "dispute_unknown",
    "dispute_reversal",
    "refund_failure",
    "authorised_there",
    "voided_there",
    "payout",
    "payout_failure",
    "fee",
    "adjustment",
    "cut_off",
    "unexplained_line",
]
Resolution = Literal["automatic", "case", "wait", "noted"]

RESOLUTIONS: MappingProxyType[Code, Resolution] = MappingProxyType(
    {
        "captured_but_pending": "automatic",
        "captured_but_closed": "automatic",
        "unknown_payment": "case",
        "paid_but_missing": "wait",
        "amount_differs": "case",
        "currency_differs": "case",
        "refund_unknown": "automatic",
        "refund_missing": "wait",
        "refund_amount_differs": "case",
        "captured_and_returned": "noted",
        "settled_twice": "case",
        "captured_twice": "automatic",
        "fee_differs": "case",
        "dispute_unknown": "automatic",
        "dispute_reversal": "automatic",
        "refund_failure": "automatic",
        "authorised_there": "case",
        "voided_there": "case",
        "cut_off": "noted",
        "unexplained_line": "case",
    }
)
"""What is done about each code, where nothing says otherwise. Money-only lines and those that match need nothing."""

MONEY_ONLY: MappingProxyType[Category, Code] = MappingProxyType(
    {
        "payout": "payout",
        "payout_failure": "payout_failure",
        "fee": "fee",
        "adjustment": "adjustment",
        "other": "unexplained_line",
    }
)
"""Lines that belong to no payment."""

MISSING_DAYS: Final = 2  # business days for which a paid order may have no line: T+2
REFUND_MISSING_DAYS: Final = 5
CUT_OFF_S: Final = 2 * 3600  # what was paid so shortly before the day's end may stand in the next day's file
FEE_TOLERANCE_MINOR: Final = 1  # a rounding of theirs; noted


class Contract(Struct, frozen=True):
    """What a charge costs by contract."""

    basis_points: int
    fixed_minor: int


class Day(Struct, frozen=True):
    """The business day of a run, and what was agreed."""

    date: date
    contracts: Mapping[str, Contract] = {}
    currencies: frozenset[str] | None = None  # whose files were taken; None: of all

    @property
    def begins_at(self) -> datetime:
        return datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)

    @property
    def ends_at(self) -> datetime:
        return self.begins_at + timedelta(days=1)


class SoldOrder(Struct, frozen=True):
    """What we know of the order that a payment belongs to. `attempt` is None where only our reference names it; `facts`
    are the attempt's. `refunds_seen_at` tells when we first heard of each refund.
    """

    order_id: str
    state: OrderState
    owed: Owed
    attempt: int | None
    facts: AttemptFacts
    keeper: int | None = None
    paid_at: datetime | None = None
    refunds_seen_at: Mapping[str, datetime] = {}
    # The lines are another gateway's than the order's connection: ids of payments and refunds are not ours to compare,
    # and there is nobody to ask. Our reference and the amounts decide.
    foreign: bool = False


class Settled(Struct, frozen=True):
    """All lines of one payment: those of this run, and those of earlier ones."""

    payment: str
    lines: tuple[SettlementLine, ...] = ()
    earlier: tuple[SettlementLine, ...] = ()


class Finding(Struct, frozen=True):
    """Something that does not fit. `subject` names it within its code: a payment, a refund, a dispute, a line."""

    code: Code
    subject: str
    resolution: Resolution
    payment: str | None = None
    order_id: str | None = None
    attempt: int | None = None
    currency: str | None = None
    amount_minor: int | None = None
    lines: tuple[str, ...] = ()
    wait_until: date | None = None
    details: Mapping[str, object] = {}


class Decided(Struct, frozen=True):
    """The code of every line of this run, and what was found."""

    codes: Mapping[str, Code]
    findings: tuple[Finding, ...] = ()


def business_days_after(day: date, days: int) -> date:
    """The day that lies so many business days later; Saturdays and Sundays are none. Holidays differ from country to
    country and only make us patient for longer.
    """
    while days:
        day += timedelta(days=1)
        days -= day.weekday() < 5
    return day
