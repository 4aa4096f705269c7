"""Whole orders: placed, paid on the hosted page, told by webhook, read as PAID.

Each shopper of the load client does, one after another: `POST /v1/orders` (as somebody new each time, so that personal
data are sealed and stored for every order), GET and POST of the hosted page, and reads
the order until it is PAID. Gateway, merchant service, PostgreSQL and client share the same two cores; the acquirer
answers at once. Plain HTTP on loopback, and beside it TLS between all parties.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvloop

from benchmarks.load import ANSWER_DEADLINE_S, Client, own_cpu_s, percentile_ms
from benchmarks.processes import ROOT, TALLYSTICK, Postgres, cpu_s, free_port, server
from benchmarks.rounds import Measured
from tallystick.cli.customers import keys_in
from tallystick.demo.folder import Folder
from tallystick.kernel.migrations import migrate

SHOPPERS = (16, 64)
WARM_UP_S = 2.0
LOOK_AGAIN_S = 0.005  # between two looks at an order that is not PAID yet
PAID_DEADLINE_S = 30.0
Process = subprocess.Popen[bytes]
CARD = b"cc-number=4242424242424242&cc-exp=12+%2F+34&cc-csc=123&cc-name="


class Orders(msgspec.Struct):
    """What the client is told: where to go, with what key, how many shoppers for how long."""

    merchant: int
    gateway: int
    api_key: str
    shoppers: int
    seconds: float
    ca_file: str | None


class Paid(msgspec.Struct):
    """What came of it."""

    orders: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_s: float


class Shopper:
    """Buys one thing after another over two kept-alive connections."""

    def __init__(self, job: Orders, number: int, latencies: list[float]) -> None:
        self._job = job
        self._number = number
        self._latencies = latencies
        self._bought = 0

        self._tls = ssl.create_default_context(cafile=job.ca_file) if job.ca_file else None
        self._clients: dict[int, Client] = {}

    async def shop(self, until: float) -> None:
        """Buy until the clock says `until`."""
        while perf_counter() < until:
            started = perf_counter()
            await self._buy()
            self._latencies.append(perf_counter() - started)

    async def _buy(self) -> None:
        self._bought += 1
        order = await self._place()
        page = urlsplit(order["redirect_url"]).path.encode()
        status, _, shown = await self._ask(self._job.gateway, b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % page)
        assert status == 200, f"the hosted page answered {status}"
        assert re.search(rb'name="cc-number"', shown), "the hosted page is a form"
        status, _, _ = await self._ask(
            self._job.gateway,
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (page, len(CARD), CARD),
        )
        assert status == 303, f"paying answered {status}"
        deadline = perf_counter() + PAID_DEADLINE_S
        read = b"GET /v1/orders/%b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\n\r\n" % (
            order["id"].encode(),
            self._job.api_key.encode(),
        )
        while json.loads((await self._ask(self._job.merchant, read))[2])["state"] != "PAID":
            assert perf_counter() < deadline, "an order that was paid became PAID"
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _ask(self, port: int, request: bytes) -> tuple[int, bytes, bytes]:
        client = self._clients.get(port)
        if client is None or client.lost:
            client = self._clients[port] = await Client.connect("127.0.0.1", port, self._tls)
        return await asyncio.wait_for(client.send(request), ANSWER_DEADLINE_S)

    async def _place(self) -> dict[str, str]:
        shopper = b"s%d-%d-%d@shopper.example" % (os.getpid(), self._number, self._bought)
        body = (
            b'{"amount": 2500, "currency": "EUR", "reference": "basket",'
            b' "customer": {"email": "%b", "name": "A Shopper"}}' % shopper
        )
        status, _, answer = await self._ask(
            self._job.merchant,
            b"POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\nIdempotency-Key: %d-%d-%d\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (self._job.api_key.encode(), os.getpid(), self._number, self._bought, len(body), body),
        )
        assert status == 201, f"placing an order answered {status}: {answer[:300]!r}"
        order: dict[str, str] = json.loads(answer)
        return order


async def buy(job: Orders) -> Paid:
    """The client's whole run: warm up, say `ready`, wait for a line, measure."""
    latencies: list[float] = []
    shoppers = [Shopper(job, number, latencies) for number in range(job.shoppers)]
    await asyncio.gather(*(shopper.shop(perf_counter() + WARM_UP_S) for shopper in shoppers))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    latencies.clear()
    used, started = own_cpu_s(), perf_counter()
    await asyncio.gather(*(shopper.shop(started + job.seconds) for shopper in shoppers))
    seconds = perf_counter() - started
    latencies.sort()
    return Paid(
        orders=len(latencies),
        seconds=seconds,
        p50_ms=percentile_ms(latencies, 0.50),
        p99_ms=percentile_ms(latencies, 0.99),
        cpu_s=own_cpu_s() - used,
    )


