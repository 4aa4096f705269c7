"""`GET /return/{order}`: public, and no more than a look. The order's id is unguessable and says nothing to a
stranger.
"""

import asyncio
import logging
from typing import Any, Final

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from tallystick.kernel.identifiers import owner_of
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.orders.apply import SQL
from tallystick.merchant.orders.learning import OrderKey
from tallystick.merchant.orders.view import OrderView, order_view
from tallystick.merchant.polling.commands import Poller
from tallystick.merchant.returning.page import HEADERS, Visit, not_found, page, unavailable
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseUnavailable

log = logging.getLogger(__name__)

WAIT_S: Final = 3.0  # how long a shopper waits for the gateway's answer before the page says what is known
POLL_EVERY_S: Final = 1.5  # a page that is reloaded more often asks the gateway no more often
POLLED_MAX: Final = 10_000  # orders remembered for that; then all are forgotten
POLLS_MAX: Final = 100  # polls under way at once: strangers may reload, the gateway must not feel it


class ReturnPage:
    """Shows the truth about an order to the shopper who comes back."""

    def __init__(self, database: Database, directory: Directory, poller: Poller, clock: Clock) -> None:
        self._database = database
        self._directory = directory
        self._poller = poller
        self._clock = clock
        self._polled_s: dict[OrderKey, float] = {}
        self._polls: dict[OrderKey, asyncio.Task[bool]] = {}

    async def answer(self, order_id: str, visit: Visit) -> Response[str]:
        """The page, or the way back to the shop."""
        try:
            return await self._answer(order_id, visit)
        except DatabaseUnavailable:
            return _html(unavailable(), 503)

    async def _answer(self, order_id: str, visit: Visit) -> Response[str]:
        merchant_id = owner_of(order_id, MERCHANT_PREFIX)
        order = await self._read(OrderKey(merchant_id, order_id)) if merchant_id else None
        merchant = await self._directory.merchant(merchant_id) if merchant_id and order else None
        if merchant_id is None or order is None or merchant is None:
            return _html(not_found(), 404)
        if order.state == "PENDING":
            key = OrderKey(merchant_id, order_id)
            await self._look(key)
            order = await self._read(key) or order
        shown = page(order, merchant.name, visit)
        if shown.location is not None:
            return Response("", status_code=303, headers={**HEADERS, "Location": shown.location})
        return _html(shown.html, 200)

    async def _read(self, key: OrderKey) -> OrderView | None:
        rows = await self._database.rows(SQL.find_orders, [key.merchant_id], [key.order_id])
        return order_view(rows[0]) if rows else None

    async def _look(self, key: OrderKey) -> None:
        """Poll the gateway, unless that was done just now; wait for it a little."""
        task = self._polls.get(key)
        if task is None:
            now_s = self._clock.monotonic_s()
            if now_s - self._polled_s.get(key, -POLL_EVERY_S) < POLL_EVERY_S or len(self._polls) >= POLLS_MAX:
                return
            if len(self._polled_s) >= POLLED_MAX:
                self._polled_s.clear()
            self._polled_s[key] = now_s
            task = asyncio.get_running_loop().create_task(self._poll(key))
            self._polls[key] = task
            task.add_done_callback(lambda _: self._polls.pop(key))
        await asyncio.wait([task], timeout=WAIT_S)

    async def _poll(self, key: OrderKey) -> bool:
        try:
            return await self._poller.poll(key, "return")
        except Exception as error:  # the page shows what is known; the webhook or a later poll brings the rest
            log.warning("poll of %s failed: %s", key.order_id, type(error).__name__)
            return False


def return_routes(returning: ReturnPage) -> list[HTTPRouteHandler]:
    """The handler, over what it needs."""

    @get("/return/{order_id:str}")
    async def return_page(request: Request[Any, Any, Any]) -> Response[str]:
        return await returning.answer(request.path_params["order_id"], _visit(request))

    return [return_page]


def _visit(request: Request[Any, Any, Any]) -> Visit:
    """What the address says of the visit; what it should not say is ignored, since people edit addresses."""
    refreshes = request.query_params.get("refreshes", "0")
    number = int(refreshes) if refreshes.isascii() and refreshes.isdigit() and len(refreshes) < 6 else 0
    return Visit(cancelled=request.query_params.get("from") == "cancel", refreshes=number)


def _html(text: str, status: int) -> Response[str]:
    return Response(text, status_code=status, media_type="text/html; charset=utf-8", headers=HEADERS)
