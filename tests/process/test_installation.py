"""A real installation, made with nothing but the commands that its operator has."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tallystick.cli.endpoints import create_endpoint
from tallystick.cli.merchant_api import MerchantApi
from tallystick.demo.browser import Browser
from tallystick.demo.shoppers import DECLINED, VISA
from tallystick.kernel.grants import GATEWAY, MERCHANT, OWNER
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import HttpRequest
from tallystick.ports.postgres import create_databases

TEST_BOUND_S = 180

AsRole = Callable[[str, str], str]


@pytest.fixture
def dsns(postgres_dsn: str, as_role: AsRole) -> Iterator[dict[str, str]]:
    """Two databases without a table, as an operator creates them: the owner's."""
    names = {service: f"installation_{service}" for service in ("gateway", "merchant")}
    create_databases(postgres_dsn, names.values())
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for name in names.values():
            connection.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(name), Identifier(OWNER)))
    yield {service: urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}")) for service, name in names.items()}
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for name in names.values():
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


async def test_a_paid_order_with_the_commands_alone(
    processes: Any, http: AiohttpClient, dsns: dict[str, str], as_role: AsRole, tmp_path: Path, collector: Any
) -> None:
    """And a declined one; both are followed, and the lines about the second are found by its payment's id alone."""
    gateway_port, merchant_port = processes.free_ports(2)
    gateway_url, merchant_url = f"http://127.0.0.1:{gateway_port}", f"http://127.0.0.1:{merchant_port}"
    settings = {
        "TALLYSTICK_GATEWAY_DATABASE_DSN": as_role(dsns["gateway"], GATEWAY),
        "TALLYSTICK_GATEWAY_PORT": str(gateway_port),
        "TALLYSTICK_GATEWAY_WEBHOOKS_TO_LOOPBACK": "true",
        "TALLYSTICK_MERCHANT_DATABASE_DSN": as_role(dsns["merchant"], MERCHANT),
        "TALLYSTICK_MERCHANT_PORT": str(merchant_port),
        "TALLYSTICK_GATEWAY_TRACES_URL": collector.url,
        "TALLYSTICK_MERCHANT_TRACES_URL": collector.url,
    }
    async with asyncio.timeout(TEST_BOUND_S), contextlib.AsyncExitStack() as started:
        owners = {
            f"TALLYSTICK_{each.upper()}_OWNER_DSN": as_role(dsns[each], OWNER) for each in ("gateway", "merchant")
        }
        versions = await processes.json("database", "migrate", environment=owners)
        assert versions.keys() == {"gateway", "merchant"}
        account = await processes.json(
            *("gateway", "accounts", "create", "--name", "Hazel", "--origin", merchant_url), environment=settings
        )
        merchant = await processes.json("merchant", "accounts", "create", "--name", "Hazel", environment=settings)
        keys = account["keys"][0]
        assert keys["mode"] == "test"
        (tmp_path / "secret-key").write_text(keys["secret_key"])

        # The connection first: its address is what the gateway wants before it makes the webhook secret.
        connection = await processes.json(
            *("merchant", "connections", "add", "--gateway", "stripe", "--url", gateway_url),
            *("--secret-key-file", str(tmp_path / "secret-key")),
            *("--webhook-secret-file", str(tmp_path / "webhook-secret")),
            environment=settings,
        )
        assert connection["webhook_url"] == f"{merchant_url}/webhooks/{connection['connection']}"

        services = [
            await started.enter_async_context(processes.running(service, "serve", environment=settings))
            for service in ("gateway", "merchant")
        ]
        apart = await started.enter_async_context(processes.running("gateway", "work", environment=settings))
        for url in (gateway_url, merchant_url):
            answer = await processes.answer(HttpRequest("GET", f"{url}/readyz", {}, b"", 5))
            assert answer.status == 200

        endpoint = await create_endpoint(http, gateway_url, keys["secret_key"], connection["webhook_url"])
        (tmp_path / "webhook-secret").write_text(endpoint.secret)

        api = MerchantApi(http, merchant_url, merchant["api_key"])
        order = await api.place({"amount": 2500, "currency": "EUR", "reference": "basket-17"}, key="basket-17")
        await _pay(Browser(http), order["redirect_url"])
        while (await api.order(order["id"]))["state"] != "PAID":  # noqa: ASYNC110 - it is elsewhere that it changes
            await asyncio.sleep(0.1)

        asking = {"TALLYSTICK_MERCHANT_URL": merchant_url, "TALLYSTICK_MERCHANT_API_KEY": merchant["api_key"]}
        shown = await processes.command("order", "show", order["id"], environment=asking)
        assert order["id"] in shown
        assert "PENDING → PAID" in shown
        explained = await processes.json("order", "show", order["id"], environment=asking)
        assert explained["order"]["state"] == "PAID"
        assert "webhook" in {row["source"] for row in explained["timeline"]}, "the secret that came later was used"

        declined = await api.place({"amount": 1700, "currency": "EUR"}, key="basket-18")
        await _pay(Browser(http), declined["redirect_url"], card=DECLINED)
        while not (attempt := (await api.order(declined["id"]))["attempts"][0]).get("charges"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)

        for service in (*services, apart):
            assert await service.stop() == 0
        trace = _the_trace_of(order["id"], collector.spans)
        failed = _the_trace_of(declined["id"], collector.spans)
        assert trace != failed
        said = [json.loads(line) for each in (*services, apart) for line in (await each.rest())[1].splitlines()]
        about = [line for line in said if line.get("payment_intent") == attempt["payment_intent"]]
        assert {(line["service"], line["event"]) for line in about} >= {
            ("gateway", "acquirer_did_not"),
            ("merchant", "charge_failed"),
        }
        assert {line["order_id"] for line in about} == {declined["id"]}
        assert {line["trace_id"] for line in about} == {failed}


