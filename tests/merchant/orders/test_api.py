"""The orders API over real HTTP: lists, timelines, and a clear problem for whatever is sent (DESIGN §6, RFC 9457)."""

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tallystick.merchant import openapi
from tallystick.merchant.requests import BODY_BYTES_MAX
from tallystick.ports.database import Statement

Stage = Any


async def send(
    stage: Stage, method: str, path: str, data: bytes | None = None, **headers: str
) -> tuple[int, dict[str, Any], Any]:
    """One request with credentials, unless `headers` says otherwise; every error must be a problem."""
    async with stage.client.request(
        method, f"{stage.url}{path}", data=data, headers=stage.headers() | headers, allow_redirects=False
    ) as answer:
        body = await answer.read()
        if path.startswith("/v1/"):  # an order's answer may hold the way to its payment
            assert answer.headers["Cache-Control"] == "no-store"
        if answer.status >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json", body
            problem = msgspec.json.decode(body)
            assert problem["status"] == answer.status
            assert problem["code"]
            assert problem["title"]
            assert problem["type"] == f"urn:tallystick:problem:{problem['code']}"
        return answer.status, msgspec.json.decode(body) if body else {}, answer.headers


async def test_orders_are_listed_newest_first_page_by_page(stage: Stage) -> None:
    placed = [(await stage.place())[1]["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        _, page, _ = await send(stage, "GET", f"/v1/orders?limit=2{cursor}")
        seen += [order["id"] for order in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == placed[::-1]


async def test_a_timeline_is_read_page_by_page(stage: Stage) -> None:
    _, order = await stage.place()
    path = f"/v1/orders/{order['id']}/timeline"
    _, page, _ = await send(stage, "GET", f"{path}?limit=1")
    assert ([row["number"] for row in page["data"]], page["next_cursor"]) == ([1], 1)
    _, page, _ = await send(stage, "GET", f"{path}?limit=1&cursor=1")
    assert ([row["number"] for row in page["data"]], page["next_cursor"]) == ([2], None)
    status, page, _ = await send(stage, "GET", f"{path}?cursor=2")
    assert (status, page["data"]) == (200, [])


async def test_without_a_key_that_we_know_everything_is_401(stage: Stage) -> None:
    routes = [("POST", "/v1/orders"), ("GET", "/v1/orders"), ("GET", "/v1/orders/x"), ("GET", "/v1/orders/x/timeline")]
    for authorization in ("", "Bearer", "Bearer tsk_wrong", "Bearer sk_test_x", "Basic dHNrOg==", "tsk_x"):
        for method, path in routes:
            status, problem, headers = await send(stage, method, path, Authorization=authorization)
            assert (status, problem["code"], headers["WWW-Authenticate"]) == (401, "unauthenticated", "Bearer")


async def test_a_key_is_stored_as_its_hash_alone(stage: Stage) -> None:
    """RULES §12: shown once, stored as SHA-256."""
    rows = await stage.database.rows(Statement("x", "SELECT k::text AS row FROM api_key k"))
    assert stage.api_key not in rows[0]["row"]
    assert stage.api_key.removeprefix("tsk_") not in rows[0]["row"]


ADDRESSES = [
    ("/v1/orders/ord_nothing", 404),
    ("/v1/orders/ord_" + "0" * 41, 404),
    ("/v1/orders/" + "x" * 3000, 404),
    ("/v1/orders/%00", 404),
    ("/v1/orders/ord_1/timeline", 404),
    ("/v1/orders/a/b/c", 404),
    ("/v1/nothing", 404),
    ("/", 404),
    ("/v1/orders?limit=0", 422),
    ("/v1/orders?limit=101", 422),
    ("/v1/orders?limit=many", 422),
    ("/v1/orders?limit=1&limit=2", 422),
    ("/v1/orders?cursor=%00", 422),
    ("/v1/orders?cursor=", 422),
    ("/v1/orders?colour=red", 422),
    ("/v1/orders/ord_1?colour=red", 422),
]


async def test_addresses_that_lead_nowhere_say_so(stage: Stage) -> None:
    assert [(path, (await send(stage, "GET", path))[0]) for path, _ in ADDRESSES] == ADDRESSES


async def test_an_order_that_does_not_exist_is_404(stage: Stage) -> None:
    _, order = await stage.place()
    other = order["id"][:-1] + ("0" if order["id"][-1] != "0" else "1")
    for path in (f"/v1/orders/{other}", f"/v1/orders/{other}/timeline"):
        status, problem, _ = await send(stage, "GET", path)
        assert (status, problem["code"]) == (404, "not_found")


async def test_methods_that_an_address_does_not_take(stage: Stage) -> None:
    for method, path in (("DELETE", "/v1/orders"), ("PUT", "/v1/orders/x"), ("POST", "/healthz"), ("PATCH", "/docs")):
        status, problem, headers = await send(stage, method, path)
        assert (status, problem["code"]) == (405, "method_not_allowed")
        assert "GET" in headers["Allow"]


GOOD = {"amount": 2500, "currency": "EUR"}
LINE = {"name": "Tea", "amount": 100}


BODIES: list[tuple[bytes | dict[str, Any], int, str | None]] = [
    (b"", 400, None),
    (b"{", 400, None),
    (b"\xff\xfe\x00", 400, None),
    (b"{'amount': 1}", 400, None),
    (b"[" * 60_000, 422, "body"),
    (b'{"amount": 1e999, "currency": "EUR"}', 422, "amount"),
    (b"null", 422, "body"),
    (b"[]", 422, "body"),
    (b"{}", 422, "body"),
    ({"amount": "2500", "currency": "EUR"}, 422, "amount"),
    ({"amount": 25.5, "currency": "EUR"}, 422, "amount"),
    ({"amount": True, "currency": "EUR"}, 422, "amount"),
    ({"amount": 0, "currency": "EUR"}, 422, "amount"),
    ({"amount": -1, "currency": "EUR"}, 422, "amount"),
    ({"amount": 10**12, "currency": "EUR"}, 422, "amount"),
    ({"amount": 10**40, "currency": "EUR"}, 422, "amount"),
    ({"currency": "EUR"}, 422, "amount"),
    ({**GOOD, "line_items": [LINE]}, 422, "amount"),
    ({**GOOD, "currency": "EURO"}, 422, "currency"),
    ({**GOOD, "currency": "ZZZ"}, 422, "currency"),
    ({**GOOD, "currency": "XAU"}, 422, "currency"),
    ({**GOOD, "currency": "DEM"}, 422, "currency"),
    ({**GOOD, "currency": None}, 422, "currency"),
    ({"currency": "EUR", "line_items": []}, 422, "line_items"),
    ({"currency": "EUR", "line_items": [LINE] * 101}, 422, "line_items"),
    ({"currency": "EUR", "line_items": [{**LINE, "amount": 999_999_999_999}] * 2}, 422, "line_items"),
    ({"currency": "EUR", "line_items": [{**LINE, "quantity": 0}]}, 422, "line_items[0].quantity"),
    ({"currency": "EUR", "line_items": [{**LINE, "colour": "red"}]}, 422, "line_items[0]"),
    ({**GOOD, "reference": ""}, 422, "reference"),
    ({**GOOD, "reference": "x" * 201}, 422, "reference"),
    ({**GOOD, "reference": "a\0b"}, 422, "reference"),
    ({**GOOD, "reference": "a\n"}, 422, "reference"),
    ({**GOOD, "customer": {"email": "nobody"}}, 422, "customer.email"),
    ({**GOOD, "customer": {"phone": "1"}}, 422, "customer"),
    ({**GOOD, "metadata": {"a": 1}}, 422, "metadata[...]"),
    ({**GOOD, "metadata": {"a": "\0"}}, 422, "metadata[...]"),
    ({**GOOD, "metadata": {"": "a"}}, 422, None),
    ({**GOOD, "metadata": {str(n): "" for n in range(51)}}, 422, "metadata"),
    ({**GOOD, "expires_in_s": 59}, 422, "expires_in_s"),
    ({**GOOD, "expires_in_s": 86_401}, 422, "expires_in_s"),
    ({**GOOD, "ui_mode": "popup"}, 422, "ui_mode"),
    ({**GOOD, "return_url": "/basket"}, 422, "return_url"),
    ({**GOOD, "return_url": "https://shop.example.evil.example/"}, 422, "return_url"),
    ({**GOOD, "return_url": "https://shop.example@evil.example/"}, 422, "return_url"),
    ({**GOOD, "return_url": "https://shop.example:8443/"}, 422, "return_url"),
    ({**GOOD, "return_url": "http://shop.example/"}, 422, "return_url"),
    ({**GOOD, "cancel_url": "javascript:alert(1)"}, 422, "cancel_url"),
    ({**GOOD, "connection": "con_other"}, 422, "connection"),
    ({**GOOD, "card": "4242424242424242"}, 422, "body"),
]


async def test_a_body_that_is_not_an_order_says_what_is_wrong(stage: Stage) -> None:
    """Malformed, wrong-typed, out of range, unknown: a clear problem that names the field, and nothing stored."""
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for body, status, field in BODIES:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        got, problem, _ = await send(stage, "POST", "/v1/orders", data, **headers)
        assert got == status, (body, problem)
        fields = [error["field"] for error in problem.get("errors", ())]
        assert field is None or field in fields, (body, problem)
        assert b"4242424242424242" not in msgspec.json.encode(problem)
    assert (await stage.count("orders"), await stage.count("idempotency_key")) == (0, 0)


async def test_a_return_url_at_a_registered_origin_is_taken(stage: Stage) -> None:
    """RULES §9: a return URL must match a registered origin; the default port is the same origin."""
    for url in ("https://shop.example/done?order=1", "https://shop.example:443/", "https://SHOP.example"):
        assert (await stage.place(return_url=url))[0] == 201


async def test_a_body_that_is_not_json_by_its_own_word_is_415(stage: Stage) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/x-www-form-urlencoded"}
    assert (await send(stage, "POST", "/v1/orders", b"amount=1&currency=EUR", **headers))[0] == 415


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_413(stage: Stage, declared: bool) -> None:
    async def drip() -> Any:
        yield b" " * BODY_BYTES_MAX
        yield b" "

    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    data: Any = b" " * (BODY_BYTES_MAX + 1) if declared else drip()
    assert (await send(stage, "POST", "/v1/orders", data, **headers))[0] == 413


async def test_bytes_that_are_not_http_harm_nobody(stage: Stage) -> None:
    host, port = urlsplit(stage.url).hostname, urlsplit(stage.url).port
    for garbage in (
        b"\0\1\2\3\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(host, port, family=socket.AF_INET)
        writer.write(garbage)
        answer = await asyncio.wait_for(reader.read(200), 5)
        assert b" 500" not in answer.split(b"\r\n")[0]
        writer.close()
    assert (await send(stage, "GET", "/healthz"))[0] == 200


async def test_health_says_whether_the_process_lives_and_can_work(stage: Stage) -> None:
    assert (await send(stage, "GET", "/healthz"))[:2] == (200, {"status": "ok"})
    assert (await send(stage, "GET", "/readyz"))[:2] == (200, {"status": "ok"})


async def test_while_the_database_is_away_everything_is_503_and_nothing_happens(
    stage: Stage, merchant_dsn: str, postgres_dsn: str
) -> None:
    """RULES §5: database down | 503, nothing executed."""
    name = urlsplit(merchant_dsn).path.removeprefix("/")
    _, order = await stage.place()
    calls = len(stage.gateway.calls)
    with psycopg.connect(postgres_dsn, autocommit=True) as server:
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        server.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(name), Identifier(f"{name}_away")))
        try:
            headers = {"Idempotency-Key": "k2", "Content-Type": "application/json"}
            answers = [
                await send(stage, "POST", "/v1/orders", msgspec.json.encode(GOOD), **headers),
                await send(stage, "GET", "/v1/orders"),
                await send(stage, "GET", f"/v1/orders/{order['id']}"),
                await send(stage, "GET", "/readyz"),
            ]
            assert [(status, problem["code"]) for status, problem, _ in answers] == [(503, "database_unavailable")] * 4
            assert all(int(headers["Retry-After"]) > 0 for _, _, headers in answers)
            assert (await send(stage, "GET", "/healthz"))[0] == 200
        finally:
            server.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(f"{name}_away"), Identifier(name)))
    assert len(stage.gateway.calls) == calls
    assert (await stage.order(order["id"]))["state"] == "PENDING"


