"""The parameters of balance transactions and payouts, as Stripe names them. Amounts in minor units."""

from typing import Literal

from msgspec import field

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.parameters import (
    ID_CHARACTERS_MAX,
    CreatedPaging,
    Metadata,
    Parameters,
    check_choice,
    check_currency,
    check_metadata,
    check_money,
    check_storable,
    check_text,
)

DESCRIPTOR_CHARACTERS_MAX = 22  # as banks print them
PAYOUT_STATUSES = ("pending", "paid", "failed", "canceled")


class RetrieveBalance(Parameters, frozen=True, kw_only=True):
    """`GET /v1/balance`."""


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


class ListBalanceTransactions(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/balance_transactions`. A type that never occurs here has an empty list, as at Stripe."""

    currency: str | None = None
    payout: str | None = None
    source: str | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        check_currency("currency", self.currency)
        check_text("payout", self.payout, ID_CHARACTERS_MAX)
        check_text("source", self.source, ID_CHARACTERS_MAX)
        check_storable("type", self.type or "", ID_CHARACTERS_MAX)
        if self.payout is not None and self.source is not None:
            raise errors.exclusive("payout", "source")
