"""The parameters of payment intents and charges, as Stripe names them. Amounts in minor units."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.parameters import (
    ID_CHARACTERS_MAX,
    CreatedPaging,
    Metadata,
    MetadataChange,
    Parameters,
    check_amount,
    check_card_only,
    check_choice,
    check_metadata,
    check_money,
    check_storable,
    check_text,
    check_url,
)

CAPTURE_METHODS = ("automatic", "automatic_async", "manual")
FUTURE_USAGES = ("on_session", "off_session")
CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")


class AutomaticPaymentMethods(Struct, frozen=True, forbid_unknown_fields=True):
    """What nearly every Stripe integration sends; cards are what there is either way."""

    enabled: bool
    allow_redirects: str = "always"


class CreateIntent(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_intents`. `capture_method` automatic_async means automatic."""

    amount: int
    currency: str
    capture_method: str = "automatic"
    confirm: bool = False
    confirmation_method: str = "automatic"
    payment_method: str | None = None
    payment_method_types: list[str] | None = None
    automatic_payment_methods: AutomaticPaymentMethods | None = None
    error_on_requires_action: bool = False
    customer: str | None = None
    setup_future_usage: str | None = None
    off_session: bool = False  # the shopper is not there: a card that asks for 3DS is declined
    return_url: str | None = None
    description: str | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_money("amount", self.amount, self.currency)
        check_choice("capture_method", self.capture_method, CAPTURE_METHODS)
        check_choice("confirmation_method", self.confirmation_method, ("automatic",))
        check_text("payment_method", self.payment_method, ID_CHARACTERS_MAX)
        check_card_only("payment_method_types", self.payment_method_types)
        if self.automatic_payment_methods is not None:
            if self.payment_method_types is not None and self.automatic_payment_methods.enabled:
                raise errors.exclusive("automatic_payment_methods", "payment_method_types")
            check_choice(
                "automatic_payment_methods[allow_redirects]",
                self.automatic_payment_methods.allow_redirects,
                ("always", "never"),
            )
        check_text("description", self.description)
        check_text("customer", self.customer, ID_CHARACTERS_MAX)
        check_choice("setup_future_usage", self.setup_future_usage, FUTURE_USAGES)
        if self.off_session and self.setup_future_usage is not None:
            raise errors.exclusive("off_session", "setup_future_usage")
        check_metadata("metadata", self.metadata)
        check_url("return_url", self.return_url)
        for param, given in (
            ("off_session", self.off_session),
            ("return_url", self.return_url),
            ("error_on_requires_action", self.error_on_requires_action),
        ):
            if given and not self.confirm:
                raise errors.invalid(param, f"You can only use the `{param}` parameter when `confirm` is true.")


class UpdateIntent(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_intents/{id}`. Amount and currency never change (RULES §3), so they are unknown here."""

    payment_method: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: MetadataChange | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_text("payment_method", self.payment_method, ID_CHARACTERS_MAX)
        if isinstance(self.description, str):
            check_storable("description", self.description)  # empty: unset
        check_metadata("metadata", self.metadata)


class ConfirmIntent(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_intents/{id}/confirm`."""

    payment_method: str | None = None
    return_url: str | None = None
    error_on_requires_action: bool = False
    off_session: bool = False
    amount_to_confirm: int | None = None  # refused by the command unless it is the intent's amount

    def __post_init__(self) -> None:
        check_text("payment_method", self.payment_method, ID_CHARACTERS_MAX)
        check_url("return_url", self.return_url)
        check_amount("amount_to_confirm", self.amount_to_confirm)


class CaptureIntent(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_intents/{id}/capture`. Without an amount: all that is left."""

    amount_to_capture: int | None = None
    final_capture: bool = True
    metadata: MetadataChange | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_amount("amount_to_capture", self.amount_to_capture)
        check_metadata("metadata", self.metadata)


class CancelIntent(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_intents/{id}/cancel`."""

    cancellation_reason: str | None = None

    def __post_init__(self) -> None:
        check_choice("cancellation_reason", self.cancellation_reason, CANCELLATION_REASONS)


class ListIntents(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/payment_intents`."""


class ListCharges(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/charges`."""

    payment_intent: str | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        check_text("payment_intent", self.payment_intent, ID_CHARACTERS_MAX)
