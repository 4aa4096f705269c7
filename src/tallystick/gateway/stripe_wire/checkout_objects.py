"""The objects of the wire that speak of checkout: the session. Pure."""

from msgspec import Raw

from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.stripe_wire.objects import Json, unix


def checkout_session(session: CheckoutSession, pages_url: str) -> Json:
    """A checkout session; `pages_url` is the gateway's own address, under which the hosted page stands."""
    hosted = session.ui_mode == "hosted_page"
    return {
        "id": session.id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": session.amount_total,
        "amount_total": session.amount_total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": session.cancel_url,
        "client_reference_id": session.client_reference_id,
        "client_secret": None if hosted else session.client_secret,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": unix(session.created_at),
        "currency": session.currency.lower(),
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": session.customer,
        "customer_account": None,
        "customer_creation": "if_required",
        "customer_details": None,
        "customer_email": None,
        "discounts": [],
        "expires_at": unix(session.expires_at),
        "invoice": None,
        "invoice_creation": {
            "enabled": False,
            "invoice_data": {
                "account_tax_ids": None,
                "custom_fields": None,
                "description": None,
                "footer": None,
                "issuer": None,
                "metadata": {},
                "rendering_options": None,
            },
        },
        "livemode": session.livemode,
        "locale": None,
        "metadata": Raw(session.metadata.encode()),
        "mode": "payment",
        "origin_context": None,
        "payment_intent": session.payment_intent,
        "payment_link": None,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": session.payment_status,
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        **({} if hosted else {"redirect_on_completion": "always"}),
        "return_url": session.return_url,
        "saved_payment_method_options": _saving(session),
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": session.status,
        "submit_type": None,
        "subscription": None,
        "success_url": session.success_url,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": session.ui_mode,
        "url": f"{pages_url}/pay/{session.id}" if hosted and session.status == "open" else None,
        "wallet_options": None,
    }


def _saving(session: CheckoutSession) -> Json | None:
    if session.customer is None:
        return None
    return {
        "allow_redisplay_filters": ["always"],
        "payment_method_remove": None,
        "payment_method_save": "enabled" if session.saves_card else None,
    }
