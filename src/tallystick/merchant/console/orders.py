"""Orders as pages: a list with filters, and one search field for whatever a customer might say (RULES §13).

Every list is read behind a place, by an index; what no index knows, such as the state, is looked for among so many
orders, and the page says how far it looked. So a page costs the same with a thousand orders and with millions.

What may be personal is never in an address: the search is a form that is posted, and an e-mail address or a phone
number in it goes the way through the policy (`kernel/people/access.py`), which writes the access log.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.identifiers import first_id, owner_of
from tallystick.kernel.money import AMOUNT_MAX, AmountRefused, MoneyRefused, chargeable, exponent, parse_decimal
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX
from tallystick.merchant.console.customers import CustomerPages
from tallystick.merchant.console.merchants import SQL, Merchants, Scope, is_merchant_id, said
from tallystick.merchant.orders.ids import ORDER_PREFIX
from tallystick.merchant.orders.state import Fulfilment, OrderState
from tallystick.merchant.timeline.timeline import Timelines
from tallystick.ports.database import Database, Record
from tallystick.ports.telemetry import Scrubber

ORDERS: Final = "/console/orders"
SEARCH: Final = "/console/search"
PAGE_ROWS: Final = 50
LOOKED_THROUGH_MAX: Final = 5_000
"""Orders that one page looks through for what no index knows, such as the state: some milliseconds."""
LIVE_S: Final = 10
INDEXED: Final = (
    "reference",
    "amount",
    "customer",
    "attention",
)  # the one that leaves the fewest to look through first
STATES: Final = ("PENDING", "PAID", "FAILED", "EXPIRED", "CANCELED")
FULFILMENTS: Final = ("held", "allowed", "refused")

_AMOUNT = re.compile(r"([A-Za-z]{3})?\s*([0-9]+(?:[.,][0-9]{1,4})?)\s*([A-Za-z]{3})?")
_ID = re.compile(r"[a-z]+_[0-9A-Za-z_]{1,100}")  # of a payment, a webhook, a case; the shop may call orders so too
_PHONE = re.compile(r"\+[0-9][0-9 ()/.-]{5,30}")


class OrdersQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The filters of the list, as the form sends them."""

    state: OrderState | None = None
    fulfilment: Fulfilment | None = None
    attention: Literal["yes"] | None = None
    reference: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")] | None = None
    amount: Annotated[str, Meta(max_length=24)] | None = None
    currency: Annotated[str, Meta(pattern="^[A-Za-z]{3}$")] | None = None
    customer: Annotated[str, Meta(pattern="^cus_[0-9A-Za-z]{25}$")] | None = None
    since: date | None = None
    until: date | None = None
    cursor: Annotated[str, Meta(pattern="^ord_[0-9A-Za-z]{1,60}$")] | None = None


class Found(Struct, frozen=True):
    """A page of orders. `cursor` leads on; `looked_to` is set where the page ended because it looked through enough."""

    orders: Sequence[Record] = ()
    cursor: str | None = None
    looked_to: bool = False


