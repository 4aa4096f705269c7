"""A whole merchant service over real HTTP on a real PostgreSQL, and at its other side a gateway that does as it is
told.
"""

import asyncio
import copy
import itertools
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import msgspec
import pytest
import uvicorn
from aiohttp import web

from tallystick.kernel.service import Service, Web
from tallystick.kernel.signatures import sign_stripe
from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.merchant.app import Ports, build
from tallystick.merchant.gateways import stripe
from tallystick.merchant.settings import Settings
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

SECRET_KEY = "sk_test_of_no_value"
WEBHOOK_SECRET = "whsec_of_no_value"
SHOP = "https://shop.example"
INDEX_KEY = "an index key of no value, for tests alone"


class FixedSecrets:
    """The secrets that the connection names."""

    def __init__(self) -> None:
        self.values = {"env:KEY": SECRET_KEY, "env:HOOK": WEBHOOK_SECRET}

    async def read(self, reference: str) -> str:
        return self.values[reference]


class GatewayStandIn:
    """The few calls of Stripe's wire that the merchant makes, on a real socket, with trouble on demand.

    `trouble` holds what happens to the next calls: a status with a code to answer without doing anything, `"lose"` to
    do the work and cut the connection instead of answering, `"cut"` to cut it before doing anything, `"hang"` to do
    the work and never answer. Sessions in `busy` cannot be closed: a payment is under way.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.keys: list[str] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.trouble: list[str | tuple[int, str]] = []
        self.called = asyncio.Event()
        self.busy: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self.refunds: list[dict[str, Any]] = []
        self.refunds_are = "succeeded"
        self._by_key: dict[tuple[str, str], tuple[str, dict[str, Any], int]] = {}
        self._numbers = itertools.count(1)

    @property
    def session(self) -> dict[str, Any]:
        """The only session there is."""
        (session,) = self.sessions.values()
        return session

    def pay(self, session: dict[str, Any]) -> None:
        """The shopper pays."""
        intent = self._intent(session)
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "latest_charge": f"ch_{next(self._numbers)}",
        }
        session |= {"status": "complete", "payment_status": "paid", "url": None}

    def decline(self, session: dict[str, Any]) -> dict[str, Any]:
        """The shopper's bank declines; the event's object."""
        intent = self._intent(session)
        charge = f"ch_{next(self._numbers)}"
        intent |= {
            "status": "requires_payment_method",
            "last_payment_error": {"charge": charge, "code": "card_declined", "decline_code": "generic_decline"},
        }
        return intent

    def _intent(self, session: dict[str, Any]) -> dict[str, Any]:
        if session["payment_intent"] is None:
            session["payment_intent"] = {
                "id": f"pi_{next(self._numbers)}",
                "object": "payment_intent",
                "amount": session["amount_total"],
                "currency": session["currency"],
                "amount_received": 0,
                "metadata": session["metadata"],
            }
        intent: dict[str, Any] = session["payment_intent"]
        return intent

    async def answer(self, request: web.Request) -> web.StreamResponse:
        fields = dict(parse_qsl(await request.text()))
        self.calls.append((request.method, request.path, fields))
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        self.called.set()
        trouble = self.trouble.pop(0) if self.trouble else ""
        if isinstance(trouble, tuple):
            return web.json_response(
                {"error": {"type": "invalid_request_error", "code": trouble[1], "message": "No."}}, status=trouble[0]
            )
        if request.headers.get("Authorization") != f"Bearer {SECRET_KEY}":
            return web.json_response({"error": {"type": "invalid_request_error", "message": "Who?"}}, status=401)
        if trouble != "cut":
            body, status = self._do(request, fields)
        if trouble in ("cut", "lose"):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if trouble == "hang":
            await asyncio.sleep(60)
        return web.json_response(body, status=status)

    def _do(self, request: web.Request, fields: dict[str, str]) -> tuple[dict[str, Any], int]:
        if request.path.startswith("/v1/payment_intents/"):
            return self._payment(request.match_info["id"]), 200
        if request.method == "GET" and request.path == "/v1/refunds":
            return self._refunds(request.query), 200
        if request.path == "/v1/events":
            return self._events(request.query), 200
        if request.method == "GET" and "id" not in request.match_info:
            return self._list(request.query), 200
        if request.method == "GET":
            return self.sessions[request.match_info["id"]], 200
        known = self._by_key.get((request.path, request.headers["Idempotency-Key"]))
        if known is not None:
            if known[0] != repr(fields):
                return {"error": {"type": "idempotency_error", "message": "Other parameters."}}, 400
            return known[1], known[2]
        if request.path == "/v1/refunds":
            done = self._refund(fields)
        else:
            done = self._expire(request.match_info["id"]) if "id" in request.match_info else (self._create(fields), 200)
        self._by_key[request.path, request.headers["Idempotency-Key"]] = (repr(fields), *done)
        return done

    def _create(self, fields: dict[str, str]) -> dict[str, Any]:
        id = f"cs_test_{next(self._numbers)}"
        lines = range(sum(name.endswith("[quantity]") for name in fields))
        self.sessions[id] = {
            "id": id,
            "object": "checkout.session",
            "status": "open",
            "created": int(SystemClock().now().timestamp()),
            "payment_status": "unpaid",
            "payment_intent": None,
            "amount_total": sum(
                int(fields[f"line_items[{n}][quantity]"]) * int(fields[f"line_items[{n}][price_data][unit_amount]"])
                for n in lines
            ),
            "currency": fields["line_items[0][price_data][currency]"],
            "client_reference_id": fields["client_reference_id"],
            "metadata": {"order_id": fields["metadata[order_id]"], "attempt": fields["metadata[attempt]"]},
            "url": f"{self.url}/pay/{id}" if fields["ui_mode"] == "hosted_page" else None,
            "client_secret": f"{id}_secret_x" if fields["ui_mode"] == "embedded_page" else None,
        }
        return dict(self.sessions[id])

    def _payment(self, id: str) -> dict[str, Any]:
        """A payment with its charge expanded."""
        [intent] = [
            one["payment_intent"] for one in self.sessions.values() if (one["payment_intent"] or {}).get("id") == id
        ]
        given_back = sum(
            one["amount"] for one in self.refunds if one["payment_intent"] == id and one["status"] != "failed"
        )
        charge = {"id": intent.get("latest_charge"), "amount_captured": intent["amount_received"]}
        return {**intent, "latest_charge": {**charge, "object": "charge", "amount_refunded": given_back}}

    def _refund(self, fields: dict[str, str]) -> tuple[dict[str, Any], int]:
        charge = self._payment(fields["payment_intent"])["latest_charge"]
        left = charge["amount_captured"] - charge["amount_refunded"]
        amount = int(fields.get("amount", left))
        if not 0 < amount <= left:
            error = {"type": "invalid_request_error", "code": "charge_already_refunded", "message": "Too much."}
            return {"error": error}, 400
        refund = {
            "id": f"re_{next(self._numbers)}",
            "object": "refund",
            "amount": amount,
            "currency": "eur",
            "status": self.refunds_are,
            "payment_intent": fields["payment_intent"],
            "metadata": {name: fields[f"metadata[{name}]"] for name in ("order_id", "attempt", "reference")},
        }
        self.refunds.append(refund)
        return dict(refund), 200

    def _refunds(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Refunds of a payment, the newest first, two a page."""
        newest = [one for one in reversed(self.refunds) if one["payment_intent"] == query["payment_intent"]]
        ids = [one["id"] for one in newest]
        after = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        return {"object": "list", "data": newest[after : after + 2], "has_more": len(newest) > after + 2}

    def forget_keys(self) -> None:
        """The time is over in which calls may be repeated under their keys."""
        self._by_key.clear()

    def _events(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Events, the newest first, two a page."""
        newest = [event for event in reversed(self.events) if event["created"] >= int(query["created[gte]"])]
        ids = [event["id"] for event in newest]
        after = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        return {"object": "list", "data": newest[after : after + 2], "has_more": len(newest) > after + 2}

    def _list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Sessions, the newest first, a page of at most two: so that who lists must turn pages."""
        newest = list(reversed(self.sessions.values()))
        ids = [session["id"] for session in newest]
        after = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        bounds = range(int(query["created[gte]"]), int(query["created[lte]"]) + 1)
        found = [session for session in newest[after:] if session["created"] in bounds]
        return {"object": "list", "data": found[:2], "has_more": len(found) > 2}

    def _expire(self, id: str) -> tuple[dict[str, Any], int]:
        session = self.sessions[id]
        if session["status"] != "open" or id in self.busy:
            return {"error": {"type": "invalid_request_error", "message": "Only open sessions."}}, 400
        session |= {"status": "expired", "url": None}
        return dict(session), 200


class Stage:
    """One merchant with its service and its gateway, and what tests want to do with them."""

    def __init__(self, database: Database, gateway: GatewayStandIn) -> None:
        self.database = database
        self.gateway = gateway
        self.secrets = FixedSecrets()
        self.key_encryption: Any
        self.service: Service
        self.url = ""
        self.api_key = ""
        self.merchant_id = ""
        self.connection_id = ""
        self.client: aiohttp.ClientSession
        self.http: AiohttpClient
        self._keys = itertools.count(1)
        self._events = itertools.count(1)

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}", **more}

    async def place(self, key: str | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
        """`POST /v1/orders`; status and body."""
        return await self.post("/v1/orders", {"amount": 2500, "currency": "EUR"} | fields, key)

    async def post(self, path: str, fields: Any = None, key: str | None = None) -> tuple[int, dict[str, Any]]:
        """A keyed call; status and body."""
        headers = self.headers(**{"Idempotency-Key": key or f"key-{next(self._keys)}"})
        async with self.client.post(f"{self.url}{path}", json=fields, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def close(self, order: dict[str, Any], reason: str = "expired") -> None:
        """The order's newest attempt ends at the gateway, which tells it."""
        session = self.gateway.sessions[order["attempts"][-1]["checkout_session"]]
        session |= {"status": "expired", "url": None}
        assert await self.tell("checkout.session.expired", session) == 200

    async def pay(self, order: dict[str, Any], number: int = 1) -> dict[str, Any]:
        """The shopper pays an attempt, and the gateway tells it; the payment."""
        session = self.gateway.sessions[order["attempts"][number - 1]["checkout_session"]]
        self.gateway.pay(session)
        assert await self.tell("payment_intent.succeeded", session["payment_intent"]) == 200
        intent: dict[str, Any] = session["payment_intent"]
        return intent

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.client.get(
            f"{self.url}{path}", headers=headers or self.headers(), allow_redirects=False
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    async def order(self, order_id: str) -> dict[str, Any]:
        status, order = await self.get(f"/v1/orders/{order_id}")
        assert status == 200, order
        assert isinstance(order, dict)
        return order

    async def timeline(self, order_id: str) -> list[dict[str, Any]]:
        status, page = await self.get(f"/v1/orders/{order_id}/timeline")
        assert status == 200, page
        rows: list[dict[str, Any]] = page["data"]
        return rows

    async def tell(self, type: str, object: dict[str, Any]) -> int:
        """The gateway sends an event; the status that it is answered."""
        return await self.send(self.happen(type, object))

    def happen(self, type: str, object: dict[str, Any], *, id: str | None = None) -> dict[str, Any]:
        """Something happens at the gateway: an event is in its list, and nobody is told yet."""
        intent = object.get("payment_intent")
        flat = {**object, "payment_intent": intent["id"] if isinstance(intent, dict) else intent}
        event = {
            "id": id or f"evt_{next(self._events)}",
            "object": "event",
            "type": type,
            "created": int(datetime.now(UTC).timestamp()),
            "data": {"object": flat},
        }
        self.gateway.events.append(copy.deepcopy(event))
        return event

    async def send(self, event: dict[str, Any]) -> int:
        """A webhook comes in; the status that it is answered."""
        body = msgspec.json.encode(event)
        signature = sign_stripe([WEBHOOK_SECRET], int(datetime.now(UTC).timestamp()), body)
        address = f"{self.url}/webhooks/{self.connection_id}"
        async with self.client.post(address, data=body, headers={"Stripe-Signature": signature}) as answer:
            return answer.status

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        rows = await self.database.rows(Statement("count", f"SELECT count(*)::int AS n FROM {table}"))
        n: int = rows[0]["n"]
        return n


@asynccontextmanager
async def _served(application: Any) -> AsyncIterator[str]:
    """An ASGI application behind uvicorn on a free port; its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application, log_config=None, access_log=False, lifespan="off", http="httptools", ws="none")
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag alone
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    server.force_exit = True
    await serving


@pytest.fixture
async def gateway_stand_in() -> AsyncIterator[GatewayStandIn]:
    """The other side of the wire."""
    gateway = GatewayStandIn()
    application = web.Application()
    application.router.add_post("/v1/checkout/sessions", gateway.answer)
    application.router.add_get("/v1/events", gateway.answer)
    application.router.add_get("/v1/payment_intents/{id}", gateway.answer)
    application.router.add_post("/v1/refunds", gateway.answer)
    application.router.add_get("/v1/refunds", gateway.answer)
    application.router.add_get("/v1/checkout/sessions", gateway.answer)
    application.router.add_get("/v1/checkout/sessions/{id}", gateway.answer)
    application.router.add_post("/v1/checkout/sessions/{id}/expire", gateway.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield gateway
    await runner.cleanup()


@pytest.fixture
async def stage(
    merchant_database: Database,
    merchant_dsn: str,
    key_encryption: Any,
    gateway_stand_in: GatewayStandIn,
    monkeypatch: pytest.MonkeyPatch,
    web_when_called: Web,
) -> AsyncIterator[Stage]:
    """A merchant service with one merchant whose gateway is the stand-in. Waiting for it is shortened, nothing else."""
    monkeypatch.setattr(stripe, "TRY_DEADLINE_S", 0.5)
    monkeypatch.setattr(stripe, "BACKOFF_S", 0.01)
    stage = Stage(merchant_database, gateway_stand_in)
    stage.key_encryption = key_encryption
    clock, entropy, http = SystemClock(), SystemEntropy(), AiohttpClient()
    made = await create_merchant(merchant_database, clock, entropy, name="Tea & Sons", return_origins=[SHOP])
    stage.http = http
    stage.merchant_id, stage.api_key = made.merchant_id, made.api_key
    stage.connection_id = await add_connection(
        merchant_database,
        clock,
        entropy,
        merchant_id=made.merchant_id,
        url=gateway_stand_in.url,
        secret_key_ref="env:KEY",
        webhook_secret_refs=["env:HOOK"],
    )
    settings = Settings(database_dsn=merchant_dsn, pii_index_key=INDEX_KEY)
    stage.service = build(
        settings,
        Ports(merchant_database, http, stage.secrets, clock, entropy, key_encryption=stage.key_encryption),
        web=web_when_called,
    )
    async with _served(stage.service.asgi) as stage.url, aiohttp.ClientSession() as stage.client:
        yield stage
    await http.close()
