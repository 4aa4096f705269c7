"""The routes of orders (DESIGN §6): list, show, timeline. Checkout and refunds have their own."""

from typing import Annotated

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.requests import NoQuery, query
from tallystick.merchant import answers
from tallystick.merchant.errors import NotFound
from tallystick.merchant.orders.apply import SQL
from tallystick.merchant.orders.ids import our_order
from tallystick.merchant.orders.view import OrderPage, TimelinePage, order_view, timeline_row
from tallystick.merchant.requests import (
    PAGE_ROWS,
    PAGE_ROWS_MAX,
    Call,
    IdCursor,
    Limit,
    allowed_methods,
)
from tallystick.ports.database import Database

TIMELINE_NUMBER_MAX = 2**62


class OrdersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/orders`."""

    limit: Limit = PAGE_ROWS
    cursor: IdCursor | None = None


class TimelineQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/orders/{id}/timeline`."""

    limit: Limit = PAGE_ROWS_MAX
    cursor: Annotated[int, Meta(ge=0, le=TIMELINE_NUMBER_MAX, description="next_cursor of the page before.")] = 0


def order_routes(database: Database) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @get("/v1/orders")
    async def list_orders(request: Call) -> Response[bytes]:
        wanted = query(request, OrdersQuery)
        rows = await database.rows(SQL.list_orders, request.auth.merchant_id, wanted.cursor, wanted.limit + 1)
        data = tuple(order_view(row) for row in rows[: wanted.limit])
        return answers.json(OrderPage(data, data[-1].id if len(rows) > wanted.limit else None))

    @get("/v1/orders/{order_id:str}")
    async def show_order(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        order_id = our_order(request)
        rows = await database.rows(SQL.find_orders, [request.auth.merchant_id], [order_id])
        if not rows:
            raise NotFound
        return answers.json(order_view(rows[0]))

    @get("/v1/orders/{order_id:str}/timeline")
    async def show_timeline(request: Call) -> Response[bytes]:
        wanted = query(request, TimelineQuery)
        merchant_id, order_id = request.auth.merchant_id, our_order(request)
        rows = await database.rows(SQL.list_timeline, merchant_id, order_id, wanted.cursor, wanted.limit + 1)
        if not rows and not await database.rows(SQL.find_orders, [merchant_id], [order_id]):
            raise NotFound
        data = tuple(timeline_row(row) for row in rows[: wanted.limit])
        return answers.json(TimelinePage(data, data[-1].number if len(rows) > wanted.limit else None))

    return [allowed_methods("/v1/orders", "GET, OPTIONS, POST"), list_orders, show_order, show_timeline]
