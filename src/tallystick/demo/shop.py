"""The demo's shop: what a merchant writes around Tallystick. It talks to the merchant service's API, to nothing else.

It keeps no orders of its own: every page that shows one asks the merchant service. The basket travels in a cookie.
"""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any, Final

import jinja2
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from msgspec import Meta, Struct

from tallystick.cli.merchant_api import MerchantApi
from tallystick.demo import goods
from tallystick.ports.entropy import Entropy

PREFIX: Final = "TALLYSTICK_SHOP_"
HERE = Path(__file__).parent
EXPIRES_IN_S = 60  # the demo's order lives a minute, so that one can watch it end
HEARD_MAX = 1_000  # orders whose notifications are remembered; the merchant service knows all of them
FOUND_PAGES_MAX = 5  # how far back the shop looks for an order that it was not asked about since it started
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is taken for another when read aloud
REFERENCE = re.compile(f"NH-[{LETTERS}]{{5}}-[{LETTERS}]{{5}}")

Html = Response[str]
ShopRequest = Request[Any, Any, Any]


class ShopSettings(Struct, frozen=True, kw_only=True):
    """Where the shop stands and whom it talks to."""

    url: Annotated[str, Meta(description="The origin under which shoppers reach the shop.")]
    merchant_url: Annotated[str, Meta(description="The merchant service.")]
    api_key: Annotated[str, Meta(description="The shop's key there. A secret.")]
    gateway_url: Annotated[str, Meta(description="Where the embedded page's script comes from.")]
    publishable_key: Annotated[str, Meta(description="The account's publishable key at the gateway.")]
    notification_secret: Annotated[
        str, Meta(description="What signs the merchant service's notifications. A secret.")
    ] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="The port to listen on, on 127.0.0.1.")]
    ca_file: Annotated[str, Meta(description="The authority to trust at the merchant service; empty: system's.")] = ""
    tls_cert_file: Annotated[str, Meta(description="The certificate to serve HTTPS with; empty for plain HTTP.")] = ""
    tls_key_file: Annotated[str, Meta(description="The certificate's private key.")] = ""

    def __repr__(self) -> str:
        return f"ShopSettings({self.url!r})"


class Heard:
    """What the shop heard, by order, in the order in which it came; what comes twice counts once."""

    def __init__(self) -> None:
        self._by_order: OrderedDict[str, dict[str, str]] = OrderedDict()

    def hear(self, order_id: str, event_id: str, type: str) -> None:
        """Remember an event."""
        self._by_order.setdefault(order_id, {})[event_id] = type
        if len(self._by_order) > HEARD_MAX:
            self._by_order.popitem(last=False)

    def of(self, order_id: str) -> list[str]:
        """The types of events that were heard of an order."""
        return list(self._by_order.get(order_id, {}).values())


class Shop:
    """What the pages need."""

    def __init__(self, settings: ShopSettings, api: MerchantApi, entropy: Entropy) -> None:
        self.settings = settings
        self.api = api
        self._entropy = entropy
        self.heard = Heard()
        self._ids: dict[str, str] = {}
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=jinja2.select_autoescape(default=True),
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self._templates.globals.update(price=goods.price, QUANTITY_MAX=goods.QUANTITY_MAX)

    def page(self, request: ShopRequest, template: str, title: str, status: int = 200, **values: Any) -> Html:
        """A page of the shop."""
        count = sum(line.quantity for line in basket_of(request))
        html = self._templates.get_template(template).render(title=title, count=count, **values)
        return Response(html, media_type=MediaType.HTML, status_code=status)

    def new_reference(self) -> str:
        """The shop's own name for an order to come; also its idempotency key, so that a double click is one order."""
        letters = "".join(LETTERS[byte % len(LETTERS)] for byte in self._entropy.token_bytes(10))
        return f"NH-{letters[:5]}-{letters[5:]}"

    async def place(self, reference: str, lines: list[goods.Line], name: str, email: str, ui_mode: str) -> None:
        """Place an order for a basket. Raises ServiceApiError."""
        shown = f"{self.settings.url}/orders/{reference}"
        order = await self.api.place(
            {
                "currency": goods.CURRENCY,
                "line_items": [
                    {"name": line.good.name, "amount": line.good.price_minor, "quantity": line.quantity}
                    for line in lines
                ],
                "reference": reference,
                "customer": {"name": name, "email": email},
                "ui_mode": ui_mode,
                "return_url": shown,
                "cancel_url": shown,
                "expires_in_s": EXPIRES_IN_S,
            },
            key=reference,
        )
        self._ids[reference] = order["id"]

    async def order(self, reference: str) -> dict[str, Any]:
        """The order that the shop calls `reference`, as the merchant service knows it now. Raises HTTPException 404."""
        if not REFERENCE.fullmatch(reference):
            raise HTTPException(status_code=404)
        if reference not in self._ids:
            found = await self.api.orders(pages=FOUND_PAGES_MAX)
            self._ids |= {order["reference"]: order["id"] for order in found if order["reference"]}
        if reference not in self._ids:
            raise HTTPException(status_code=404)
        return await self.api.order(self._ids[reference])


def basket_of(request: ShopRequest) -> list[goods.Line]:
    """What the shopper's cookie holds."""
    return goods.read_basket(request.cookies.get("basket", ""))
