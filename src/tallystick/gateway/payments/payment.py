"""The records of a payment as they stand in the database: plain frozen data, columns by name."""

from datetime import datetime

from msgspec import Struct


class PaymentIntent(Struct, frozen=True, kw_only=True):
    """One payment (RULES §1, §3). Amounts in minor units; `metadata`, `last_payment_error`, `next_action` are JSON text."""

    account_id: str
    livemode: bool
    id: str
    version: int
    status: str
    amount: int
    currency: str
    capture_method: str
    client_secret: str
    created_at: datetime
    amount_capturable: int = 0
    amount_received: int = 0
    payment_method: str | None = None
    latest_charge: str | None = None
    checkout_session: str | None = None
    description: str | None = None
    metadata: str = "{}"
    last_payment_error: str | None = None
    next_action: str | None = None
    return_url: str | None = None
    cancellation_reason: str | None = None
    capture_before_at: datetime | None = None
    canceled_at: datetime | None = None


class Charge(Struct, frozen=True, kw_only=True):
    """One authorisation and capture at the acquirer (RULES §1, §3)."""

    account_id: str
    livemode: bool
    id: str
    version: int
    payment_intent: str
    payment_method: str
    state: str
    amount: int
    currency: str
    capture_method: str
    acquirer_key: str
    created_at: datetime
    amount_authorised: int = 0
    amount_captured: int = 0
    acquirer_reference: str | None = None
    authentication: str | None = None
    decline_code: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    voided_at: datetime | None = None


class PaymentMethod(Struct, frozen=True, kw_only=True):
    """A card as we may keep it: the acquirer's reference and what may be shown, never a number (RULES §9)."""

    account_id: str
    livemode: bool
    id: str
    card_reference: str
    brand: str
    first6: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    authentication_required: bool
    created_at: datetime
    metadata: str = "{}"
