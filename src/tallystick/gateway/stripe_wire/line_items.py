"""The positions of a checkout session on the wire. Pure."""

import msgspec

from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.stripe_wire.objects import Json, unix


def line_items(session: CheckoutSession) -> list[Json]:
    """The positions of a session; their ids follow from the session's, since they are made for it alone."""
    characters = session.id.rpartition("_")[2]
    positions = msgspec.json.decode(session.line_items)
    return [_line_item(session, f"{characters}{number:03d}", position) for number, position in enumerate(positions)]


def _line_item(session: CheckoutSession, characters: str, position: Json) -> Json:
    currency = session.currency.lower()
    amount = position["amount"] * position["quantity"]
    return {
        "id": f"li_{characters}",
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": currency,
        "description": position["name"],
        "metadata": {},
        "price": {
            "id": f"price_{characters}",
            "object": "price",
            "active": False,
            "billing_scheme": "per_unit",
            "created": unix(session.created_at),
            "currency": currency,
            "custom_unit_amount": None,
            "livemode": session.livemode,
            "lookup_key": None,
            "metadata": {},
            "nickname": None,
            "product": f"prod_{characters}",
            "recurring": None,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "one_time",
            "unit_amount": position["amount"],
            "unit_amount_decimal": str(position["amount"]),
        },
        "quantity": position["quantity"],
    }
