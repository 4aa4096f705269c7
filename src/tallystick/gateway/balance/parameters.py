"""The parameters of the balance and its transactions, as Stripe names them."""

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.parameters import (
    ID_CHARACTERS_MAX,
    CreatedPaging,
    Parameters,
    check_currency,
    check_storable,
    check_text,
)


class RetrieveBalance(Parameters, frozen=True, kw_only=True):
    """`GET /v1/balance`."""


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