async def test_a_fault_of_ours_is_a_500_with_a_reference_and_says_nothing_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """STYLE: 500 with a reference and a log line; the retry resumes (RULES §5: never replays the 500)."""

    async def broken(*_: Any) -> Any:
        raise RuntimeError("the secret of the house")

    with monkeypatch.context() as patch:
        patch.setattr("tallystick.merchant.gateways.stripe.StripeGateway.open_session", broken)
        status, problem = await stage.place("k")
    assert (status, problem["code"]) == (500, "internal")
    assert "secret" not in str(problem)
    assert problem["reference"] in caplog.text
    assert (await stage.place("k"))[0] == 201


async def test_the_description_covers_every_route_and_nothing_else(stage: Stage) -> None:
    """OpenAPI 3.1 is served; a route that it does not describe, or that does not exist, fails here."""
    _, document, _ = await send(stage, "GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    for method, path in sorted(described):
        status, _, _ = (
            await send(stage, method, path.replace("{order_id}", "ord_1")) if "return" not in path else (0, 0, 0)
        )
        assert status not in (405, 500), (method, path)
    assert described == {
        ("POST", "/v1/orders"),
        ("GET", "/v1/orders"),
        ("GET", "/v1/orders/{order_id}"),
        ("GET", "/v1/orders/{order_id}/timeline"),
        ("POST", "/v1/orders/{order_id}/attempts"),
        ("POST", "/v1/orders/{order_id}/refunds"),
        ("POST", "/v1/orders/{order_id}/cancel"),
        ("GET", "/v1/reconciliations"),
        ("POST", "/v1/reconciliations"),
        ("POST", "/v1/reconciliations/files"),
        ("GET", "/v1/reconciliations/{run_id}"),
        ("GET", "/v1/reconciliations/{run_id}/report"),
        ("GET", "/v1/mismatches"),
        ("GET", "/v1/cases"),
        ("GET", "/v1/cases/{case_id}"),
        ("POST", "/v1/customers"),
        ("GET", "/v1/customers"),
        ("POST", "/v1/customers/search"),
        ("GET", "/v1/customers/{customer_id}"),
        ("DELETE", "/v1/customers/{customer_id}"),
        ("GET", "/return/{order_id}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    }
    assert document == msgspec.json.decode(msgspec.json.encode(openapi.document("http://127.0.0.1:8420")))


async def test_the_description_can_be_browsed_without_anything_from_elsewhere(stage: Stage) -> None:
    async with stage.client.get(f"{stage.url}/docs") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert answer.status == 200
    assert "default-src 'none'" in policy
    assert "<script" not in page
    assert "src=" not in page
    assert "CreateOrder" in page
    assert "Idempotency-Key" in page
