"""An account's terms: what it is charged by contract, when its business day ends, when it may have its money. Pure.

A fee is part of the ledger transaction that earned it: what the merchant is owed is the net.
"""

from datetime import UTC, date, datetime, time, timedelta

from msgspec import Struct
from msgspec.structs import replace

from tallystick.gateway.ledger.postings import FEE_REVENUE, MERCHANT_PENDING, Entry
from tallystick.kernel import money

CLOSING_LAG = timedelta(minutes=10)
"""How long after a day's end it is closed: what commits late, or by a slow clock, should still stand in its own day."""


class Terms(Struct, frozen=True, kw_only=True):
    """The terms of an account in one currency and mode; money in minor units."""

    fee_basis_points: int = 0
    fee_fixed: int = 0
    dispute_fee: int = 0
    day_offset_minutes: int = 0
    available_days: int = 2

    def day_of(self, at: datetime) -> date:
        """The business day that `at` belongs to."""
        return (at.astimezone(UTC) - self._offset).date()

    def begin_of(self, day: date) -> datetime:
        """The first instant of a business day."""
        return datetime.combine(day, time(), UTC) + self._offset

    def end_of(self, day: date) -> datetime:
        """The first instant after a business day."""
        return self.begin_of(day + timedelta(days=1))

    def close_at(self, day: date) -> datetime:
        """When a business day is closed."""
        return self.end_of(day) + CLOSING_LAG

    def available_at(self, at: datetime) -> datetime:
        """When what was earned at `at` becomes available; never before it was earned."""
        return max(at, self.begin_of(self.day_of(at) + timedelta(days=self.available_days)))

    @property
    def _offset(self) -> timedelta:
        return timedelta(minutes=self.day_offset_minutes)


def charged(entry: Entry, terms: Terms, returned_fee: int = 0) -> Entry:
    """The entry with its fee, by contract or, where one is given back, as it was charged. RULES §2, §10."""
    match entry.fee:
        case "charge":
            fee = money.fee(gross_of(entry), terms.fee_basis_points, terms.fee_fixed)
        case "dispute":
            fee = terms.dispute_fee
        case "dispute_returned":
            fee = -returned_fee
        case _:
            fee = 0
    if fee == 0:
        return entry
    legs = [(account, amount + fee if account == MERCHANT_PENDING else amount) for account, amount in entry.legs]
    return replace(entry, legs=(*((account, amount) for account, amount in legs if amount), (FEE_REVENUE, -fee)))


def gross_of(entry: Entry) -> int:
    """What an entry gives the merchant before fees (negative: takes)."""
    return -sum(amount for account, amount in entry.legs if account == MERCHANT_PENDING)
