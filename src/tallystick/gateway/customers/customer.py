"""The record of a customer. Pure."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Raw, Struct

from tallystick.gateway.stripe_wire.objects import Json, unix

KIND = "customer"


class Customer(Struct, frozen=True, kw_only=True):
    """A shopper who may come back; who that is stands elsewhere (`people/records.py`). `metadata` is JSON text."""

    account_id: str
    livemode: bool
    id: str
    created_at: datetime
    description: str | None = None
    metadata: str = "{}"


def shaped(customer: Customer, details: Mapping[str, str | None]) -> Json:
    """A customer as the wire shows it; `details` say who it is: email, name, phone."""
    return {
        "id": customer.id,
        "object": KIND,
        "address": None,
        "balance": 0,
        "created": unix(customer.created_at),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": customer.description,
        "email": details.get("email"),
        "invoice_prefix": None,
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": customer.livemode,
        "metadata": Raw(customer.metadata.encode()),
        "name": details.get("name"),
        "phone": details.get("phone"),
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
