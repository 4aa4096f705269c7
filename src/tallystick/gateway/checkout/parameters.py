"""The parameters of checkout sessions, as Stripe names them. Amounts in minor units, times in seconds since 1970."""

from typing import Literal

from msgspec import Struct, field

from tallystick.gateway.payments.parameters import CAPTURE_METHODS, FUTURE_USAGES
from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.parameters import (
    AMOUNT_MAX,
    ID_CHARACTERS_MAX,
    UNIX_SECONDS_MAX,
    CreatedPaging,
    Metadata,
    Paging,
    Parameters,
    check_card_only,
    check_choice,
    check_currency,
    check_metadata,
    check_money,
    check_text,
    check_url,
)

LINE_ITEMS_MAX = 100  # Stripe's limit for one-time prices
QUANTITY_MAX = 999_999
UI_MODES = {
    "hosted_page": "hosted_page",
    "hosted": "hosted_page",
    "embedded_page": "embedded_page",
    "embedded": "embedded_page",
}
"""What may be sent and what it means; the older names are synonyms (DESIGN §5)."""


class ProductData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sold. `images` and the like are accepted by Stripe and have no place here."""

    name: str
    description: str | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)


class PriceData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price made for this session alone."""

    currency: str
    product_data: ProductData
    unit_amount: int


class LineItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One position."""

    price_data: PriceData
    quantity: int = 1


class PaymentIntentData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the session's payment intent gets."""

    capture_method: str = "automatic"
    description: str | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)
    setup_future_usage: str | None = None


class SavedPaymentMethodOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the page asks the shopper to save the card."""

    payment_method_save: str | None = None


class CreateSession(Parameters, frozen=True, kw_only=True):
    """`POST /v1/checkout/sessions`: `line_items`, or our own `amount_total` with `currency` where there are none."""

    mode: str = "payment"
    line_items: list[LineItem] | None = None
    amount_total: int | None = None
    currency: str | None = None
    ui_mode: str = "hosted_page"
    success_url: str | None = None
    cancel_url: str | None = None
    return_url: str | None = None
    client_reference_id: str | None = None
    customer: str | None = None
    saved_payment_method_options: SavedPaymentMethodOptions = SavedPaymentMethodOptions()
    expires_at: int | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)
    payment_intent_data: PaymentIntentData = PaymentIntentData()
    payment_method_types: list[str] | None = None

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("payment",))
        check_choice("ui_mode", self.ui_mode, tuple(UI_MODES))
        check_card_only("payment_method_types", self.payment_method_types)
        self._check_positions()
        self._check_addresses()
        check_text("client_reference_id", self.client_reference_id, 200)
        if self.expires_at is not None and not 0 <= self.expires_at <= UNIX_SECONDS_MAX:
            raise errors.invalid_integer("expires_at", self.expires_at)
        check_metadata("metadata", self.metadata)
        check_choice("payment_intent_data[capture_method]", self.payment_intent_data.capture_method, CAPTURE_METHODS)
        check_choice(
            "payment_intent_data[setup_future_usage]", self.payment_intent_data.setup_future_usage, FUTURE_USAGES
        )
        check_text("customer", self.customer, ID_CHARACTERS_MAX)
        save = "saved_payment_method_options[payment_method_save]"
        check_choice(save, self.saved_payment_method_options.payment_method_save, ("enabled", "disabled"))
        if self.saves_card and self.customer is None:
            raise errors.invalid(save, "A card can be saved for a `customer` only.")
        check_text("payment_intent_data[description]", self.payment_intent_data.description)
        check_metadata("payment_intent_data[metadata]", self.payment_intent_data.metadata)

    @property
    def page(self) -> str:
        """The `ui_mode` without synonyms."""
        return UI_MODES[self.ui_mode]

    @property
    def saves_card(self) -> bool:
        """Whether the page asks the shopper to save the card."""
        return self.saved_payment_method_options.payment_method_save == "enabled"

    def total(self) -> tuple[int, str]:
        """What is to be paid, in minor units, and its currency in upper case."""
        if self.line_items:
            amount = sum(item.quantity * item.price_data.unit_amount for item in self.line_items)
            return amount, self.line_items[0].price_data.currency.upper()
        assert self.amount_total is not None
        assert self.currency is not None
        return self.amount_total, self.currency.upper()

    def _check_positions(self) -> None:
        check_currency("currency", self.currency)
        if self.line_items is None:
            if self.amount_total is None:
                raise errors.missing("line_items")
            if self.currency is None:
                raise errors.missing("currency")
            check_money("amount_total", self.amount_total, self.currency)
            return
        if self.amount_total is not None:
            raise errors.exclusive("line_items", "amount_total")
        if not self.line_items:
            raise errors.missing("line_items")
        if len(self.line_items) > LINE_ITEMS_MAX:
            raise errors.invalid("line_items", f"A session can have up to {LINE_ITEMS_MAX} line items.")
        for number, item in enumerate(self.line_items):
            _check_item(f"line_items[{number}]", item)
        currencies = {item.price_data.currency.upper() for item in self.line_items}
        if len(currencies | ({self.currency.upper()} if self.currency else set())) > 1:
            raise errors.invalid("line_items", "All line items of a session must have the same currency.")
        total = self.total()[0]
        if total < 1:
            raise errors.invalid("line_items", "The total of a session must be at least 1.", "amount_too_small")
        if total > AMOUNT_MAX:
            raise errors.invalid(
                "line_items", f"The total of a session must be no more than {AMOUNT_MAX}", "amount_too_large"
            )

    def _check_addresses(self) -> None:
        for param in ("success_url", "cancel_url", "return_url"):
            check_url(param, getattr(self, param))
        if self.page == "hosted_page":
            if self.success_url is None:
                raise errors.missing("success_url")
            if self.return_url is not None:
                raise errors.invalid(
                    "return_url", "`return_url` can only be passed when ui_mode is set to `embedded_page`."
                )
        else:
            if self.return_url is None:
                raise errors.missing("return_url")
            for param in ("success_url", "cancel_url"):
                if getattr(self, param) is not None:
                    raise errors.invalid(param, f"`{param}` can only be passed when ui_mode is `hosted_page`.")


class ExpireSession(Parameters, frozen=True, kw_only=True):
    """`POST /v1/checkout/sessions/{id}/expire`."""


class ListSessions(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/checkout/sessions`."""

    payment_intent: str | None = None
    status: str | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        check_text("payment_intent", self.payment_intent, ID_CHARACTERS_MAX)
        check_choice("status", self.status, ("complete", "expired", "open"))


class ListLineItems(Paging, frozen=True, kw_only=True):
    """`GET /v1/checkout/sessions/{id}/line_items`."""


def _check_item(param: str, item: LineItem) -> None:
    check_currency(f"{param}[price_data][currency]", item.price_data.currency)
    if not 0 <= item.price_data.unit_amount <= AMOUNT_MAX:
        raise errors.invalid_integer(f"{param}[price_data][unit_amount]", item.price_data.unit_amount)
    if not 1 <= item.quantity <= QUANTITY_MAX:
        raise errors.invalid_integer(f"{param}[quantity]", item.quantity)
    product = f"{param}[price_data][product_data]"
    check_text(f"{product}[name]", item.price_data.product_data.name, 250)
    check_text(f"{product}[description]", item.price_data.product_data.description)
    check_metadata(f"{product}[metadata]", item.price_data.product_data.metadata)
