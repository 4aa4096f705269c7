"""The return page over real HTTP: it polls, shows the truth, leads back to the shop, and never decides (RULES §4,
§9).
"""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tallystick.merchant.orders.view import AttemptView, ChargeView, OrderView
from tallystick.merchant.returning import api
from tallystick.merchant.returning.page import REFRESH_S, REFRESH_SLOW_S, REFRESHES_MAX, Page, Visit, page

Stage = Any


async def visit(stage: Stage, order_id: str, query: str = "") -> tuple[int, str, Any]:
    async with stage.client.get(f"{stage.url}/return/{order_id}{query}", allow_redirects=False) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_a_shopper_who_paid_is_led_back_though_no_webhook_came(stage: Stage) -> None:
    """RULES §7: polled on browser return; the same facts, whatever the source."""
    _, order = await stage.place(return_url="https://shop.example/thanks?basket=17")
    stage.gateway.pay(stage.gateway.session)
    status, _, headers = await visit(stage, order["id"])
    assert (status, headers["Location"]) == (303, "https://shop.example/thanks?basket=17")
    assert (await stage.order(order["id"]))["state"] == "PAID"
    assert (await stage.timeline(order["id"]))[-1]["source"] == "return"


async def test_the_page_never_decides(stage: Stage) -> None:
    """RULES §4: the return page triggers a poll and never decides: who opens it unpaid has not paid."""
    _, order = await stage.place(return_url="https://shop.example/thanks")
    status, text, headers = await visit(stage, order["id"])
    assert status == 200
    assert "Not paid yet" in text
    assert stage.gateway.session["url"] in text
    assert re.search(r'http-equiv="refresh" content="2;', text)
    assert (await stage.order(order["id"]))["state"] == "PENDING"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert "<script" not in text


async def test_who_pressed_back_is_led_to_the_cancel_url_and_may_still_pay(stage: Stage) -> None:
    _, order = await stage.place(cancel_url="https://shop.example/basket")
    status, _, headers = await visit(stage, order["id"], "?from=cancel")
    assert (status, headers["Location"]) == (303, "https://shop.example/basket")
    assert (await stage.order(order["id"]))["state"] == "PENDING"


async def test_who_paid_and_then_pressed_back_has_paid(stage: Stage) -> None:
    _, order = await stage.place(return_url="https://shop.example/thanks", cancel_url="https://shop.example/basket")
    stage.gateway.pay(stage.gateway.session)
    _, _, headers = await visit(stage, order["id"], "?from=cancel")
    assert headers["Location"] == "https://shop.example/thanks"


async def test_a_gateway_in_trouble_shows_what_is_known(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "WAIT_S", 0.1)
    _, order = await stage.place()
    stage.gateway.trouble = ["hang"]
    assert (await visit(stage, order["id"]))[0] == 200


async def test_reloading_asks_the_gateway_no_more_often(stage: Stage) -> None:
    """Strangers may reload; the gateway must not feel it."""
    _, order = await stage.place()
    for _ in range(5):
        await visit(stage, order["id"])
    assert len(stage.gateway.calls) == 2


async def test_addresses_of_no_order_are_404_and_what_is_odd_is_ignored(stage: Stage) -> None:
    _, order = await stage.place()
    for wrong in ("x", "ord_" + "0" * 41, "%00", "ord_%00_" + "0" * 41, order["id"][:-2] + "00"):
        assert (await visit(stage, wrong))[0] == 404
    for odd in ("?refreshes=-1", "?refreshes=" + "9" * 50, "?refreshes=%D9%A3", "?from=%00", "?a=b&a=c"):
        assert (await visit(stage, order["id"], odd))[0] == 200


# --- the page itself, pure ----------------------------------------------------------------------------------------


def an_order(**fields: Any) -> OrderView:
    given: dict[str, Any] = {
        "id": "ord_1",
        "state": "PENDING",
        "fulfilment": "none",
        "amount": 2500,
        "currency": "EUR",
        "amount_captured": 0,
        "amount_refunded": 0,
        "late": False,
        "overpaid": False,
        "attention": None,
        "reference": None,
        "customer": None,
        "connection": "con_1",
        "line_items": None,
        "metadata": {},
        "ui_mode": "hosted",
        "return_url": None,
        "cancel_url": None,
        "redirect_url": None,
        "client_secret": None,
        "created_at": datetime(2030, 1, 1, tzinfo=UTC),
        "updated_at": datetime(2030, 1, 1, tzinfo=UTC),
        "expires_at": datetime(2030, 1, 1, tzinfo=UTC),
        "attempts": (),
    }
    return OrderView(**given | fields)


def shown(state: str, visit: Visit = Visit(), **fields: Any) -> Page:  # noqa: B008 - a constant
    return page(an_order(state=state, **fields), "Tea & <Sons>", visit)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("PAID", "received"),
        ("FAILED", "declined"),
        ("EXPIRED", "over"),
        ("CANCELED", "canceled"),
        ("PENDING", "Confirming"),
    ],
)
def test_without_an_address_of_the_shop_the_page_says_how_it_stands(state: str, says: str) -> None:
    shown_page = shown(state)
    assert shown_page.location is None
    assert says in shown_page.html
    assert "€25.00" in shown_page.html
    assert "Tea &amp; &lt;Sons&gt;" in shown_page.html
    assert ("http-equiv" in shown_page.html) == (state == "PENDING")


@pytest.mark.parametrize("state", ["FAILED", "EXPIRED", "CANCELED"])
def test_an_end_without_payment_leads_to_the_cancel_url(state: str) -> None:
    assert shown(state, return_url="https://a/", cancel_url="https://b/").location == "https://b/"


def test_a_charge_under_way_is_waited_for_and_not_offered_again() -> None:
    attempt = AttemptView(1, "open", "cs_1", "pi_1", (ChargeView("ch_1", "pending", None),), (), ())
    html = shown("PENDING", redirect_url="https://g/pay", attempts=(attempt,)).html
    assert "Confirming" in html
    assert "https://g/pay" not in html


def test_a_page_that_was_left_open_looks_less_often() -> None:
    assert f'content="{REFRESH_S};url=?refreshes=1"' in shown("PENDING").html
    late = shown("PENDING", Visit(refreshes=REFRESHES_MAX)).html
    assert f'content="{REFRESH_SLOW_S};url=?refreshes={REFRESHES_MAX + 1}"' in late


def test_addresses_cannot_break_out_of_the_page() -> None:
    assert '"><b>' not in shown("PENDING", redirect_url='https://g/"><b>').html
