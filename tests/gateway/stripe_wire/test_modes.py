"""Test and live mode do not mix, and what exists for tests exists in test mode only (DESIGN §5)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

from tallystick.gateway.acquirers.simulated_cards import BY_TOKEN, SIMULATED_CARDS

INTENTS = "/v1/payment_intents"
METHODS = "/v1/payment_methods"
SESSIONS = "/v1/checkout/sessions"
ENDPOINTS = "/v1/webhook_endpoints"
AN_INTENT = {"amount": "2000", "currency": "eur"}
A_SESSION = {
    "mode": "payment",
    "success_url": "https://shop.example/thanks",
    "line_items[0][price_data][currency]": "eur",
    "line_items[0][price_data][unit_amount]": "500",
    "line_items[0][price_data][product_data][name]": "Tea",
    "line_items[0][quantity]": "1",
}


@pytest.fixture
def gateway(run_gateway: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    with run_gateway(origins=["https://shop.example"]) as running:
        yield running


@pytest.fixture
def test_mode(gateway: Any, client: Any) -> Any:
    return client(gateway.url, gateway.test.secret_key)


@pytest.fixture
def live_mode(gateway: Any, client: Any) -> Any:
    return client(gateway.url, gateway.live.secret_key)


def stored(gateway: Any, statement: str) -> Any:
    with psycopg.connect(gateway.dsn) as connection:
        return connection.execute(statement).fetchall()


def test_every_test_token_is_refused_in_live_mode(gateway: Any, live_mode: Any) -> None:
    """Test tokens and the numbers behind them, by every way that a card can be named."""
    tokens = sorted(BY_TOKEN)
    assert {"pm_card_visa", "pm_card_chargeDeclined", "tok_visa"} <= set(tokens)
    intent = live_mode.post(INTENTS, AN_INTENT)
    assert (intent.status, intent.json["livemode"]) == (200, True)
    for token in tokens:
        for path, fields in (
            (METHODS, {"type": "card", "card[token]": token}),
            (INTENTS, {**AN_INTENT, "payment_method": token}),
            (INTENTS, {**AN_INTENT, "payment_method": token, "confirm": "true"}),
            (f"{INTENTS}/{intent.json['id']}", {"payment_method": token}),
            (f"{INTENTS}/{intent.json['id']}/confirm", {"payment_method": token}),
        ):
            answer = live_mode.post(path, fields)
            assert 400 <= answer.status < 404, (path, token)
            assert answer.error["type"] == "invalid_request_error"
    assert stored(gateway, "SELECT id FROM payment_method WHERE livemode") == []
    assert stored(gateway, "SELECT id FROM charge WHERE livemode") == []


def test_a_test_card_cannot_pay_on_a_live_page(gateway: Any, live_mode: Any, client: Any) -> None:
    session = live_mode.post(SESSIONS, A_SESSION)
    assert session.status == 200
    assert session.json["id"].startswith("cs_live_")
    page = client(gateway.url)
    for card in SIMULATED_CARDS:
        form = {"cc-number": card.number, "cc-exp": "12/34", "cc-csc": "1234" if card.number[0] == "3" else "123"}
        page.post(f"/pay/{session.json['id']}", form)
    assert live_mode.get(f"{SESSIONS}/{session.json['id']}").json["payment_status"] == "unpaid"
    for table in ("payment_method", "charge", "simulated_authentication", "ledger_transaction"):
        assert stored(gateway, f"SELECT * FROM {table}") == []


def test_the_3ds_simulator_has_no_page_for_a_live_charge(
    gateway: Any, test_mode: Any, live_mode: Any, client: Any
) -> None:
    """A 3DS challenge exists in test mode; nothing makes one in live mode, whatever is asked for."""
    fields = {**AN_INTENT, "confirm": "true", "return_url": "https://shop.example/back"}
    asked = test_mode.post(INTENTS, {**fields, "payment_method": "pm_card_authenticationRequired"})
    assert asked.json["status"] == "requires_action"
    assert 400 <= live_mode.post(INTENTS, {**fields, "payment_method": "pm_card_authenticationRequired"}).status < 404
    assert stored(gateway, "SELECT count(*) FROM simulated_authentication") == [(1,)]
    assert client(gateway.url).get("/acs/ch_none").status == 404


def test_neither_mode_sees_the_others_objects(test_mode: Any, live_mode: Any) -> None:
    paid = test_mode.post(INTENTS, {**AN_INTENT, "payment_method": "pm_card_visa", "confirm": "true"}).json
    session = test_mode.post(SESSIONS, A_SESSION).json
    endpoint = test_mode.post(ENDPOINTS, {"url": "http://127.0.0.1:9/x", "enabled_events[]": "*"}).json
    event = test_mode.get("/v1/events").json["data"][0]
    own = [
        f"{INTENTS}/{paid['id']}",
        f"/v1/charges/{paid['latest_charge']}",
        f"{METHODS}/{paid['payment_method']}",
        f"{SESSIONS}/{session['id']}",
        f"{SESSIONS}/{session['id']}/line_items",
        f"{ENDPOINTS}/{endpoint['id']}",
        f"/v1/events/{event['id']}",
    ]
    for path in own:
        assert test_mode.get(path).status == 200, path
        assert live_mode.get(path).status == 404, path
    for path in (INTENTS, "/v1/charges", SESSIONS, ENDPOINTS, "/v1/events"):
        assert test_mode.get(path).json["data"] != []
        assert live_mode.get(path).json["data"] == [], path
        assert live_mode.get(f"{path}?starting_after={paid['id']}").status == 400
    for path, fields in (
        (f"{INTENTS}/{paid['id']}", {"description": "x"}),
        (f"{INTENTS}/{paid['id']}/cancel", {}),
        (f"{INTENTS}/{paid['id']}/capture", {}),
        (f"{SESSIONS}/{session['id']}/expire", {}),
        (f"{ENDPOINTS}/{endpoint['id']}", {"disabled": "true"}),
    ):
        assert live_mode.post(path, fields).status == 404, path
    assert live_mode.send("DELETE", f"{ENDPOINTS}/{endpoint['id']}", None).status == 404
    assert live_mode.post(INTENTS, {**AN_INTENT, "payment_method": paid["payment_method"]}).status == 400


def test_events_of_one_mode_go_to_endpoints_of_that_mode(gateway: Any, test_mode: Any, live_mode: Any) -> None:
    test_mode.post(ENDPOINTS, {"url": "http://127.0.0.1:9/x", "enabled_events[]": "*"})
    live_mode.post(INTENTS, AN_INTENT)
    assert stored(gateway, "SELECT * FROM delivery") == []
    test_mode.post(INTENTS, AN_INTENT)
    assert stored(gateway, "SELECT livemode FROM delivery") == [(False,)]