def _the_trace_of(order_id: str, spans: list[dict[str, Any]]) -> str:
    """The one trace of an order: from the shop's call through the gateway, its page and its bank, and back again by
    webhook, each step below the one that caused it. RULES §13."""
    [begun] = [
        span
        for span in spans
        if span["name"] == "POST /v1/orders" and _called(span, "POST gateway", spans) and _is_of(order_id, span, spans)
    ]
    call = _called(begun, "POST gateway", spans)
    assert call is not None
    opened = _called(call, "POST /v1/checkout/sessions", spans)
    assert opened is not None
    paid = _called(opened, "pay on the page", spans)
    assert paid is not None
    assert _called(paid, "acquirer charge", spans)
    sent = [
        span
        for span in spans
        if span["name"] == "send webhook" and span["traceId"] == begun["traceId"] and span["parentSpanId"] != ""
    ]
    heard = [_called(span, "process webhook", spans) for span in sent]
    assert heard
    assert all(span is not None and span["service"] == "tallystick-merchant" for span in heard)
    assert {span["attributes"]["messaging.message.id"] for span in sent} == {
        span["attributes"]["messaging.message.id"] for span in heard if span is not None
    }
    of_trace = [span for span in spans if span["traceId"] == begun["traceId"]]
    assert {span["service"] for span in of_trace} == {"tallystick-merchant", "tallystick-gateway"}
    trace_id: str = begun["traceId"]
    return trace_id


def _is_of(order_id: str, begun: dict[str, Any], spans: list[dict[str, Any]]) -> bool:
    said = [span["attributes"].get("tallystick.order_id") for span in spans if span["traceId"] == begun["traceId"]]
    return order_id in said


def _called(span: dict[str, Any], name: str, spans: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The step of this name right below another one."""
    below = [each for each in spans if each["name"] == name and each.get("parentSpanId") == span["spanId"]]
    return below[0] if below else None


async def test_one_role_for_everything_is_told_of(processes: Any, empty_dsn: str) -> None:
    """An installation of an earlier version goes on, and is told what it lacks. RULES §12."""
    settings = {"TALLYSTICK_GATEWAY_DATABASE_DSN": empty_dsn}
    async with processes.running("database", "migrate", environment=settings) as migrating:
        out, error = await migrating.rest()
        assert migrating.process.returncode == 0
        assert "is at version" in out
        assert "database-roles.md" in error


async def test_one_command_serves_everything_on_this_machine(
    processes: Any, http: AiohttpClient, tmp_path: Path
) -> None:
    """`tallystick serve` without a DSN: an embedded database, migrated, and both services; SIGTERM leaves nothing."""
    ports = processes.free_ports(2)
    settings = {"TALLYSTICK_GATEWAY_PORT": str(ports[0]), "TALLYSTICK_MERCHANT_PORT": str(ports[1])}
    async with asyncio.timeout(TEST_BOUND_S):
        async with processes.running("serve", "--data-dir", str(tmp_path), environment=settings) as served:
            for port in ports:
                answer = await processes.answer(HttpRequest("GET", f"http://127.0.0.1:{port}/readyz", {}, b"", 5))
                assert answer.status == 200
            below = served.descendants()
            assert await served.stop() == 0
            assert not any(processes.alive(pid) for pid in below)


async def _pay(browser: Browser, url: str, card: str = VISA) -> None:
    page = await browser.open(url)
    form = next(form for form in page.forms if form.field_for("cc-number"))
    page = await browser.submit(page, form, {"cc-number": card, "cc-exp": "12/34", "cc-csc": "123"})
    expected = "declined" if card == DECLINED else "received"
    assert expected in page.text.lower() or page.refresh is not None, page.text


async def test_services_refuse_plain_http_beyond_loopback(processes: Any) -> None:
    """RULES §12."""
    for service in ("gateway", "merchant"):
        name = f"TALLYSTICK_{service.upper()}"
        settings = {f"{name}_DATABASE_DSN": "postgresql:///nowhere", f"{name}_HOST": "0.0.0.0"}
        async with processes.running(service, "serve", environment=settings) as refused:
            _, error = await refused.rest()
            assert refused.process.returncode == 2
            assert "plain HTTP" in error
            assert len(error.splitlines()) == 1, "a sentence, and nothing that libraries say of themselves"
