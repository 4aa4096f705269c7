"""Every route answers malformed, oversized, wrong-typed and unknown input with Stripe's envelope, never with a 500."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.gateway.app import Ports, build
from tallystick.gateway.settings import Settings
from tallystick.gateway.stripe_wire import forms

EXAMPLES_MAX = 100
VALUES_STEP = 6  # every name meets every sixth value, each value a sixth of the names: over all routes, every pair

# Every route of the wire, with an id that exists where there is one.
ROUTES = [
    ("POST", "/v1/payment_intents"),
    ("GET", "/v1/payment_intents"),
    ("GET", "/v1/payment_intents/{intent}"),
    ("POST", "/v1/payment_intents/{intent}"),
    ("POST", "/v1/payment_intents/{intent}/confirm"),
    ("POST", "/v1/payment_intents/{intent}/capture"),
    ("POST", "/v1/payment_intents/{intent}/cancel"),
    ("GET", "/v1/charges"),
    ("GET", "/v1/charges/{charge}"),
    ("POST", "/v1/refunds"),
    ("GET", "/v1/refunds"),
    ("GET", "/v1/refunds/{refund}"),
    ("POST", "/v1/refunds/{refund}"),
    ("POST", "/v1/refunds/{refund}/cancel"),
    ("GET", "/v1/disputes"),
    ("GET", "/v1/disputes/{dispute}"),
    ("POST", "/v1/disputes/{dispute}"),
    ("POST", "/v1/disputes/{dispute}/close"),
    ("GET", "/v1/balance"),
    ("GET", "/v1/balance_transactions"),
    ("GET", "/v1/balance_transactions/{transaction}"),
    ("GET", "/v1/payouts"),
    ("GET", "/v1/payouts/{payout}"),
    ("POST", "/v1/payouts"),
    ("POST", "/v1/payouts/{payout}/cancel"),
    ("POST", "/v1/reporting/report_runs"),
    ("GET", "/v1/reporting/report_runs"),
    ("GET", "/v1/reporting/report_runs/{run}"),
    ("GET", "/v1/reporting/report_types/payout_reconciliation.itemized.5"),
    ("GET", "/v1/reporting/report_types/balance_change_from_activity.itemized.3"),
    ("GET", "/v1/files/{file}"),
    ("GET", "/v1/files/{file}/contents"),
    ("POST", "/v1/payment_methods"),
    ("GET", "/v1/payment_methods/{method}"),
    ("GET", "/v1/payment_methods"),
    ("POST", "/v1/payment_methods/{method}/attach"),
    ("POST", "/v1/payment_methods/{method}/detach"),
    ("POST", "/v1/customers"),
    ("GET", "/v1/customers"),
    ("GET", "/v1/customers/{customer}"),
    ("POST", "/v1/customers/{customer}"),
    ("DELETE", "/v1/customers/{customer}"),
    ("GET", "/v1/customers/{customer}/payment_methods"),
    ("POST", "/v1/checkout/sessions"),
    ("GET", "/v1/checkout/sessions"),
    ("GET", "/v1/checkout/sessions/{session}"),
    ("POST", "/v1/checkout/sessions/{session}/expire"),
    ("GET", "/v1/checkout/sessions/{session}/line_items"),
    ("GET", "/v1/events"),
    ("GET", "/v1/events/{event}"),
    ("POST", "/v1/webhook_endpoints"),
    ("GET", "/v1/webhook_endpoints"),
    ("GET", "/v1/webhook_endpoints/{endpoint}"),
    ("POST", "/v1/webhook_endpoints/{endpoint}"),
    ("POST", "/v1/webhook_endpoints/{endpoint}/roll_secret"),
    ("DELETE", "/v1/webhook_endpoints/{endpoint}"),
]
NAMES = (
    "amount currency confirm capture_method payment_method payment_method_types[] description metadata metadata[a] "
    "return_url expand[] expand limit starting_after ending_before created created[gte] type types[] delivery_success "
    "url enabled_events[] disabled card[token] card[number] mode line_items[0][quantity] success_url ui_mode status x "
    "expires_at line_items[0][price_data][currency] line_items[0][price_data][unit_amount] amount_total final_capture "
    "line_items[0][price_data][product_data][name] amount_to_capture cancellation_reason x[y][z] client_reference_id "
    "charge payment_intent reason currency payout source submit evidence[uncategorized_text] evidence[a] "
    "customer setup_future_usage off_session email name phone saved_payment_method_options[payment_method_save] "
    "report_type parameters[interval_start] parameters[interval_end] parameters[columns][] parameters[currency] "
    "parameters method source_type statement_descriptor"
).split()
VALUES = [
    *(
        "",
        "0",
        "1",
        "-1",
        "2000",
        "1e9",
        "99999999999999999999",
        "1.5",
        "true",
        "eur",
        "xxx",
        "null",
        "[]",
        "{}",
        "a.b",
    ),
    *("*", "4242424242424242", "pm_card_visa", "pi_x", "https://shop.example", "javascript:alert(1)", "http://[::1"),
    *("\x00", "é", "\ud7ff", "'; DROP TABLE account; --", "%", "_", "\\", "x" * 600, "x" * 5_000, "253402300800"),
    "data.latest_charge",
]


@pytest.fixture(scope="module")
def gateway(lasting_gateway_dsn: str, run_gateway_on: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    with run_gateway_on(lasting_gateway_dsn) as running:
        yield running


@pytest.fixture(scope="module")
def api(gateway: Any, client: Any) -> Any:
    return client(gateway.url, gateway.test.secret_key)


@pytest.fixture(scope="module")
def ids(api: Any) -> dict[str, str]:
    """Objects to be rude to."""
    paid = api.post(
        "/v1/payment_intents",
        {"amount": "2000", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"},
    ).json
    session = api.post(
        "/v1/checkout/sessions", {"amount_total": "5", "currency": "eur", "success_url": "https://shop.example"}
    ).json
    endpoint = api.post("/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/x", "enabled_events[]": "*"}).json
    return {
        "intent": api.post("/v1/payment_intents", {"amount": "2000", "currency": "eur"}).json["id"],
        "charge": paid["latest_charge"],
        "refund": api.post("/v1/refunds", {"payment_intent": paid["id"], "amount": "5"}).json["id"],
        "method": paid["payment_method"],
        "customer": api.post("/v1/customers", {"email": "ada@shop.example"}).json["id"],
        "dispute": disputed(api),
        "payout": "po_1",
        "run": "frr_1",
        "file": "file_1",
        "transaction": api.get("/v1/balance_transactions").json["data"][0]["id"],
        "session": session["id"],
        "event": api.get("/v1/events").json["data"][0]["id"],
        "endpoint": endpoint["id"],
    }


def disputed(api: Any) -> str:
    """A dispute: the bank tells of it within a second or two."""
    fields = {"amount": "2000", "currency": "eur", "payment_method": "pm_card_createDispute", "confirm": "true"}
    api.post("/v1/payment_intents", fields)
    for _ in range(100):
        found = api.get("/v1/disputes").json["data"]
        if found:
            return str(found[0]["id"])
        time.sleep(0.1)
    raise AssertionError("no dispute")


def is_answered(answer: Any, *, refused: bool = False) -> None:
    """A clear answer: success, or Stripe's envelope with a status of the caller's fault."""
    if answer.status == 200 and not refused:
        assert answer.json["object"]
        return
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.error["message"]
    assert "4242424242424242" not in answer.body.decode()


def test_the_table_of_routes_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that is added must be added here."""
    found: list[Any] = []
    monkeypatch.setattr("tallystick.gateway.app.Wire", lambda routes, *_: found.extend(routes))
    nothing: Any = None
    build(Settings(database_dsn="postgresql:///unused"), Ports(nothing, nothing, nothing, nothing, nothing))
    here = {(method, re.sub(r"\{.*\}", "{id}", path)) for method, path in ROUTES}
    assert {(route.method, route.path) for route in found} == here


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_what_cannot_be_right_is_refused(api: Any, ids: dict[str, str], method: str, path: str) -> None:
    path = path.format(**ids)
    if method == "POST":
        for body, content_type in (
            (b"{", "application/json"),
            (b"[1]", "application/json"),
            (b'{"amount": {"a": [[[]]]}, "x": "\\u0000"}', "application/json"),
            (b"a[=1", "application/x-www-form-urlencoded"),
            (b"a=%ff", "application/x-www-form-urlencoded"),
            (b"a", "text/plain"),
            (b"a" * (forms.BODY_BYTES_MAX + 1), "application/x-www-form-urlencoded"),
        ):
            is_answered(api.send(method, path, body, [("Content-Type", content_type)]), refused=True)
    for query in (
        "colour=red",
        "a[b",
        "expand[]=nothing.like.this",
        "expand=x",
        "a=%ff",
        "card[number]=4242424242424242",
    ):
        is_answered(api.send(method, f"{path}?{query}", None), refused=True)
    is_answered(api.send(method, f"{path}?{'a=b&' * 5_000}", None), refused=True)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_parameter_with_every_odd_value(api: Any, ids: dict[str, str], method: str, path: str) -> None:
    first = ROUTES.index((method, path))
    path = path.format(**ids)
    required = (
        {
            "/v1/payment_intents": {"amount": "2000", "currency": "eur"},
            "/v1/payment_methods": {"type": "card", "card[token]": "tok_visa"},
            "/v1/checkout/sessions": {"amount_total": "5", "currency": "eur", "success_url": "https://shop.example"},
            "/v1/webhook_endpoints": {"url": "http://127.0.0.1:9/x", "enabled_events[]": "a.b"},
        }.get(path, {})
        if method == "POST"
        else {}
    )
    if method == "DELETE":
        return
    for place, name in enumerate(NAMES):
        for value in VALUES[(place + first) % VALUES_STEP :: VALUES_STEP]:
            fields = urlencode({**required, name: value}, quote_via=quote).encode()
            if method == "POST":
                is_answered(api.post(path, fields))
            else:
                is_answered(api.get(f"{path}?{fields.decode()}"))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=EXAMPLES_MAX, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from([route for route in ROUTES if route[0] == "POST"]),
    fields=st.dictionaries(st.sampled_from([name for name in NAMES if "[" not in name]), json_values, max_size=6),
)
def test_any_json_to_any_route(api: Any, ids: dict[str, str], route: tuple[str, str], fields: dict[str, Any]) -> None:
    method, path = route
    body = json.dumps(fields).encode()
    is_answered(api.send(method, path.format(**ids), body, [("Content-Type", "application/json")]))
