"""Real processes behind a bad network, killed one after another: nothing is lost, nothing is charged twice (RULES §14).

Gateway, merchant service, their supervisor and PostgreSQL run as an operator runs them (`tallystick serve`); every
connection between them, and of shoppers and callers to them, goes through a TCP proxy that delays, drips, cuts, resets
and swallows. Every few seconds a random one is killed with SIGKILL. What shoppers and callers saw is kept in a log of
our own; when the faults have stopped, both databases are compared with it and with each other.

`make proofs` runs the short form; `make chaos` the long one: TALLYSTICK_CHAOS_S says how many seconds of faults.
"""

import asyncio
import contextlib
import os
import random
import signal
import struct
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import psycopg
import pytest
import stripe
from psycopg.rows import dict_row

from tallystick.cli.endpoints import create_endpoint
from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ApiRefused, ServiceApiError
from tallystick.demo.browser import Browser, Form, Lost, Page
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import HttpRequest

CHAOS_S = float(os.environ.get("TALLYSTICK_CHAOS_S", "25"))
SETTLING_S = 170.0  # for what the faults left behind, with retries every few seconds
BOUND_S = CHAOS_S + SETTLING_S + 120
KILL_EVERY_S = (2.0, 5.0)
SHOPPERS, CALLERS = 6, 2  # at a time
ORDER_TTL_S = 60
SERVICES = ("TALLYSTICK_GATEWAY", "TALLYSTICK_MERCHANT")
CARDS = ("4242 4242 4242 4242", "5555 5555 5555 4444", "4000 0000 0000 0002", "4000 0000 0000 9995")

pytestmark = [pytest.mark.proof, pytest.mark.alone]


# The network


