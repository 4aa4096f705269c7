"""Builders of payments for the tests of this room."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.payments.payment import Payment, PaymentIntent, PaymentMethod

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCOUNT = "acct_0000000000000001"


def _intent(**fields: Any) -> PaymentIntent:
    return PaymentIntent(
        **{
            "account_id": ACCOUNT,
            "livemode": False,
            "id": "pi_1",
            "version": 0,
            "status": "requires_payment_method",
            "amount": 1000,
            "currency": "EUR",
            "capture_method": "automatic",
            "client_secret": "pi_1_secret_x",
            "created_at": AT,
            **fields,
        }
    )


def _method(**fields: Any) -> PaymentMethod:
    return PaymentMethod(
        **{
            "account_id": ACCOUNT,
            "livemode": False,
            "id": "pm_1",
            "card_reference": "sim_visa",
            "brand": "visa",
            "first6": "424242",
            "last4": "4242",
            "exp_month": 12,
            "exp_year": 2030,
            "fingerprint": "f",
            "authentication_required": False,
            "created_at": AT,
            **fields,
        }
    )


def _session(**fields: Any) -> CheckoutSession:
    return CheckoutSession(
        **{
            "account_id": ACCOUNT,
            "livemode": False,
            "id": "cs_test_1",
            "version": 0,
            "status": "open",
            "payment_status": "unpaid",
            "amount_total": 1000,
            "currency": "EUR",
            "line_items": "[]",
            "ui_mode": "hosted_page",
            "expires_at": AT + timedelta(hours=1),
            "created_at": AT,
            "payment_intent": "pi_1",
            **fields,
        }
    )


def _payment(*, session: bool = False, **fields: Any) -> Payment:
    opened = _session() if session else None
    return Payment(
        intent=_intent(checkout_session=opened.id if opened else None, **fields),
        session=opened,
    )


@pytest.fixture
def a_payment() -> Callable[..., Payment]:
    """A payment that has just begun; `session=True` with a checkout session."""
    return _payment


@pytest.fixture
def a_method() -> Callable[..., PaymentMethod]:
    """A card that needs no 3DS."""
    return _method