class OrdersSubject:
    """Both services as an installation runs them, with databases of their own."""

    def __init__(self, name: str, postgres: Postgres, *, tls: bool) -> None:
        self.name = name
        self._postgres = postgres
        self._gateway_port, self._merchant_port = free_port(), free_port()
        self._scheme = "https" if tls else "http"
        folder = Folder(postgres.folder / name)
        folder.path.mkdir()
        self._tls = folder.tls() if tls else None
        self._environment = self._settings()
        self._api_key = self._install()

    def measure(self, connections: int, seconds: float) -> Measured:
        """Start both services, let `connections` shoppers warm them up, then buy for `seconds`."""
        with (
            self._serve("gateway", self._gateway_port) as gateway,
            self._serve("merchant", self._merchant_port) as merchant,
        ):
            paid, before, after = self._shop(connections, seconds, gateway, merchant)
        used = {name: (after[name] - before[name]) * 1000 / paid.orders for name in before}
        used["client"] = paid.cpu_s * 1000 / paid.orders
        return Measured(paid.orders / paid.seconds, paid.p50_ms, paid.p99_ms, used)

    def _shop(
        self, shoppers: int, seconds: float, gateway: Process, merchant: Process
    ) -> tuple[Paid, dict[str, float], dict[str, float]]:
        ca_file = self._tls.ca_file if self._tls else None
        job = Orders(self._merchant_port, self._gateway_port, self._api_key, shoppers, seconds, ca_file)
        command = [sys.executable, "-m", "benchmarks.orders"]
        with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(msgspec.json.encode(job).decode() + "\n")
            client.stdin.flush()
            assert client.stdout.readline() == "ready\n", "the shoppers warmed up"
            before = self._used(gateway, merchant)
            client.stdin.write("go\n")
            client.stdin.flush()
            paid = msgspec.json.decode(client.stdout.readline(), type=Paid)
            return paid, before, self._used(gateway, merchant)

    def _used(self, gateway: Process, merchant: Process) -> dict[str, float]:
        pids = {"gateway": gateway.pid, "merchant": merchant.pid, "postgresql": self._postgres.pid}
        return {name: cpu_s(pid) for name, pid in pids.items()}

    @contextmanager
    def _serve(self, service: str, port: int) -> Iterator[Process]:
        log = self._postgres.folder / f"{self.name}_{service}.log"
        with server([*TALLYSTICK, service, "serve"], port, self._environment, log) as running:
            yield running

    def _settings(self) -> dict[str, str]:
        """The environment of both services; their databases are made and migrated."""
        environment = {
            "TALLYSTICK_GATEWAY_ACQUIRER_DELAY_S": "0",
            "TALLYSTICK_GATEWAY_WEBHOOKS_TO_LOOPBACK": "true",
        }
        for service, port in (("gateway", self._gateway_port), ("merchant", self._merchant_port)):
            database = f"{self.name}_{service}"
            self._postgres.create(database)
            migrate(self._postgres.dsn(database), f"tallystick.{service}.schema")
            prefix = f"TALLYSTICK_{service.upper()}_"
            environment |= {f"{prefix}DATABASE_DSN": self._postgres.dsn(database), f"{prefix}PORT": str(port)}
            if self._tls is not None:
                environment |= {
                    f"{prefix}TLS_CERT_FILE": self._tls.cert_file,
                    f"{prefix}TLS_KEY_FILE": self._tls.key_file,
                    f"{prefix}CA_FILE": self._tls.ca_file,
                }
        return environment | keys_in(self._postgres.folder / f"{self.name}_keys")

    def _install(self) -> str:
        """An account, a merchant and the connection between them, by the commands; gives the merchant's API key."""
        key_file = self._postgres.folder / f"{self.name}.key"
        account = self._run("gateway", "accounts", "create", "--name", "Benchmark")
        key_file.write_text(account["keys"][0]["secret_key"], encoding="utf-8")
        merchant = self._run("merchant", "accounts", "create", "--name", "Benchmark")
        with self._serve("gateway", self._gateway_port):
            self._run(
                *("merchant", "connections", "add", "--gateway", "stripe", "--create-endpoint"),
                *("--url", f"{self._scheme}://127.0.0.1:{self._gateway_port}", "--secret-key-file", str(key_file)),
                *("--webhook-secret-file", str(key_file.with_suffix(".webhook"))),
            )
        api_key: str = merchant["api_key"]
        return api_key

    def _run(self, *arguments: str) -> dict[str, Any]:
        command = [*TALLYSTICK, *arguments, "--json"]
        environment = {**os.environ, **self._environment}
        made = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        answer: dict[str, Any] = json.loads(made.stdout)
        return answer


def subjects(postgres: Postgres) -> list[OrdersSubject]:
    """The same installation by plain HTTP and by TLS."""
    return [
        OrdersSubject("orders_plain_http", postgres, tls=False),
        OrdersSubject("orders_tls", postgres, tls=True),
    ]


def main() -> None:
    """Read the job from the first line of stdin, shop, print the result."""
    job = msgspec.json.decode(sys.stdin.readline(), type=Orders)
    print(msgspec.json.encode(uvloop.run(buy(job))).decode(), flush=True)


if __name__ == "__main__":
    main()