class BadProxy:
    """Passes TCP connections on to a port of this machine, as badly as its dice say while `bad` is true."""

    def __init__(self, port: int, target: int, dice: random.Random) -> None:
        self.port, self._target, self._dice = port, target, dice
        self.bad = False
        self.done: Counter[str] = Counter()
        self._open: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield
        finally:
            server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one end is gone, or the test is over
        finally:
            self._open.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            ways = [
                asyncio.create_task(self._pump(reader, upstream, writer)),
                asyncio.create_task(self._pump(upstream_reader, writer, upstream)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            upstream.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        """One direction, piece by piece; the dice are thrown for each."""
        while piece := await source.read(16 * 1024):
            fault = self._fault() if self.bad else "none"
            self.done[fault] += 1
            match fault:
                case "latency":
                    await asyncio.sleep(self._dice.uniform(0.05, 0.5))
                case "cut":
                    sink.write(piece[: self._dice.randrange(len(piece))])
                    await sink.drain()
                    return
                case "reset":
                    for end in (sink, back):
                        end.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                        end.transport.abort()
                    return
                case "half_open":
                    await asyncio.sleep(self._dice.uniform(5, 25))
                    return
                case "drip":
                    for place in range(0, len(piece), 64):
                        sink.write(piece[place : place + 64])
                        await sink.drain()
                        await asyncio.sleep(0.02)
                    continue
            sink.write(piece)
            await sink.drain()

    def _fault(self) -> str:
        return self._dice.choices(
            ("none", "latency", "cut", "reset", "half_open", "drip"), weights=(80, 10, 3, 3, 1, 3)
        )[0]


# Who acts, and what they saw


class Seen:
    """The log of shoppers and callers: the truth from outside."""

    def __init__(self) -> None:
        self.orders: dict[str, str] = {}  # order id → the key under which it was placed
        self.thanked: set[str] = set()  # orders whose shopper saw that the payment was received
        self.succeeded: dict[str, str] = {}  # idempotency key → the intent that was answered as succeeded
        self.asked: set[str] = set()  # idempotency keys of callers
        self.lost_ways = 0


class Shop:
    """A shopper's and a shop's way through the stack, again and again."""

    def __init__(self, http: AiohttpClient, merchant_url: str, api_key: str, dice: random.Random, seen: Seen) -> None:
        self._http, self._dice, self._seen = http, dice, seen
        self._api = MerchantApi(http, merchant_url, api_key)

    async def shop(self, over: asyncio.Event) -> None:
        while not over.is_set():
            key = f"basket-{self._dice.getrandbits(64):x}"
            order = await self._place(key, over)
            if order is None:
                continue
            self._seen.orders[order["id"]] = key
            if self._dice.random() < 0.1:
                continue  # closes the tab
            with contextlib.suppress(Lost):
                await self._pay(order)

    async def _place(self, key: str, over: asyncio.Event) -> dict[str, Any] | None:
        """As a shop does it: the same key until there is an answer, also when nobody shops any more."""
        body = {"amount": 2500, "currency": "EUR", "reference": key, "expires_in_s": ORDER_TTL_S}
        tries = 0
        while True:
            try:
                order = await self._api.place(body, key)
                if order["redirect_url"] is None:
                    raise ApiRefused(503, "no page yet", "")
                return order
            except ServiceApiError:
                tries += 1
                if over.is_set() and tries > 3:
                    return None
                await asyncio.sleep(self._dice.uniform(0.2, 0.6))

    async def _pay(self, order: dict[str, Any]) -> None:
        """Open the page and pay; whoever loses the way opens it anew, and pays only if it still asks."""
        for _ in range(8):
            try:
                page = await Browser(self._http).open(order["redirect_url"])
                for _ in range(20):
                    if page.refresh is not None:
                        if "/pay/" not in page.refresh[1]:
                            self._seen.thanked.add(order["id"])
                            return
                        await asyncio.sleep(page.refresh[0])
                        page = await Browser(self._http).open(page.refresh[1])
                    elif form := _card_form(page):
                        card = {"cc-number": self._dice.choice(CARDS), "cc-exp": "12/34", "cc-csc": "123"}
                        values = {f.name: card[f.autocomplete] for f in form.fields if f.autocomplete in card}
                        page = await Browser(self._http).submit(page, form, values)
                    else:
                        return
            except Lost:
                self._seen.lost_ways += 1
                await asyncio.sleep(self._dice.uniform(0.2, 0.8))


def _card_form(page: Page) -> Form | None:
    return next((form for form in page.forms if form.field_for("cc-number") is not None), None)


async def call(gateway_url: str, secret_key: str, dice: random.Random, seen: Seen, over: asyncio.Event) -> None:
    """A caller with the official SDK: a payment of its own at a time, the same key until there is an answer."""
    client = stripe.StripeClient(
        secret_key,
        base_addresses={"api": gateway_url},
        max_network_retries=2,
        http_client=stripe.RequestsClient(timeout=8),
    )
    while not over.is_set():
        key = f"call-{dice.getrandbits(64):x}"
        seen.asked.add(key)
        card = dice.choice(("pm_card_visa", "pm_card_mastercard", "pm_card_chargeDeclined"))
        parameters: Any = {
            "amount": 1700,
            "currency": "eur",
            "payment_method": card,
            "confirm": True,
            "metadata": {"call": key},
        }
        options: Any = {"idempotency_key": key}
        while not over.is_set():
            try:
                intent = await asyncio.to_thread(client.v1.payment_intents.create, parameters, options)
            except (stripe.APIConnectionError, stripe.APIError, stripe.IdempotencyError):
                await asyncio.sleep(dice.uniform(0.2, 0.8))
                continue
            except stripe.CardError:
                break
            if intent.status == "succeeded":
                seen.succeeded[key] = intent.id
            break


async def kill(served: Any, data_dir: Path, dice: random.Random, over: asyncio.Event) -> Counter[str]:
    """Every few seconds SIGKILL for one of the three; the supervisor starts it again."""
    killed: Counter[str] = Counter()
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), dice.uniform(*KILL_EVERY_S))
            break
        name = dice.choices(("gateway", "merchant", "postgres"), weights=(2, 2, 1))[0]
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, StopIteration, IndexError, ValueError):
            if name == "postgres":
                pid = int((data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
            else:
                pid = served.pid_of(f"{name} serve")
            os.kill(pid, signal.SIGKILL)
            killed[name] += 1
    return killed


# The stack


@contextlib.asynccontextmanager
async def stack(processes: Any, http: AiohttpClient, data_dir: Path, dice: random.Random) -> AsyncIterator[Any]:
    """An installation on this machine whose two services know each other by the addresses of bad proxies."""
    ports = processes.free_ports(4)
    gateway, merchant = BadProxy(ports[2], ports[0], dice), BadProxy(ports[3], ports[1], dice)
    urls = {"gateway": f"http://127.0.0.1:{ports[2]}", "merchant": f"http://127.0.0.1:{ports[3]}"}
    settings = {
        "TALLYSTICK_GATEWAY_PORT": str(ports[0]),
        "TALLYSTICK_GATEWAY_PUBLIC_URL": urls["gateway"],
        "TALLYSTICK_GATEWAY_WEBHOOKS_TO_LOOPBACK": "true",
        "TALLYSTICK_GATEWAY_ACQUIRER_DELAY_S": "0.3",  # so that kills come while the bank thinks
        "TALLYSTICK_GATEWAY_WEBHOOK_SCHEDULE_S": "0,1,2,4,8,8,8,8,8,8,8,8,8,8,8",
        "TALLYSTICK_MERCHANT_PORT": str(ports[1]),
        "TALLYSTICK_MERCHANT_PUBLIC_URL": urls["merchant"],
    }
    async with (
        gateway.serving(),
        merchant.serving(),
        processes.running("serve", "--data-dir", str(data_dir), environment=settings) as served,
    ):
        dsns = await _said_dsns(served)
        settings |= dsns
        for port in ports[:2]:
            await processes.answer(HttpRequest("GET", f"http://127.0.0.1:{port}/readyz", {}, b"", 5))
        account = await processes.json(
            *("gateway", "accounts", "create", "--name", "Chaos", "--origin", urls["merchant"]), environment=settings
        )
        made = await processes.json("merchant", "accounts", "create", "--name", "Chaos", environment=settings)
        secret_key = account["keys"][0]["secret_key"]
        (data_dir / "secret-key").write_text(secret_key)
        connection = await processes.json(
            *("merchant", "connections", "add", "--gateway", "stripe", "--url", urls["gateway"]),
            *("--secret-key-file", str(data_dir / "secret-key")),
            *("--webhook-secret-file", str(data_dir / "webhook-secret")),
            environment=settings,
        )
        endpoint = await create_endpoint(http, urls["gateway"], secret_key, connection["webhook_url"])
        (data_dir / "webhook-secret").write_text(endpoint.secret)
        yield served, urls, secret_key, made["api_key"], dsns, (gateway, merchant)


async def _said_dsns(served: Any) -> dict[str, str]:
    """The DSNs that `tallystick serve` says on stderr, which is read on from then on so that it never fills up."""
    found: dict[str, str] = {}
    async with asyncio.timeout(120):
        while len(found) < 2:
            line = (await served.process.stderr.readline()).decode()
            assert line, "it ended"
            if line.strip().startswith("export "):
                name, _, file = line.strip().removeprefix("export ").partition("=")
                found[name.removesuffix("_FILE")] = await asyncio.to_thread(_content, Path(file.strip("'")))
    served.listening = asyncio.create_task(_read_on(served.process.stderr))
    return found


def _content(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()


async def _read_on(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


# The audit


class Halves:
    """Both databases, read at one moment."""

    def __init__(self, dsns: dict[str, str]) -> None:
        self.captured = _rows(dsns["TALLYSTICK_GATEWAY_DATABASE_DSN"], CAPTURED)
        self.unsettled = _rows(dsns["TALLYSTICK_GATEWAY_DATABASE_DSN"], UNSETTLED)
        self.orders = _rows(dsns["TALLYSTICK_MERCHANT_DATABASE_DSN"], ORDERS)

    def open_ends(self) -> list[str]:
        """What is still under way, in words."""
        ends = [f"{row['what']} {row['id']} is {row['state']}" for row in self.unsettled]
        paid = {row["order_id"] for row in self.captured if row["order_id"]}
        behind = [o for o in self.orders if o["state"] == "PENDING" or (o["order_id"] in paid and o["state"] != "PAID")]
        return ends + [f"{order['order_id']} is {order['state']}" for order in behind]


def _rows(dsn: str, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


CAPTURED = """
SELECT c.id, c.payment_intent, i.status, i.amount_received, i.metadata ->> 'call' AS call,
       coalesce(s.client_reference_id, i.metadata ->> 'order_id') AS order_id
  FROM charge c
  JOIN payment_intent i ON (i.account_id, i.livemode, i.id) = (c.account_id, c.livemode, c.payment_intent)
  LEFT JOIN checkout_session s ON (s.account_id, s.livemode, s.id) = (i.account_id, i.livemode, i.checkout_session)
 WHERE c.state = 'approved' AND c.amount_captured > 0
"""
UNSETTLED = """
SELECT 'charge' AS what, id, state FROM charge WHERE state IN ('created', 'sent', 'unknown', 'reversing')
UNION ALL SELECT 'request', id, state FROM acquirer_request WHERE state IN ('created', 'sent', 'unknown')
UNION ALL SELECT 'delivery', id, state FROM delivery WHERE state = 'due'
UNION ALL SELECT 'ledger', 'sum', sum(amount)::text
            FROM ledger_transaction CROSS JOIN unnest(amounts) AS amount HAVING sum(amount) <> 0
"""
ORDERS = "SELECT order_id, state, reference, overpaid FROM orders"


async def until_settled(dsns: dict[str, str]) -> list[str]:
    """Wait until nothing is under way any more; what is left at the end."""
    ends = ["nothing was looked at"]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLING_S):
            while ends:
                await asyncio.sleep(1)
                with contextlib.suppress(psycopg.OperationalError):
                    ends = (await asyncio.to_thread(Halves, dsns)).open_ends()
    return ends


async def test_nothing_is_lost_and_nothing_is_charged_twice(
    processes: Any, http: AiohttpClient, tmp_path: Path
) -> None:
    dice = random.Random(os.environ.get("TALLYSTICK_CHAOS_SEED", "notch"))
    seen, over = Seen(), asyncio.Event()
    async with (
        asyncio.timeout(BOUND_S),
        stack(processes, http, tmp_path, dice) as (served, urls, secret_key, api_key, dsns, proxies),
    ):
        for proxy in proxies:
            proxy.bad = True
        shop = Shop(http, urls["merchant"], api_key, dice, seen)
        acting = [asyncio.create_task(shop.shop(over)) for _ in range(SHOPPERS)]
        acting += [asyncio.create_task(call(urls["gateway"], secret_key, dice, seen, over)) for _ in range(CALLERS)]
        killing = asyncio.create_task(kill(served, tmp_path, dice, over))
        await asyncio.sleep(CHAOS_S)
        over.set()
        killed = await killing
        for proxy in proxies:
            proxy.bad = False
        await asyncio.gather(*acting)
        left = await until_settled(dsns)
        halves = Halves(dsns)
        both = (dsns[f"{name}_DATABASE_DSN"] for name in SERVICES)
        violations = processes.broken_rules(*both, datetime.now(UTC))

    report(seen, killed, proxies, halves)
    assert killed.total() >= CHAOS_S / 10
    assert len(seen.orders) > CHAOS_S / 10
    assert left == [], "everything terminal"
    assert violations == []
    audit(seen, halves)


def audit(seen: Seen, halves: Halves) -> None:
    """Both halves match, and they match what was seen from outside."""
    charged = Counter(row["order_id"] for row in halves.captured if row["order_id"])
    assert [order for order, times in charged.items() if times > 1] == [], "charged twice"
    called = Counter(row["call"] for row in halves.captured if row["call"])
    assert [key for key, times in called.items() if times > 1] == [], "charged twice under one key"
    orders = {row["order_id"]: row for row in halves.orders}
    references = Counter(row["reference"] for row in halves.orders)
    assert [key for key, times in references.items() if times > 1] == [], "one key, one order"
    assert set(seen.orders) <= set(orders), "an order that was answered is there"
    assert {id for id, row in orders.items() if row["state"] == "PAID"} == set(charged), "both halves match"
    assert {id for id in seen.thanked if orders[id]["state"] != "PAID"} == set(), "who was thanked has paid"
    by_key = {row["call"]: row["payment_intent"] for row in halves.captured if row["call"]}
    assert seen.succeeded.items() <= by_key.items(), "what was answered as succeeded is captured"
    assert set(by_key) <= seen.asked


def report(seen: Seen, killed: Counter[str], proxies: tuple[BadProxy, ...], halves: Halves) -> None:
    """The figures, for `-s` and for the note that quotes them."""
    states = Counter(row["state"] for row in halves.orders)
    network = sum((proxy.done for proxy in proxies), Counter())
    print(f"\n{len(seen.orders)} orders {dict(states)}, {len(seen.thanked)} thanked, {len(seen.asked)} calls")
    print(f"killed {dict(killed)}; network {dict(network)}; {seen.lost_ways} ways lost")
