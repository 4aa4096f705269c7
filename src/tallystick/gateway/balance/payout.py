"""A payout as it stands in the database. Pure."""

from datetime import date, datetime
from typing import Literal

from msgspec import Struct


class Payout(Struct, frozen=True, kw_only=True):
    """Money on its way to a merchant, in minor units. `day` is the business day whose closing made it."""

    account_id: str
    livemode: bool
    id: str
    currency: str
    day: date
    amount: int
    status: Literal["pending", "paid", "failed"]
    arrival_at: datetime
    created_at: datetime
