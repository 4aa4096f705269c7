"""The parameters of payment methods, as Stripe names them. Never a card number: only test tokens (RULES §9)."""

from typing import Literal

from msgspec import Struct, field

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.parameters import (
    ID_CHARACTERS_MAX,
    Metadata,
    Parameters,
    check_choice,
    check_metadata,
    check_text,
)


class CardToken(Struct, frozen=True, forbid_unknown_fields=True):
    """A test token such as `tok_visa`."""

    token: str


class CreatePaymentMethod(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_methods`."""

    type: str
    card: CardToken
    metadata: Metadata | Literal[""] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("type", self.type, ("card",))
        if not self.card.token:
            raise errors.empty("card[token]")
        check_text("card[token]", self.card.token, ID_CHARACTERS_MAX)
        check_metadata("metadata", self.metadata)
