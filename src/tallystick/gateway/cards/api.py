"""The routes of payment methods."""

from tallystick.gateway.cards.commands import Cards
from tallystick.gateway.cards.parameters import CreatePaymentMethod
from tallystick.gateway.stripe_wire import writes
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route

METHOD = "payment_method"
METHODS = "/v1/payment_methods"


def routes(cards: Cards, reads: Reads) -> list[Route]:
    """Create from a test token, retrieve."""
    return [
        writes.create(METHODS, CreatePaymentMethod, cards.create, kind=METHOD, publishable=True, batched=True),
        reads.one(f"{METHODS}/{{id}}", METHOD, param="payment_method", noun="PaymentMethod"),
    ]
