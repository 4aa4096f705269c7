"""An order as a page: how it stands, what was tried, and what may be done about it.

What is done goes through the same commands as the API (`/v1/orders/{id}/…`), under a key of its own that the page
carries: sent twice, it is done once. It is asked for twice: first the page says what would happen. Whether it can be
done is decided by the command alone.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Struct

from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.identifiers import new_id, owner_of
from tallystick.kernel.money import MoneyRefused, display, exponent, format_decimal, parse_decimal
from tallystick.kernel.problems import Problem
from tallystick.kernel.timeline.entries import BEGINNING, CursorRefused, place_of
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX
from tallystick.merchant.accounts.directory import Directory, Merchant
from tallystick.merchant.checkout.canceling import Canceling
from tallystick.merchant.checkout.commands import Checkout
from tallystick.merchant.console.merchants import SQL, Merchants, Scope
from tallystick.merchant.console.orders import ORDERS
from tallystick.merchant.keyed import Answer
from tallystick.merchant.orders.apply import SQL as ORDER
from tallystick.merchant.orders.ids import ORDER_PREFIX
from tallystick.merchant.orders.view import OrderView, order_view
from tallystick.merchant.refunds.commands import CreateRefund, Refunds
from tallystick.merchant.timeline.timeline import OrderFound, Timelines
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy

LIVE_S: Final = 10
LINES_MAX: Final = 100  # of the timeline on a page
CASES_MAX: Final = 20
KEY_PREFIX: Final = "cok"
CANCEL: Final = "POST /console/orders/{order}/cancel"
REFUND: Final = "POST /console/orders/{order}/refund"
PAY_AGAIN: Final = "POST /console/orders/{order}/pay-again"

_KEY = re.compile(rf"{KEY_PREFIX}_[0-9A-Za-z]{{25}}")


class Acting(Struct, frozen=True):
    """The commands behind the API."""

    checkout: Checkout
    canceling: Canceling
    refunds: Refunds
    directory: Directory


class OrderPages(Struct, frozen=True):
    """What the routes do."""

    merchants: Merchants
    acting: Acting
    timelines: Timelines
    database: Database
    clock: Clock
    entropy: Entropy

    async def show(self, request: BrowserRequest) -> Html:
        """One order."""
        order = await self._order(request)
        if order is None:
            return self.merchants.console.problem(404, request.auth)
        merchant_id = str(owner_of(order.id, MERCHANT_PREFIX))
        at = request.query_params.get("cursor", "")
        try:
            after = place_of(at) if at else BEGINNING
        except CursorRefused:
            return self.merchants.console.problem(400, request.auth)
        timeline = await self.timelines.read(OrderFound(merchant_id, order.id), after=after, rows_max=LINES_MAX)
        cases = await self.database.rows(SQL.cases_of_order, merchant_id, order.id, CASES_MAX)
        shown: dict[str, Any] = {
            "order": order,
            "timeline": timeline,
            "more": f"?{urlencode({'cursor': timeline.next_cursor})}" if timeline.next_cursor else None,
            "cases": cases,
            "left_minor": _left(order),
            "offered": self._offered(request, order),
            "live": None if at else LIVE_S,
        }
        return self.merchants.page("order", request, f"Order {order.id}", await self._scope(request, order), **shown)

    async def cancel(self, request: BrowserRequest) -> Html:
        """End an order that is PENDING."""

        async def work(merchant: Merchant, key: str, order: OrderView, _fields: dict[str, str]) -> Answer:
            return await self.acting.canceling.cancel(merchant, key, order.id, {})

        words = "The shopper can no longer pay. Money that was faster wins: then the order is PAID."
        return await self._act(request, "Cancel this order", words, work)

    async def pay_again(self, request: BrowserRequest) -> Html:
        """Open another attempt of an order that was not paid."""

        async def work(merchant: Merchant, key: str, order: OrderView, _fields: dict[str, str]) -> Answer:
            return await self.acting.checkout.pay_again(merchant, key, order.id, {})

        words = (
            "A new attempt is opened at the gateway, and the order is PENDING again. Its page has the shopper's link."
        )
        return await self._act(request, "Let the shopper pay again", words, work)

    async def refund(self, request: BrowserRequest) -> Html:
        """Give back money of an order that is paid: an amount, or all that is left."""

        async def work(merchant: Merchant, key: str, order: OrderView, fields: dict[str, str]) -> Answer:
            amount = _amount(fields, order)
            sent = {} if amount is None else {"amount": amount}
            return await self.acting.refunds.refund(merchant, key, order.id, CreateRefund(amount), sent)

        return await self._act(request, "Give money back", "", work, money=True)

    async def _act(
        self,
        request: BrowserRequest,
        title: str,
        words: str,
        work: Callable[[Merchant, str, OrderView, dict[str, str]], Awaitable[Answer]],
        *,
        money: bool = False,
    ) -> Html:
        """Ask whether it is meant; confirmed, do it once."""
        console = self.merchants.console
        order, fields = await self._order(request), await console.fields(request) or {}
        if order is None:
            return console.problem(404, request.auth)
        try:
            if money:
                words = _refund_words(_amount(fields, order), order)
        except MoneyRefused as refused:
            return await self._refused(request, order, 422, f"The amount cannot be read: {refused}.")
        if fields.get("confirmed") != "yes" or not _KEY.fullmatch(fields.get("key", "")):
            kept = {"amount": fields.get("amount", ""), "confirmed": "yes"}
            kept["key"] = new_id(KEY_PREFIX, self.clock.now(), self.entropy)
            return self._asked(request, await self._scope(request, order), title, words, kept, order)
        merchant = await self.acting.directory.merchant(str(owner_of(order.id, MERCHANT_PREFIX)))
        if merchant is None:
            return console.problem(404, request.auth)
        try:
            answer = await work(merchant, f"console:{fields['key']}", order, fields)
        except Problem as problem:
            return await self._refused(request, order, problem.status, f"{problem.title}. {problem.detail}")
        if answer.status >= 400:
            return await self._refused(request, order, answer.status, "The gateway refused it. The timeline says why.")
        return console.see_other(f"{ORDERS}/{order.id}")

    def _asked(
        self, request: BrowserRequest, scope: Scope, title: str, words: str, kept: dict[str, str], order: OrderView
    ) -> Html:
        shown = {"heading": f"{title}?", "words": words, "action": request.url.path, "kept": kept, "button": title}
        back = f"{ORDERS}/{order.id}"
        return self.merchants.page("sure", request, title, scope, back=back, about=order.id, **shown)

    async def _refused(self, request: BrowserRequest, order: OrderView, status: int, words: str) -> Html:
        scope, back = await self._scope(request, order), f"{ORDERS}/{order.id}"
        return self.merchants.page(
            "refused", request, "That was not done", scope, status=status, words=words, back=back, about=order.id
        )

    def _offered(self, request: BrowserRequest, order: OrderView) -> list[str]:
        """What this person may do and could make sense; the command decides whether it can be done."""
        fits = {"cancel": order.state == "PENDING", "refund": _left(order) > 0}
        fits["pay-again"] = order.state in ("FAILED", "EXPIRED", "CANCELED")
        routes = {"cancel": CANCEL, "refund": REFUND, "pay-again": PAY_AGAIN}
        return [name for name in routes if fits[name] and self.merchants.console.may(request.auth, routes[name])]

    async def _order(self, request: BrowserRequest) -> OrderView | None:
        order_id = request.path_params["order"]
        merchant_id = owner_of(order_id, MERCHANT_PREFIX) if order_id.startswith(f"{ORDER_PREFIX}_") else None
        rows = await self.database.rows(ORDER.find_orders, [merchant_id], [order_id]) if merchant_id else []
        return order_view(rows[0]) if rows else None

    async def _scope(self, request: BrowserRequest, order: OrderView) -> Scope:
        scope = await self.merchants.scope(request)
        return Scope(str(owner_of(order.id, MERCHANT_PREFIX)), scope.known)


def _left(order: OrderView) -> int:
    """What could still be given back, as far as is known here; the gateway holds the limit."""
    return order.amount_captured - order.amount_refunded if order.state == "PAID" else 0


def _amount(fields: dict[str, str], order: OrderView) -> int | None:
    """The amount of the form in minor units; None for all that is left. Raises MoneyRefused."""
    text = fields.get("amount", "").replace(",", ".")
    return parse_decimal(text, exponent(order.currency)) if text else None


def _refund_words(amount: int | None, order: OrderView) -> str:
    decimals = exponent(order.currency)
    shown = display(_left(order) if amount is None else amount, order.currency, decimals, "en")
    whole = format_decimal(order.amount, decimals)
    return f"{shown} go back to the shopper, of an order over {whole} {order.currency}. It cannot be taken back."
