"""`POST /notifications`: the shop hears of its orders, as any shop would: verified, answered at once, once each."""

from typing import Final

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from tallystick.demo.shop import Shop, ShopRequest
from tallystick.kernel.signatures import SignatureRefused, verify_standard
from tallystick.ports.clock import Clock

PATH: Final = "/notifications"


class _Order(Struct, frozen=True):
    id: str


class _Data(Struct, frozen=True):
    order: _Order


class _Notification(Struct, frozen=True):
    id: str
    type: str
    data: _Data


def hearing_routes(shop: Shop, clock: Clock) -> list[HTTPRouteHandler]:
    """The handler, over what it needs."""

    @post(PATH)
    async def hear(request: ShopRequest) -> Response[None]:
        body = await request.body()
        try:
            verify_standard([shop.settings.notification_secret], request.scope["headers"], body, clock.now())
            told = msgspec.json.decode(body, type=_Notification)
        except (SignatureRefused, ValueError):
            return Response(None, status_code=400)
        shop.heard.hear(told.data.order.id, told.id, told.type)
        return Response(None, status_code=204)

    return [hear]
