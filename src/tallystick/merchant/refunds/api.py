"""The route of refunds (DESIGN §6)."""

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from tallystick.kernel.requests import NoQuery, query
from tallystick.merchant import answers
from tallystick.merchant.orders.ids import our_order
from tallystick.merchant.refunds.commands import CreateRefund, Refunds
from tallystick.merchant.requests import Call, body, idempotency_key


def refund_routes(refunds: Refunds) -> list[HTTPRouteHandler]:
    """The handler, over what it needs."""

    @post("/v1/orders/{order_id:str}/refunds")
    async def refund(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = idempotency_key(request)
        wanted, sent = await body(request, CreateRefund, default=b"{}")
        answer = await refunds.refund(request.auth, key, our_order(request), wanted, sent)
        return answers.executed(answer)

    return [refund]
