"""Webhook deliveries: claimed, signed both ways, posted to a local sink that answers 204, the tries recorded.

    python -m benchmarks.deliveries [--deliveries N] [--endpoints N]

The sink is a process of its own; PostgreSQL is durable. Prints JSON: deliveries per second, CPU seconds of the
dispatcher per 1,000, and the time from commit to the sink at 50 events a second.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any, ClassVar

import psycopg
import uvloop

from tallystick.gateway.webhooks.events import Happening, record
from tallystick.gateway.webhooks.worker import dispatcher
from tallystick.kernel.delivery.protocol import Limits
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.kernel.migrations import migrate
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, open_database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.http import AiohttpClient
from tallystick.ports.postgres import EmbeddedPostgres

EVENTS_PER_COMMIT = 100
PACED_EVENTS = 250
PACE_PER_S = 50
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
OBJECT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 2500,
    "metadata": {"order": "o" * 40},
    "filler": "x" * 1200,
}


class Sink(asyncio.Protocol):
    """Answers every request with 204 and notes when it came."""

    arrivals: ClassVar[list[float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.unread = b""

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while (end := self.unread.find(b"\r\n\r\n")) >= 0:
            head = self.unread[:end].lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(self.unread) < end + 4 + length:
                return
            self.unread = self.unread[end + 4 + length :]
            Sink.arrivals.append(time.monotonic())
            self.transport.write(ANSWER)


def sink(pipe: Connection) -> None:
    """The sink's process: tells its port; at `take` gives the arrivals since the last time."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        while await loop.run_in_executor(None, pipe.recv) == "take":
            pipe.send(Sink.arrivals)
            Sink.arrivals = []

    uvloop.run(serve())


def prepare(dsn: str, port: int, endpoints: int) -> None:
    """One account for each endpoint."""
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    with psycopg.connect(dsn) as connection:
        for number in range(endpoints):
            at = datetime.now(UTC)
            connection.execute(
                "INSERT INTO account (account_id, name, created_at) VALUES (%s, 'Shop', %s)", (f"acct_{number}", at)
            )
            connection.execute(
                "INSERT INTO webhook_endpoint"
                " (account_id, livemode, id, url, status, enabled_events, secrets, created_at)"
                " VALUES (%s, false, %s, %s, 'enabled', '{*}', %s, %s)",
                (f"acct_{number}", f"we_{number}", f"http://127.0.0.1:{port}/{number}", [secret], at),
            )


async def happen(database: Database, count: int, endpoints: int) -> None:
    """`count` events in one commit."""
    happenings = [Happening(f"acct_{n % endpoints}", False, "charge.updated", "pi_1", OBJECT) for n in range(count)]
    async with database.transaction() as tx:
        await record(tx, happenings, at=datetime.now(UTC), entropy=SystemEntropy())


async def undelivered(dsn: str) -> int:
    def ask() -> int:
        with psycopg.connect(dsn) as connection:
            row = connection.execute("SELECT count(*) FROM delivery WHERE state <> 'delivered'").fetchone()
            assert row is not None
            return int(row[0])

    return await asyncio.to_thread(ask)


async def rate(dsn: str, database: Database, worker: Dispatcher, deliveries: int, endpoints: int) -> dict[str, float]:
    """A backlog is worked off."""
    for _ in range(deliveries // EVENTS_PER_COMMIT):
        await happen(database, EVENTS_PER_COMMIT, endpoints)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE delivery, message, webhook_endpoint")
    started, cpu_started = time.monotonic(), time.process_time()
    task = asyncio.create_task(worker.run())
    while await undelivered(dsn):  # noqa: ASYNC110 - the end is seen in the database
        await asyncio.sleep(0.05)
    seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return {
        "deliveries": deliveries,
        "per_s": round(deliveries / seconds, 1),
        "dispatcher_cpu_s_per_1000": round(cpu_s / deliveries * 1000, 3),
    }


async def latency(database: Database, worker: Dispatcher, pipe: Connection, endpoints: int) -> dict[str, float]:
    """Single events at a steady pace, woken after each commit."""
    pipe.send("take")
    await asyncio.to_thread(pipe.recv)
    task = asyncio.create_task(worker.run())
    committed = []
    started = time.monotonic()
    for number in range(PACED_EVENTS):
        await asyncio.sleep(max(started + number / PACE_PER_S - time.monotonic(), 0))
        await happen(database, 1, endpoints)
        committed.append(time.monotonic())
        worker.wake()
    await asyncio.sleep(1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    pipe.send("take")
    arrivals = await asyncio.to_thread(pipe.recv)
    waits_ms = [(there - here) * 1000 for here, there in zip(committed, sorted(arrivals), strict=True)]
    return {
        "events_per_s": PACE_PER_S,
        "p50_ms": round(statistics.median(waits_ms), 2),
        "p99_ms": round(statistics.quantiles(waits_ms, n=100)[98], 2),
    }


async def measure(dsn: str, pipe: Connection, deliveries: int, endpoints: int) -> dict[str, Any]:
    """Both measurements."""
    database = await open_database(dsn)
    http = AiohttpClient()
    limits = Limits()

    def worker() -> Dispatcher:
        return dispatcher(database, http, SystemClock(), SystemEntropy(), limits)

    report = {
        "backlog": await rate(dsn, database, worker(), deliveries, endpoints),
        "pick_up": await latency(database, worker(), pipe, endpoints),
    }
    await http.close()
    await database.close()
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--endpoints", type=int, default=20)
    arguments = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=sink, args=(theirs,), daemon=True)
    process.start()
    port = ours.recv()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(folder) as server:
        server.create_databases(["gateway"])
        dsn = server.dsn("gateway")
        migrate(dsn, "tallystick.gateway.schema")
        prepare(dsn, port, arguments.endpoints)
        report = uvloop.run(measure(dsn, ours, arguments.deliveries, arguments.endpoints))
    process.terminate()
    json.dump({"endpoints": arguments.endpoints, **report}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
