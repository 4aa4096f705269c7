"""The record of a checkout session as it stands in the database."""

from datetime import datetime

from msgspec import Struct


class CheckoutSession(Struct, frozen=True, kw_only=True):
    """A hosted or embedded page bound to one payment intent (RULES §1). JSON columns are text."""

    account_id: str
    livemode: bool
    id: str
    version: int
    status: str
    payment_status: str
    amount_total: int
    currency: str
    line_items: str
    ui_mode: str
    expires_at: datetime
    created_at: datetime
    payment_intent: str | None = None
    success_url: str | None = None
    cancel_url: str | None = None
    return_url: str | None = None
    client_reference_id: str | None = None
    client_secret: str | None = None
    metadata: str = "{}"
    payment_intent_data: str = "{}"
    decline_count: int = 0
    completed_at: datetime | None = None
    customer: str | None = None
    saves_card: bool = False
