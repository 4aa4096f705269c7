"""A payout as it stands in the database. Pure."""

from datetime import date, datetime
from typing import Literal

from msgspec import Struct


class Payout(Struct, frozen=True, kw_only=True):
    """Money on its way to a merchant, in minor units. `day` is the business day whose closing made it (`automatic`), or
    on which the merchant asked for it; `metadata` is JSON text."""

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
