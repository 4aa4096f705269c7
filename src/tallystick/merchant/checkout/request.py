"""What `POST /v1/orders` takes, checked field by field, and the order that it becomes. Pure. DESIGN §6."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from msgspec import Meta, Struct, field

from tallystick.kernel.money import AMOUNT_MAX, CurrencyRefused, chargeable
from tallystick.kernel.people.person import NO_CONTROL, Email, Person
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.merchant.accounts.commands import AccountRefused, return_origin
from tallystick.merchant.accounts.directory import Merchant
from tallystick.merchant.gateways.port import Connection, Item, UiMode

LINE_ITEMS_MAX = 100  # Stripe's limit for one-time prices
QUANTITY_MAX = 999_999
METADATA_ENTRIES_MAX = 50  # Stripe's limits, so that an order's metadata could travel anywhere
METADATA_KEY_CHARACTERS_MAX = 40
METADATA_VALUE_CHARACTERS_MAX = 500
TTL_MIN_S = 60
TTL_MAX_S = 24 * 3600  # RULES §8

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROL)]
Url = Annotated[
    str, Meta(min_length=1, max_length=2000, pattern=NO_CONTROL, description="Absolute, at a registered origin.")
]
Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX, description="Minor units of the currency, by ISO 4217.")]
Currency = Annotated[str, Meta(pattern="^[A-Za-z]{3}$", description="ISO 4217, any case.")]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=METADATA_KEY_CHARACTERS_MAX, pattern=NO_CONTROL)]
MetadataValue = Annotated[str, Meta(max_length=METADATA_VALUE_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]


class Position(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the order: `amount` for each of `quantity`."""

    name: Text
    amount: Amount
    quantity: Annotated[int, Meta(ge=1, le=QUANTITY_MAX)] = 1


class Customer(Struct, frozen=True, forbid_unknown_fields=True):
    """Who buys. Personal data are kept apart from the order; who says the same again is the same customer."""

    email: Email | None = None
    name: Text | None = None

    def __repr__(self) -> str:
        return "Customer()"

    def person(self) -> Person:
        """As customers are stored."""
        return Person(email=self.email, name=self.name)


class CreateOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/orders`: either `amount` or `line_items`, whose sum is then the amount."""

    currency: Currency
    amount: Amount | None = None
    line_items: Annotated[tuple[Position, ...], Meta(min_length=1, max_length=LINE_ITEMS_MAX)] | None = None
    reference: Annotated[Text | None, Meta(description="The shop's own name for the order.")] = None
    customer: Customer | None = None
    return_url: Annotated[Url | None, Meta(description="Where the shopper goes once the order is paid.")] = None
    cancel_url: Annotated[Url | None, Meta(description="Where the shopper goes when nothing was paid.")] = None
    ui_mode: UiMode = "hosted"
    expires_in_s: Annotated[int, Meta(ge=TTL_MIN_S, le=TTL_MAX_S)] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=METADATA_ENTRIES_MAX)] = field(
        default_factory=dict
    )
    connection: Annotated[Text | None, Meta(description="May be left out where there is only one.")] = None


class Wanted(Struct, frozen=True):
    """An order that may be placed: everything checked, nothing stored yet."""

    connection: Connection
    amount_minor: int
    currency: str
    items: tuple[Item, ...]
    itemised: bool
    reference: str | None
    customer: Customer | None
    return_url: str | None
    cancel_url: str | None
    ui_mode: UiMode
    ttl_s: int
    metadata: Mapping[str, str]


def check(request: CreateOrder, merchant: Merchant, default_ttl_s: int) -> Wanted:
    """The order that `request` asks for. Raises FieldsRefused, which names every field that is wrong."""
    errors: list[FieldError] = []
    try:
        currency = chargeable(request.currency)
    except CurrencyRefused as refused:
        currency = ""
        errors.append(FieldError("currency", str(refused)))
    amount_minor = _amount(request, errors)
    connection = merchant.connection(request.connection)
    if connection is None:
        errors.append(FieldError("connection", _which_connection(request, merchant)))
    for name, text in _texts(request):
        if text.endswith("\n"):  # the one character that `$` in a pattern lets through
            errors.append(FieldError(name, "must not end with a line break"))
    for name, url in (("return_url", request.return_url), ("cancel_url", request.cancel_url)):
        if url is not None and not _is_registered(url, merchant):
            errors.append(FieldError(name, "must be an absolute address at an origin that is registered for you"))
    if errors:
        raise FieldsRefused("See errors.", errors=errors)
    assert connection is not None
    return Wanted(
        connection=connection,
        amount_minor=amount_minor,
        currency=currency,
        items=_items(request, amount_minor),
        itemised=request.line_items is not None,
        reference=request.reference,
        customer=request.customer,
        return_url=request.return_url,
        cancel_url=request.cancel_url,
        ui_mode=request.ui_mode,
        ttl_s=request.expires_in_s if request.expires_in_s is not None else default_ttl_s,
        metadata=request.metadata,
    )


def _amount(request: CreateOrder, errors: list[FieldError]) -> int:
    if (request.amount is None) == (request.line_items is None):
        errors.append(FieldError("amount", "send either amount or line_items"))
        return 0
    if request.amount is not None:
        return request.amount
    total = sum(position.amount * position.quantity for position in request.line_items or ())
    if total > AMOUNT_MAX:
        errors.append(FieldError("line_items", f"sum to more than {AMOUNT_MAX}"))
    return total


def title_of(reference: str | None) -> str:
    """What shoppers read of an order that has no lines."""
    return f"Order {reference}" if reference else "Order"


def _items(request: CreateOrder, amount_minor: int) -> tuple[Item, ...]:
    if request.line_items is None:
        return (Item(title_of(request.reference), amount_minor, 1),)
    return tuple(Item(position.name, position.amount, position.quantity) for position in request.line_items)


def _texts(request: CreateOrder) -> Iterator[tuple[str, str]]:
    customer = request.customer or Customer()
    yield "reference", request.reference or ""
    yield "customer.email", customer.email or ""
    yield "customer.name", customer.name or ""
    yield from ((f"line_items[{n}].name", position.name) for n, position in enumerate(request.line_items or ()))
    yield from (("metadata", key) for key in request.metadata)


def _which_connection(request: CreateOrder, merchant: Merchant) -> str:
    if request.connection is not None:
        return "you have no such connection"
    return "name one of your connections" if merchant.connections else "you have no connection to a gateway yet"


def _is_registered(url: str, merchant: Merchant) -> bool:
    try:
        return return_origin(url) in merchant.return_origins
    except AccountRefused:
        return False
