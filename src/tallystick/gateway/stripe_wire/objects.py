"""The objects of the wire: a row of ours becomes Stripe's JSON, complete with every member that Stripe sends. Pure.

Here are those of payments; beside it the objects of checkout, of webhooks, of balances and of reports.

Shapes are those of `API_VERSION`, whatever `Stripe-Version` a caller sends (DESIGN §5). Members that name another
object hold its id; `reading.py` puts the object in its place. Times are seconds since 1970, currencies lower case.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw

from tallystick.gateway.payments.payment import Charge, PaymentIntent, PaymentMethod, Refund

API_VERSION = "2026-10-28.endive"  # of the pinned `stripe` package; a test compares them

Json = dict[str, Any]

_BILLING_DETAILS: Json = {
    "address": {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None},
    "email": None,
    "name": None,
    "phone": None,
    "tax_id": None,
}
_CARD_OPTIONS: Json = {
    "card": {"installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
}
_CHARGE_STATUS = {
    "approved": "succeeded",
    "reversing": "succeeded",
    "reversed": "succeeded",
    "declined": "failed",
    "abandoned": "failed",
}


_APPROVED = "Payment complete."
_DECLINED = "The bank did not return any further details with this decline."


def payment_intent(intent: PaymentIntent) -> Json:
    """A payment intent. `next_action` and `last_payment_error` stand in the row as the wire shows them."""
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": intent.amount_capturable,
        "amount_details": {"tip": {}},
        "amount_received": intent.amount_received,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": unix(intent.canceled_at),
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": intent.capture_method,
        "client_secret": intent.client_secret,
        "confirmation_method": "automatic",
        "created": unix(intent.created_at),
        "currency": intent.currency.lower(),
        "customer": intent.customer,
        "customer_account": None,
        "description": intent.description,
        "excluded_payment_method_types": None,
        "last_payment_error": _embedded(intent.last_payment_error),
        "latest_charge": intent.latest_charge,
        "livemode": intent.livemode,
        "metadata": Raw(intent.metadata.encode()),
        "next_action": _embedded(intent.next_action),
        "on_behalf_of": None,
        "payment_method": intent.payment_method,
        "payment_method_configuration_details": None,
        "payment_method_options": _CARD_OPTIONS,
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": intent.setup_future_usage,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": intent.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def charge(charge: Charge, method: PaymentMethod, intent: PaymentIntent) -> Json:
    """A charge, with the card it was made with and what it inherits from its intent."""
    status = _CHARGE_STATUS.get(charge.state, "pending")
    captured = charge.amount_captured > 0
    voided = charge.state == "reversed" or (charge.voided_at is not None and not captured)
    refunded = charge.amount if voided else charge.amount_refunded
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount_captured,
        "amount_refunded": refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": _BILLING_DETAILS,
        "calculated_statement_descriptor": None,
        "captured": captured,
        "created": unix(charge.created_at),
        "currency": charge.currency.lower(),
        "customer": intent.customer,
        "description": intent.description,
        "disputed": charge.disputed,
        "failure_balance_transaction": None,
        "failure_code": charge.failure_code,
        "failure_message": charge.failure_message,
        "fraud_details": {},
        "livemode": charge.livemode,
        "metadata": Raw(intent.metadata.encode()),
        "on_behalf_of": None,
        "outcome": _outcome(charge, status),
        "paid": status == "succeeded",
        "payment_intent": charge.payment_intent,
        "payment_method": charge.payment_method,
        "payment_method_details": {"card": _card_of_charge(charge, method, intent), "type": "card"},
        "radar_options": {},
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": voided or (captured and refunded >= charge.amount_captured),
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
    }


def refund(refund: Refund) -> Json:
    """A refund. It goes back to the card that was charged."""
    failed: Json = {}
    if refund.failure_reason is not None:
        failed = {"failure_balance_transaction": None, "failure_reason": refund.failure_reason}
    return {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": None,
        "charge": refund.charge,
        "created": unix(refund.created_at),
        "currency": refund.currency.lower(),
        "customer": None,
        "customer_account": None,
        "destination_details": {
            "card": {
                **({"reference": refund.reference} if refund.reference is not None else {}),
                "reference_status": "available" if refund.reference is not None else "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        **failed,
        "metadata": Raw(refund.metadata.encode()),
        "payment_intent": refund.payment_intent,
        "payment_method": None,
        "reason": refund.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": refund.status,
        "transfer_reversal": None,
    }


def payment_method(method: PaymentMethod) -> Json:
    """A card as it may be shown: brand, last four, expiry."""
    return {
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": _BILLING_DETAILS,
        "card": {
            "brand": method.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "unchecked"},
            "country": None,
            "display_brand": method.brand,
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
            "fingerprint": method.fingerprint,
            "funding": "unknown",
            "generated_from": None,
            "last4": method.last4,
            "networks": {"available": [method.brand], "preferred": None},
            "regulated_status": None,
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": unix(method.created_at),
        "customer": method.customer if method.attached_at is not None else None,
        "customer_account": None,
        "livemode": method.livemode,
        "metadata": Raw(method.metadata.encode()),
        "type": "card",
    }


def deleted(kind: str, id: str) -> Json:
    """What remains of a deleted object."""
    return {"id": id, "object": kind, "deleted": True}


def listing(url: str, data: Sequence[Json], has_more: bool) -> Json:
    """One page of a list."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


def unix(at: datetime | None) -> int | None:
    """Whole seconds since 1970."""
    return None if at is None else int(at.timestamp())


def _embedded(text: str | None) -> Raw | None:
    return None if text is None else Raw(text.encode())


def _outcome(charge: Charge, status: str) -> Json | None:
    if status == "pending" or charge.state == "abandoned":
        return None
    approved = status == "succeeded"
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if approved else "declined_by_network",
        "reason": charge.decline_code,
        "risk_level": "normal",
        "seller_message": _APPROVED if approved else _DECLINED,
        "type": "authorized" if approved else "issuer_declined",
    }


def _card_of_charge(charge: Charge, method: PaymentMethod, intent: PaymentIntent) -> Json:
    return {
        "amount_authorized": charge.amount_authorised or None,
        "authorization_code": None,
        "brand": method.brand,
        **({"capture_before": unix(intent.capture_before_at)} if intent.capture_before_at is not None else {}),
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": None},
        "country": None,
        "exp_month": method.exp_month,
        "exp_year": method.exp_year,
        "extended_authorization": {"status": "disabled"},
        "fingerprint": method.fingerprint,
        "funding": "unknown",
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": method.last4,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": method.brand,
        "network_token": {"used": False},
        "network_transaction_id": charge.acquirer_reference,
        "overcapture": {"maximum_amount_capturable": charge.amount, "status": "unavailable"},
        "regulated_status": None,
        "three_d_secure": _three_d_secure(charge),
        "wallet": None,
    }


def _three_d_secure(charge: Charge) -> Json | None:
    if charge.authentication is None:
        return None
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": None,
        "exemption_indicator": None,
        "result": "failed" if charge.state == "abandoned" else "authenticated",
        "result_reason": "rejected" if charge.state == "abandoned" else None,
        "transaction_id": charge.authentication,
        "version": "2.2.0",
    }
