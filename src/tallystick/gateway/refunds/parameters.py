"""The parameters of refunds, as Stripe names them. Amounts in minor units."""

from typing import Literal

from msgspec import UNSET, UnsetType, field

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.parameters import (
    ID_CHARACTERS_MAX,
    CreatedPaging,
    Metadata,
    MetadataChange,
    Parameters,
    check_amount,
    check_choice,
    check_metadata,
    check_text,
)

REASONS = ("duplicate", "fraudulent", "requested_by_customer")


class CreateRefund(Parameters, frozen=True, kw_only=True):
    """`POST /v1/refunds`: of a charge or of the charge of a payment intent; without an amount all that is left."""

    amount: int | None = None
    charge: str | None = None
    payment_intent: str | None = None
    reason: str | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_amount("amount", self.amount)
        check_text("charge", self.charge, ID_CHARACTERS_MAX)
        check_text("payment_intent", self.payment_intent, ID_CHARACTERS_MAX)
        check_choice("reason", self.reason, REASONS)
        check_metadata("metadata", self.metadata)
        if self.charge is not None and self.payment_intent is not None:
            raise errors.exclusive("charge", "payment_intent")
        if self.charge is None and self.payment_intent is None:
            raise errors.InvalidRequest(
                "One of the following params should be provided for this request: payment_intent or charge.",
                code="parameter_missing",
            )


class RefundAsSeen(CreateRefund, frozen=True, kw_only=True):
    """What an operator asks for, who saw that so much, `refundable`, could be given back: where it is another amount by
    now, somebody was faster, and nothing is done. No call of the wire is bound to it."""

    refundable: int


class UpdateRefund(Parameters, frozen=True, kw_only=True):
    """`POST /v1/refunds/{id}`."""

    metadata: MetadataChange | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_metadata("metadata", self.metadata)


class CancelRefund(Parameters, frozen=True, kw_only=True):
    """`POST /v1/refunds/{id}/cancel`."""


class ListRefunds(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/refunds`."""

    charge: str | None = None
    payment_intent: str | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        check_text("charge", self.charge, ID_CHARACTERS_MAX)
        check_text("payment_intent", self.payment_intent, ID_CHARACTERS_MAX)
