"""A merchant service's webhook address behind real HTTP on a real PostgreSQL, and a gateway's end to send from."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import pytest
import uvicorn

from tallystick.cli.serving import http_protocol
from tallystick.kernel.service import Direct
from tallystick.kernel.signatures import sign_standard, sign_stripe
from tallystick.merchant.gateways.stripe_objects import read_event
from tallystick.merchant.intake.commands import Intake
from tallystick.merchant.intake.connections import WebhookConnections
from tallystick.merchant.intake.endpoint import PATH_PREFIX, WebhookEndpoint
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Record, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.secrets import SecretMissing

MERCHANT = "mer_0123456789abcdef"
CONNECTION = "con_0123456789abcdef" + "0" * 25
STANDARD_CONNECTION = "con_0123456789abcdef" + "1" * 25
SECRET = "whsec_a_secret_of_no_value"
STANDARD_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


class FixedSecrets:
    """Secrets that a test can change."""

    def __init__(self) -> None:
        self.values = {"env:STRIPE": SECRET, "env:STANDARD": STANDARD_SECRET}

    async def read(self, reference: str) -> str:
        try:
            return self.values[reference]
        except KeyError:
            raise SecretMissing(reference) from None


class MovableClock(SystemClock):
    """The machine's clock, which a test can put forward."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


class Shop:
    """One merchant with two connections, its webhook endpoint, and what a test wants to know of its database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.secrets = FixedSecrets()
        self.clock = MovableClock()
        self.intake = Intake(database, self.clock, Outbox(SystemClock(), SystemEntropy()))
        self.connections = WebhookConnections(database, self.secrets, self.clock)
        self.endpoint = WebhookEndpoint(self.intake, self.connections, {"stripe": read_event}, self.clock)
        self.url = ""
        self.http: aiohttp.ClientSession

    async def sql(self, text: str, *parameters: Any) -> list[Record]:
        return list(await self.database.rows(Statement("of_the_test", text), *parameters))

    async def set_up(self) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        await self.sql("INSERT INTO merchant (merchant_id, name, created_at) VALUES ($1, 'A Shop', $2)", MERCHANT, at)
        for connection, scheme, secret in (
            (CONNECTION, "stripe", "env:STRIPE"),
            (STANDARD_CONNECTION, "standard", "env:STANDARD"),
        ):
            await self.sql(
                "INSERT INTO connection (merchant_id, connection_id, gateway, url, secret_key_ref, signature_scheme,"
                " webhook_secret_refs, created_at) VALUES ($1, $2, 'stripe', 'https://x', 'env:K', $3, $4, $5)",
                *(MERCHANT, connection, scheme, [secret], at),
            )

    async def order(
        self, name: str, *, amount: int = 2500, connection: str = CONNECTION, facts: str = '{"attempts": {"1": {}}}'
    ) -> str:
        """A PENDING order with one open attempt; `name` becomes part of its id."""
        order_id, at = f"ord_{name:0>25}", datetime(2026, 1, 1, tzinfo=UTC)
        await self.sql(
            "INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s,"
            " declines_max, created_at, facts, attempt_newest, expires_at, updated_at)"
            " VALUES ($1, $2, $3, $4, 'EUR', 'hosted', 1800, 3, $5, $6::jsonb, 1, $5, $5)",
            *(MERCHANT, order_id, connection, amount, at, facts),
        )
        await self.sql(
            "INSERT INTO attempt (merchant_id, order_id, number, connection_id, open_key, gateway_expires_at,"
            " created_at) VALUES ($1, $2, 1, $3, $4, $5, $5)",
            *(MERCHANT, order_id, connection, f"order:{order_id}:1", at),
        )
        return order_id

    async def state(self, order_id: str) -> str:
        rows = await self.sql("SELECT state FROM orders WHERE merchant_id = $1 AND order_id = $2", MERCHANT, order_id)
        state: str = rows[0]["state"]
        return state

    async def timeline(self, order_id: str) -> list[Record]:
        return await self.sql(
            "SELECT * FROM timeline WHERE merchant_id = $1 AND order_id = $2 ORDER BY number", MERCHANT, order_id
        )

    async def inbox(self) -> dict[str, Record]:
        return {row["event_id"]: row for row in await self.sql("SELECT * FROM inbox ORDER BY event_id")}

    async def send(
        self,
        body: bytes,
        *,
        connection: str = CONNECTION,
        secret: str = SECRET,
        signed_at: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> int:
        """POST a webhook signed Stripe's way (or with the given headers); the answer's status."""
        timestamp = now_s() if signed_at is None else signed_at
        if headers is None:
            headers = {"Stripe-Signature": sign_stripe([secret], timestamp, body)}
        async with self.http.post(f"{self.url}/webhooks/{connection}", data=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200 or not text or msgspec.json.decode(text)["status"] == answer.status
            return answer.status

    async def send_standard(self, body: bytes, id: str) -> int:
        timestamp = now_s()
        return await self.send(
            body,
            connection=STANDARD_CONNECTION,
            headers={
                "webhook-id": id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign_standard([STANDARD_SECRET], id, timestamp, body),
            },
        )


def now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def a_payment(event_id: str, order_id: str | None, *, amount: int = 2500, attempt: str = "1", **session: Any) -> bytes:
    """A `checkout.session.completed`: the order was paid."""
    paid = {
        "id": f"cs_{event_id}",
        "object": "checkout.session",
        "status": "complete",
        "payment_status": "paid",
        "amount_total": amount,
        "currency": "eur",
        "client_reference_id": order_id,
        "metadata": {"order_id": order_id, "attempt": attempt} if order_id else {},
        "payment_intent": f"pi_{event_id}",
        **session,
    }
    event = {
        "id": event_id,
        "object": "event",
        "type": "checkout.session.completed",
        "created": 1767225600,
        "data": {"object": paid},
    }
    return msgspec.json.encode(event)


@asynccontextmanager
async def served(application: WebhookEndpoint) -> AsyncIterator[str]:
    """`application` behind the server that production uses, with the short way past it; gives its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    protocol = http_protocol(Direct(PATH_PREFIX.encode(), application.begin))
    config = uvicorn.Config(application, http=protocol, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event for it
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task
    listener.close()


@pytest.fixture
async def shop(merchant_database: Database) -> AsyncIterator[Shop]:
    shop = Shop(merchant_database)
    await shop.set_up()
    async with served(shop.endpoint) as shop.url, aiohttp.ClientSession() as shop.http:
        yield shop


@pytest.fixture
def payment() -> Callable[..., bytes]:
    return a_payment
