"""The routes of orders (DESIGN §6): place, list, show, timeline."""

from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.identifiers import owner_of
from tallystick.kernel.requests import NoQuery, query
from tallystick.merchant import answers
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX
from tallystick.merchant.checkout.canceling import Canceling
from tallystick.merchant.checkout.commands import Checkout
from tallystick.merchant.checkout.drafts import ORDER_PREFIX
from tallystick.merchant.checkout.request import CreateOrder
from tallystick.merchant.errors import NotFound
from tallystick.merchant.orders.apply import SQL
from tallystick.merchant.orders.view import OrderPage, TimelinePage, order_view, timeline_row
from tallystick.merchant.refunds.commands import CreateRefund, Refunds
from tallystick.merchant.requests import (
    PAGE_ROWS,
    PAGE_ROWS_MAX,
    Call,
    IdCursor,
    Limit,
    allowed_methods,
    body,
    idempotency_key,
)
from tallystick.ports.database import Database

TIMELINE_NUMBER_MAX = 2**62
REPLAYED = {"Idempotent-Replayed": "true"}


class OrdersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/orders`."""

    limit: Limit = PAGE_ROWS
    cursor: IdCursor | None = None


class TimelineQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/orders/{id}/timeline`."""

    limit: Limit = PAGE_ROWS_MAX
    cursor: Annotated[int, Meta(ge=0, le=TIMELINE_NUMBER_MAX, description="next_cursor of the page before.")] = 0


class PayAgain(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/orders/{id}/attempts`: nothing needs to be said."""


class Cancel(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/orders/{id}/cancel`: nothing needs to be said."""


def order_routes(
    checkout: Checkout, canceling: Canceling, refunds: Refunds, database: Database
) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @post("/v1/orders")
    async def place_order(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        wanted, sent = await body(request, CreateOrder)
        answer = await checkout.place(request.auth, key, wanted, sent)
        return answers.encoded(answer.body, answer.status, REPLAYED if answer.replayed else None)

    @get("/v1/orders")
    async def list_orders(request: Call) -> Response[bytes]:
        wanted = query(request, OrdersQuery)
        rows = await database.rows(SQL.list_orders, request.auth.merchant_id, wanted.cursor, wanted.limit + 1)
        data = tuple(order_view(row) for row in rows[: wanted.limit])
        return answers.json(OrderPage(data, data[-1].id if len(rows) > wanted.limit else None))

    @get("/v1/orders/{order_id:str}")
    async def show_order(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        order_id = _our_order(request)
        rows = await database.rows(SQL.find_orders, [request.auth.merchant_id], [order_id])
        if not rows:
            raise NotFound
        return answers.json(order_view(rows[0]))

    @get("/v1/orders/{order_id:str}/timeline")
    async def show_timeline(request: Call) -> Response[bytes]:
        wanted = query(request, TimelineQuery)
        merchant_id, order_id = request.auth.merchant_id, _our_order(request)
        rows = await database.rows(SQL.list_timeline, merchant_id, order_id, wanted.cursor, wanted.limit + 1)
        if not rows and not await database.rows(SQL.find_orders, [merchant_id], [order_id]):
            raise NotFound
        data = tuple(timeline_row(row) for row in rows[: wanted.limit])
        return answers.json(TimelinePage(data, data[-1].number if len(rows) > wanted.limit else None))

    @post("/v1/orders/{order_id:str}/attempts")
    async def pay_again(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        _, sent = await body(request, PayAgain, default=b"{}")
        answer = await checkout.pay_again(request.auth, key, _our_order(request), sent)
        return answers.encoded(answer.body, answer.status, REPLAYED if answer.replayed else None)

    @post("/v1/orders/{order_id:str}/refunds")
    async def refund(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        wanted, sent = await body(request, CreateRefund, default=b"{}")
        answer = await refunds.refund(request.auth, key, _our_order(request), wanted, sent)
        return answers.encoded(answer.body, answer.status, REPLAYED if answer.replayed else None)

    @post("/v1/orders/{order_id:str}/cancel")
    async def cancel(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        _, sent = await body(request, Cancel, default=b"{}")
        answer = await canceling.cancel(request.auth, key, _our_order(request), sent)
        return answers.encoded(answer.body, answer.status, REPLAYED if answer.replayed else None)

    return [
        allowed_methods("/v1/orders", "GET, OPTIONS, POST"),
        place_order,
        list_orders,
        show_order,
        show_timeline,
        pay_again,
        refund,
        cancel,
    ]


def _our_order(request: Call) -> str:
    """The id in the path, if it can be one of the caller's orders. Raises NotFound."""
    order_id: str = request.path_params["order_id"]
    if not order_id.startswith(f"{ORDER_PREFIX}_") or owner_of(order_id, MERCHANT_PREFIX) != request.auth.merchant_id:
        raise NotFound
    return order_id
