"""The demo's shop: baskets that hold what can be bought and nothing else, and pages that ask the merchant service."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import AsyncTestClient

from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ApiRefused, ApiUnreachable
from tallystick.demo import goods
from tallystick.demo.app import build
from tallystick.demo.shop import Shop, ShopSettings
from tallystick.ports.entropy import SystemEntropy

SETTINGS = ShopSettings(
    url="http://127.0.0.1:8445",
    merchant_url="http://127.0.0.1:8444",
    api_key="tsk_of_no_value",
    gateway_url="http://127.0.0.1:8443",
    publishable_key="pk_test_of_no_value",
    port=8445,
)


class MerchantStandIn:
    """The few calls of the merchant's API that the shop makes."""

    def __init__(self) -> None:
        self.placed: dict[str, dict[str, Any]] = {}
        self.trouble: Exception | None = None
        self.state = "PENDING"

    async def place(self, order: dict[str, Any], key: str) -> dict[str, Any]:
        if self.trouble:
            raise self.trouble
        self.placed.setdefault(key, order)
        return {"id": f"ord_{key}"}

    async def orders(self, *, pages: int = 1) -> list[dict[str, Any]]:
        return [await self.order(f"ord_{key}") for key in self.placed]

    async def order(self, order_id: str) -> dict[str, Any]:
        placed = self.placed[order_id.removeprefix("ord_")]
        amount = sum(item["amount"] * item["quantity"] for item in placed["line_items"])
        embedded = placed["ui_mode"] == "embedded"
        payable = self.state == "PENDING"
        return {
            **placed,
            "id": order_id,
            "amount": amount,
            "state": self.state,
            "redirect_url": "http://127.0.0.1:8443/pay/cs_1" if payable and not embedded else None,
            "client_secret": "cs_1_secret_2" if payable and embedded else None,
            "created_at": "2026-01-02T03:04:05Z",
            "attempts": [{"number": 1, "state": "open", "payment_intent": None}],
        }

    async def timeline(self, order_id: str) -> list[dict[str, Any]]:
        states = {"state_before": "PENDING", "state_after": self.state}
        fact = {"fact": "attempted"}
        return [{"at": "2026-01-02T03:04:05Z", "source": "merchant", "fact": fact, "reference": None, **states}]


@pytest.fixture
def merchant() -> MerchantStandIn:
    return MerchantStandIn()


@pytest.fixture
def client(merchant: MerchantStandIn) -> Any:
    return AsyncTestClient(build(Shop(SETTINGS, cast(MerchantApi, merchant), SystemEntropy())))


async def _check_out(client: Any, pay: str = "hosted") -> tuple[str, Any]:
    await client.post("/basket/tally", data={"by": "1"}, follow_redirects=False)
    page = await client.get("/basket")
    reference = page.text.partition('name="reference" value="')[2].partition('"')[0]
    form = {"reference": reference, "name": "Ada", "email": "ada@shop.example", "pay": pay}
    return reference, await client.post("/orders", data=form, follow_redirects=False)


async def test_from_the_basket_to_the_payment_page(client: Any, merchant: MerchantStandIn) -> None:
    async with client:
        reference, answer = await _check_out(client)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/orders/{reference}/pay", "never to another origin from a POST"
        page = await client.get(answer.headers["location"])
        assert "0; url=http://127.0.0.1:8443/pay/cs_1" in page.text
        placed = merchant.placed[reference]
        assert placed["line_items"] == [{"name": "Hazel tally stick", "amount": 2400, "quantity": 1}]
        assert placed["return_url"] == f"http://127.0.0.1:8445/orders/{reference}"
        assert placed["expires_in_s"] == 60


async def test_a_double_click_is_one_order(client: Any, merchant: MerchantStandIn) -> None:
    """RULES §5: the basket's page carries the key, so the same page sent twice is the same call."""
    async with client:
        await client.post("/basket/tally", data={"by": "1"}, follow_redirects=False)
        page = await client.get("/basket")
        reference = page.text.partition('name="reference" value="')[2].partition('"')[0]
        form = {"reference": reference, "name": "Ada", "email": "ada@shop.example", "pay": "hosted"}
        for _ in range(2):
            client.cookies.set("basket", "tally:1")  # as the first click's answer is still on its way
            await client.post("/orders", data=form, follow_redirects=False)
        assert len(merchant.placed) == 1


async def test_the_embedded_page_is_given_its_secret_by_the_shops_own_server(client: Any) -> None:
    async with client:
        reference, _ = await _check_out(client, "embedded")
        page = await client.get(f"/orders/{reference}/pay")
        assert 'src="http://127.0.0.1:8443/js/v1"' in page.text
        assert "cs_1_secret_2" not in page.text
        answer = await client.post(f"/orders/{reference}/client-secret")
        assert answer.json() == {"client_secret": "cs_1_secret_2"}


async def test_the_order_page_shows_what_the_merchant_service_says(client: Any, merchant: MerchantStandIn) -> None:
    async with client:
        reference, _ = await _check_out(client)
        assert 'data-state="PENDING"' in (await client.get(f"/orders/{reference}")).text
        merchant.state = "PAID"
        assert 'data-state="PAID"' in (await client.get(f"/orders/{reference}")).text
        assert (await client.get(f"/orders/{reference}/state")).json() == {"state": "PAID"}


async def test_errors_are_pages(client: Any, merchant: MerchantStandIn) -> None:
    async with client:
        assert (await client.get("/orders/nothing")).status_code == 404
        assert (await client.get("/orders/NH-00000-00000")).status_code == 404
        merchant.trouble = ApiUnreachable("gone")
        assert (await _check_out(client))[1].status_code == 502
        merchant.trouble = ApiRefused(422, "invalid", "e-mail: <b>not one</b>")
        refused = (await _check_out(client))[1]
        assert refused.status_code == 422
        assert "&lt;b&gt;not one" in refused.text


@given(st.text(max_size=60))
def test_a_basket_holds_goods_of_ours_in_sensible_numbers(text: str) -> None:
    for line in goods.read_basket(text):
        assert line.good.slug in goods.GOODS
        assert 1 <= line.quantity <= goods.QUANTITY_MAX


def test_baskets_change_one_by_one() -> None:
    basket = goods.read_basket("tally:1.ink:9.gold:1.ledger:0.cloth:-1")
    assert goods.write_basket(basket) == "tally:1.ink:9"
    assert goods.write_basket(goods.changed(basket, "tally", -1)) == "ink:9"
    assert goods.write_basket(goods.changed(basket, "ink", 1)) == "tally:1.ink:9"
    assert goods.write_basket(goods.changed(basket, "gold", 1)) == "tally:1.ink:9"
    assert goods.total_minor(basket) == 2400 + 9 * 1290
