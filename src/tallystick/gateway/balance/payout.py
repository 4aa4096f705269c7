"""A payout as it stands in the database. Pure."""

from datetime import date, datetime
from typing import Literal

from msgspec import Struct


class Payout(Struct, frozen=True, kw_only=True):
    """Money on its way to a merchant, in minor units. `day` is the business day whose closing made it (`automatic`), or
    on which the merchant asked for it; `metadata` is JSON text, `trace` the step in which it was asked for, where
    somebody follows that. What a day's closing pays out is of many payments, and of no trace."""

    account_id: str
    livemode: bool
    id: str
    currency: str
    day: date
    amount: int
    status: Literal["pending", "paid", "failed", "canceled"]
    arrival_at: datetime
    created_at: datetime
    automatic: bool = True
    description: str | None = None
    statement_descriptor: str | None = None
    metadata: str = "{}"
    trace: str | None = None
