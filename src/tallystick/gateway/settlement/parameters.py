"""The parameters of payouts, as Stripe names them. Amounts in minor units."""

from typing import Literal

from msgspec import field

from tallystick.gateway.stripe_wire.parameters import (
    CreatedPaging,
    Metadata,
    Parameters,
    check_choice,
    check_metadata,
    check_money,
    check_text,
)

DESCRIPTOR_CHARACTERS_MAX = 22  # as banks print them
PAYOUT_STATUSES = ("pending", "paid", "failed", "canceled")


class ListPayouts(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/payouts`."""

    status: str | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        check_choice("status", self.status, PAYOUT_STATUSES)


class CreatePayout(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payouts`: of what is available, to the bank account that the merchant has agreed with the gateway."""

    amount: int
    currency: str
    description: str | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)
    method: str | None = None
    source_type: str | None = None
    statement_descriptor: str | None = None

    def __post_init__(self) -> None:
        check_money("amount", self.amount, self.currency)
        check_text("description", self.description)
        check_metadata("metadata", self.metadata)
        check_choice("method", self.method, ("standard",))
        check_choice("source_type", self.source_type, ("card",))
        check_text("statement_descriptor", self.statement_descriptor, DESCRIPTOR_CHARACTERS_MAX)


class CancelPayout(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payouts/{id}/cancel`."""