class OrderList(Struct, frozen=True):
    """What the routes do."""

    merchants: Merchants
    customers: CustomerPages
    timelines: Timelines
    database: Database

    async def list_orders(self, request: BrowserRequest) -> Html:
        """Orders that fit the filters, the newest first."""
        scope, sent = await self.merchants.scope(request), said(request)
        try:
            asked = msgspec.convert(sent, OrdersQuery, strict=False)
            found = await self._found(scope, asked)
        except (msgspec.ValidationError, MoneyRefused):
            return self._page(request, scope, sent, Found(), status=422, refused=True)
        return self._page(request, scope, sent, found)

    async def search(self, request: BrowserRequest) -> Html:
        """Whatever a customer might say: led to the order, to a list, or to whom the policy lets be found."""
        fields = await self.merchants.console.fields(request) or {}
        scope, sought = await self.merchants.scope(request), fields.get("sought", "")
        merchant_id = fields["merchant"] if is_merchant_id(fields.get("merchant", "")) else scope.id
        carried = {"merchant": merchant_id} if len(scope.known) > 1 else {}
        if not sought or "\x00" in sought:
            return self._see(ORDERS, carried)
        if owner_of(sought, MERCHANT_PREFIX) and sought.startswith(f"{ORDER_PREFIX}_"):
            return self._see(f"{ORDERS}/{sought}", {})
        if _ID.fullmatch(sought):
            found = await self.timelines.find(sought, merchant=merchant_id)
            if found is not None:
                return self._see(f"{ORDERS}/{found.order_id}", {})
        if "@" in sought or _PHONE.fullmatch(sought):
            return await self.customers.find(request, merchant_id, sought, fields.get("purpose", ""))
        if Scrubber().scrub(sought) != sought:  # as of a log line: what could be a card number goes into no address
            return self._page(request, scope, {}, Found(), status=422, card_typed=True)
        amount = _amount(sought)
        return self._see(ORDERS, carried | (amount or {"reference": sought}))

    async def _found(self, scope: Scope, asked: OrdersQuery) -> Found:
        """A page. Raises MoneyRefused."""
        if not scope.id:
            return Found()
        by = next((name for name in INDEXED if getattr(asked, name) is not None), "order_id")
        fits = (
            asked.reference,
            *_money(asked),
            asked.customer,
            asked.attention is not None,
            asked.state,
            asked.fulfilment,
        )
        rows = await self.database.rows(
            SQL.orders_shown, scope.id, *_places(scope.id, asked), by, *fits, LOOKED_THROUGH_MAX, PAGE_ROWS + 1
        )
        found = [row for row in rows if row["fits"]]
        if len(found) > PAGE_ROWS:
            return Found(found[:PAGE_ROWS], found[PAGE_ROWS - 1]["order_id"])
        if rows and rows[-1]["place"] == LOOKED_THROUGH_MAX:
            return Found(found, rows[-1]["order_id"], looked_to=True)
        return Found(found)

    def _page(self, request: BrowserRequest, scope: Scope, sent: dict[str, str], found: Found, **more: Any) -> Html:
        given = {name: sent.get(name, "") for name in OrdersQuery.__struct_fields__ if name != "cursor"}
        kept = {name: value for name, value in given.items() if value} | (
            {"merchant": scope.id} if len(scope.known) > 1 else {}
        )
        shown: dict[str, Any] = {
            "given": given,
            "kept": kept,
            "filtered": any(given.values()),
            "found": found,
            "at": sent.get("cursor", ""),
            "states": [(each, each) for each in STATES],
            "fulfilments": [(each, each) for each in FULFILMENTS],
            "looked_through": LOOKED_THROUGH_MAX,
            "live": None if sent.get("cursor") else LIVE_S,
            "refused": False,
            "card_typed": False,
        }
        return self.merchants.page("orders", request, "Orders", scope, **(shown | more))

    def _see(self, path: str, query: dict[str, str]) -> Html:
        return self.merchants.console.see_other(f"{path}?{urlencode(query)}" if query else path)


def _places(merchant_id: str, asked: OrdersQuery) -> tuple[str, str]:
    """Between which ids the orders lie that are asked for: an id sorts by the time of its making."""
    newest = f"{ORDER_PREFIX}_~"
    if asked.until is not None and asked.until < date.max:
        newest = first_id(ORDER_PREFIX, _begin(asked.until) + timedelta(days=1), merchant_id)
    oldest = first_id(ORDER_PREFIX, _begin(asked.since), merchant_id) if asked.since else ORDER_PREFIX
    return min(newest, asked.cursor) if asked.cursor else newest, oldest


def _money(asked: OrdersQuery) -> tuple[str | None, int | None]:
    """The currency and the amount that are asked for. Raises MoneyRefused where only one of them is."""
    if asked.amount is None and asked.currency is None:
        return None, None
    currency = chargeable(asked.currency or "")
    amount = parse_decimal((asked.amount or "").replace(",", "."), exponent(currency))
    if not 0 < amount <= AMOUNT_MAX:
        raise AmountRefused("no order has such an amount")
    return currency, amount


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _amount(text: str) -> dict[str, str] | None:
    """An amount with its currency, as the list's filters have it: `25.00 EUR`, `EUR 25`."""
    found = _AMOUNT.fullmatch(text)
    if found is None or bool(found[1]) == bool(found[3]):
        return None
    return {"amount": found[2].replace(",", "."), "currency": (found[1] or found[3]).upper()}
