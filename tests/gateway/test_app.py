"""The gateway as it stands behind a load balancer: health, what lies outside the wire, and its end."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy

Run = Callable[..., AbstractContextManager[Any]]


def test_health_and_readiness(run_gateway: Run, client: Any) -> None:
    """Healthy is the process; ready is it with its database."""
    with run_gateway() as gateway:
        api = client(gateway.url)
        assert (api.get("/healthz").status, api.get("/readyz").status) == (200, 200)
        name = conninfo_to_dict(gateway.dsn)["dbname"]
        with psycopg.connect(gateway.dsn, dbname="postgres", autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            for _ in range(50):  # a worker's connection may just be coming up
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
                if api.get("/readyz").status == 503:
                    break
            assert (api.get("/healthz").status, api.get("/readyz").status) == (200, 503)
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        # A connection that was cut may be tried once more; the next call has a new one.
        assert 200 in [api.get("/readyz").status for _ in range(10)]


def test_what_is_neither_wire_nor_page_is_not_there(run_gateway: Run, client: Any) -> None:
    with run_gateway() as gateway:
        api = client(gateway.url)
        for method, path in (
            ("GET", "/"),
            ("GET", "/nothing"),
            ("POST", "/healthz"),
            ("GET", "/v2/x"),
            ("GET", "/v1x"),
            ("GET", f"/pay/cs_test_%00_{'0' * 41}"),
            ("GET", f"/embed/cs_test_%00_{'0' * 41}"),
            ("GET", f"/acs/ch_%00_{'0' * 41}"),
        ):
            answer = api.send(method, path, None)
            assert 400 <= answer.status < 500, path


@pytest.mark.parametrize("path", ["/v1/payment_intents", "/v1/checkout/sessions"])
def test_a_session_address_lies_at_the_gateway(run_gateway: Run, client: Any, path: str) -> None:
    """Registered origins bind; a test account that has none may send shoppers back anywhere (RULES §9)."""
    session = {"amount_total": "500", "currency": "eur", "success_url": "https://elsewhere.example/thanks"}
    intent = {
        "amount": "500",
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "confirm": "true",
        "return_url": "https://elsewhere.example/back",
    }
    fields = session if path.endswith("sessions") else intent
    with run_gateway() as gateway:
        created = client(gateway.url, gateway.test.secret_key).post(path, fields)
        assert created.status == 200
        if "url" in created.json:
            assert client(gateway.url).get(created.json["url"].removeprefix(gateway.url)).status == 200
    with run_gateway(origins=["https://shop.example"]) as gateway:
        refused = client(gateway.url, gateway.test.secret_key).post(path, fields)
        assert (refused.status, refused.error["code"]) == (400, "url_invalid")
        for what_helps in ("https://elsewhere.example,", "`tallystick gateway accounts origins`"):
            assert what_helps in refused.error["message"]


async def test_the_gateway_finishes_what_it_has_begun(run_gateway: Run, client: Any) -> None:
    """Told to stop in the middle of a payment, it answers that call before it ends."""
    with run_gateway(acquirer_delay_s=1.0) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        fields = {"amount": "2000", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
        paying = asyncio.create_task(asyncio.to_thread(api.post, "/v1/payment_intents", fields, "k"))
        await asyncio.sleep(0.5)
    assert (await paying).json["status"] == "succeeded"


async def test_the_sandboxs_time_brings_a_lost_answer_to_light(
    run_gateway: Run, client: Any, gateway_database: Database
) -> None:
    """RULES §3 as a user watches it: time moves, the running gateway asks the bank, the payment succeeds."""
    with run_gateway(sandbox_clock=True) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        sent = {"amount": "500", "currency": "eur", "payment_method": "pm_card_approvedLate", "confirm": "true"}
        intent = api.post("/v1/payment_intents", sent).json
        assert intent["status"] == "processing"
        made = await create_key(
            gateway_database, "Ada", role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy()
        )
        operator = client(gateway.url, made.key)
        json = [("Content-Type", "application/json")]
        assert operator.send("POST", "/operator/v1/clock", b'{"advance_s": 300}', json).status == 202
        for _ in range(200):
            if api.get(f"/v1/payment_intents/{intent['id']}").json["status"] == "succeeded":
                break
            await asyncio.sleep(0.05)
        assert api.get(f"/v1/payment_intents/{intent['id']}").json["status"] == "succeeded"
