"""The shop's pages: goods, basket, the way to the payment page, and the order as the merchant service knows it."""

from typing import Any

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tallystick.cli.service_api import ApiRefused
from tallystick.cli.wording import amount, clock_of, in_words, source_in_words
from tallystick.demo import goods
from tallystick.demo.shop import REFERENCE, Html, Shop, ShopRequest, basket_of

BASKET_KEPT_S = 30 * 24 * 3600
ORDERS_SHOWN_MAX = 50
OUTCOMES = {
    "PENDING": ("We are waiting for your payment", "As soon as the gateway tells of it, this page will."),
    "PAID": ("Thank you, it is paid", "Both halves of the tally carry the same notches."),
    "FAILED": ("The payment failed", "No card was charged. You may try again with a new order."),
    "EXPIRED": ("The time to pay has run out", "Nothing was charged. You may try again with a new order."),
    "CANCELED": ("The order was canceled", "Nothing was charged."),
}


def basket_routes(shop: Shop) -> list[HTTPRouteHandler]:
    """Goods and basket."""

    @get("/")
    async def show_goods(request: ShopRequest) -> Html:
        return shop.page(request, "goods.html", "Goods", goods=goods.GOODS.values())

    @get("/basket")
    async def show_basket(request: ShopRequest) -> Html:
        return _basket_page(shop, request)

    @post("/basket/{slug:str}")
    async def change_basket(request: ShopRequest, slug: FromPath[str]) -> Response[None]:
        form = await request.form()
        by = {"1": 1, "-1": -1}.get(str(form.get("by")), 0)
        text = goods.write_basket(goods.changed(basket_of(request), slug, by))
        return _see_other("/basket" if form.get("from") == "/basket" else "/", _basket_cookie(text))

    return [show_goods, show_basket, change_basket]


def order_routes(shop: Shop) -> list[HTTPRouteHandler]:
    """From the basket to an order, and the order."""

    @post("/orders")
    async def place_order(request: ShopRequest) -> Response[Any]:
        form = await request.form()
        name, email = str(form.get("name", "")).strip(), str(form.get("email", "")).strip()
        reference, lines = str(form.get("reference", "")), basket_of(request)
        if not lines or not REFERENCE.fullmatch(reference):
            return _see_other("/basket")
        try:
            await shop.place(reference, lines, name, email, "embedded" if form.get("pay") == "embedded" else "hosted")
        except ApiRefused as refusal:
            return _basket_page(shop, request, str(refusal), name, email)
        # To a page of our own: browsers hold a form's redirects to its `form-action`, and the gateway is elsewhere.
        return _see_other(f"/orders/{reference}/pay", _basket_cookie(""))

    @get("/orders/{reference:str}/pay")
    async def pay(request: ShopRequest, reference: FromPath[str]) -> Response[Any]:
        order = await shop.order(reference)
        if not _payable(order):
            return _see_other(f"/orders/{reference}")
        return shop.page(
            request,
            "pay.html",
            "Payment",
            reference=reference,
            redirect_url=order["redirect_url"],
            gateway_url=shop.settings.gateway_url,
            publishable_key=shop.settings.publishable_key,
            lines=_lines(order),
            total=amount(order["amount"], order["currency"]),
            opened=True,
        )

    @post("/orders/{reference:str}/client-secret", status_code=200)
    async def client_secret(reference: FromPath[str]) -> dict[str, Any]:
        return {"client_secret": (await shop.order(reference))["client_secret"]}

    @get("/orders/{reference:str}")
    async def show_order(request: ShopRequest, reference: FromPath[str]) -> Html:
        order = await shop.order(reference)
        timeline = await shop.api.timeline(order["id"])
        heading, words = OUTCOMES[order["state"]]
        return shop.page(
            request,
            "order.html",
            f"Order {order['state'].lower()}",
            reference=reference,
            order=order,
            heading=heading,
            words=words,
            timeline=[_entry(row) for row in timeline],
            heard=shop.heard.of(order["id"]),
            lines=_lines(order),
            total=amount(order["amount"], order["currency"]),
            refresh=order["state"] == "PENDING",
            continue_path=f"/orders/{reference}/pay" if _payable(order) else None,
        )

    @get("/orders/{reference:str}/state")
    async def state_of_order(reference: FromPath[str]) -> dict[str, Any]:
        return {"state": (await shop.order(reference))["state"]}

    @get("/orders")
    async def show_orders(request: ShopRequest) -> Html:
        found = [order for order in await shop.api.orders() if REFERENCE.fullmatch(order["reference"] or "")]
        rows = [
            {**order, "clock": clock_of(order["created_at"]), "total": amount(order["amount"], order["currency"])}
            for order in found[:ORDERS_SHOWN_MAX]
        ]
        return shop.page(request, "orders.html", "Orders", orders=rows)

    return [place_order, pay, client_secret, show_order, state_of_order, show_orders]


def _basket_page(
    shop: Shop, request: ShopRequest, problem: str = "", name: str = "Agnes Notcher", email: str = "agnes@shop.example"
) -> Html:
    lines = basket_of(request)
    return shop.page(
        request,
        "basket.html",
        "Your basket",
        422 if problem else 200,
        lines=lines,
        total=goods.total_minor(lines),
        reference=shop.new_reference(),
        problem=problem,
        name=name,
        email=email,
        opened=True,
    )


def _basket_cookie(text: str) -> Cookie:
    return Cookie(key="basket", value=text, max_age=BASKET_KEPT_S if text else 0, httponly=True, samesite="lax")


def _see_other(path: str, *cookies: Cookie) -> Response[None]:
    return Response(None, status_code=303, headers={"Location": path}, cookies=cookies)


def _payable(order: dict[str, Any]) -> bool:
    return bool(order["redirect_url"] or order["client_secret"])


def _lines(order: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {**item, "total": amount(item["amount"] * item["quantity"], order["currency"])}
        for item in order["line_items"] or []
    ]


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    changed = row["state_before"] != row["state_after"]
    return {
        "at": row["at"],
        "clock": clock_of(row["at"]),
        "words": in_words(row["fact"]),
        "source": source_in_words(row["source"]),
        "change": f"{row['state_before']} → {row['state_after']}" if changed else "",
        "reference": row["reference"] or "",
    }
