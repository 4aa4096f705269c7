"""The routes of checkout (DESIGN §6): place an order, pay it again, cancel it."""

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from tallystick.kernel.requests import NoQuery, query
from tallystick.merchant import answers
from tallystick.merchant.checkout.canceling import Canceling
from tallystick.merchant.checkout.commands import Checkout
from tallystick.merchant.checkout.request import CreateOrder
from tallystick.merchant.orders.ids import our_order
from tallystick.merchant.requests import Call, body, idempotency_key


class PayAgain(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/orders/{id}/attempts`: nothing needs to be said."""


class Cancel(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/orders/{id}/cancel`: nothing needs to be said."""


def checkout_routes(checkout: Checkout, canceling: Canceling) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @post("/v1/orders")
    async def place_order(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        wanted, sent = await body(request, CreateOrder)
        answer = await checkout.place(request.auth, key, wanted, sent)
        return answers.executed(answer)

    @post("/v1/orders/{order_id:str}/attempts")
    async def pay_again(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        _, sent = await body(request, PayAgain, default=b"{}")
        answer = await checkout.pay_again(request.auth, key, our_order(request), sent)
        return answers.executed(answer)

    @post("/v1/orders/{order_id:str}/cancel")
    async def cancel(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        _, sent = await body(request, Cancel, default=b"{}")
        answer = await canceling.cancel(request.auth, key, our_order(request), sent)
        return answers.executed(answer)

    return [place_order, pay_again, cancel]
