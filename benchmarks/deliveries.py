"""Webhook deliveries: claimed, signed both ways, posted to a local sink that answers 204, the tries recorded.

    python -m benchmarks.deliveries [--deliveries N] [--endpoints N] [--rounds N] [--only backlog|pick_up|others]

The sink is a process of its own; PostgreSQL is durable. Prints JSON: deliveries per second and CPU seconds per 1,000
beside pgqueuer, in turns; the time from commit to the sink at 50 events a second; and that of 98 endpoints, while the
two others answer like them, and while one hangs and the other answers after 14 seconds: in turns, the median of several
rounds, each with time for the first tries to hang out their 15 seconds before anything is counted.
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
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any, ClassVar

import psycopg
import uvloop

from benchmarks.controls.deliveries_pgqueuer import rate as pgqueuer_rate
from benchmarks.processes import share_cores
from tallystick.cli.serving import settle_memory
from tallystick.gateway.webhooks.events import Happening, record
from tallystick.gateway.webhooks.worker import dispatcher
from tallystick.kernel.delivery.protocol import Limits
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.kernel.migrations import migrate
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.http1 import Http1Client
from tallystick.ports.postgres import EmbeddedPostgres

EVENTS_PER_COMMIT = 100
PACED_EVENTS = 250
PACE_PER_S = 50
UNLIMITED = Limits(rate_per_s=1_000_000, burst=1_000_000)  # the sink is no merchant's server
NEIGHBOURS = 100
NEIGHBOURS_PACE_PER_S = 150
NEIGHBOURS_S = 12.0  # counted in each round, some 1,800 events
WARM_S = 1.0
BAD_SINCE_S = 16.0  # longer than a deadline: the first tries have timed out when counting begins
NEIGHBOURS_ROUNDS = 3
SLOW_S = 14.0
LEFT = Statement("left", "SELECT d.id FROM delivery d WHERE d.state = 'due' AND d.owner_id > $1::text LIMIT 1")
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
OBJECT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 2500,
    "metadata": {"order": "o" * 40},
    "filler": "x" * 1200,
}


class Sink(asyncio.Protocol):
    """Answers every request with 204 and notes when it came: at once, after SLOW_S under /slow, never under /hang."""

    arrivals: ClassVar[list[tuple[str, float]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.unread = b""

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while (end := self.unread.find(b"\r\n\r\n")) >= 0:
            head = self.unread[:end]
            length = int(_header(head, b"content-length"))
            if len(self.unread) < end + 4 + length:
                return
            self.unread = self.unread[end + 4 + length :]
            Sink.arrivals.append((_header(head, b"webhook-id").decode(), time.monotonic()))
            path = head.split(b" ", 2)[1]
            if path == b"/slow":
                asyncio.get_running_loop().call_later(SLOW_S, self._answer)
            elif path != b"/hang":
                self._answer()

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


def _header(head: bytes, name: bytes) -> bytes:
    at = head.lower().find(b"\r\n" + name + b":")
    return head[at + len(name) + 3 :].partition(b"\r\n")[0].strip()


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
                (f"acct_{number}", f"we_{number}", f"http://127.0.0.1:{port}/{number}", [SECRET], at),
            )


async def happen(database: Database, count: int, endpoints: int, first: int = 0) -> list[str]:
    """`count` events in one commit."""
    numbers = range(first, first + count)
    happenings = [Happening(f"acct_{n % endpoints}", False, "charge.updated", "pi_1", OBJECT) for n in numbers]
    async with database.transaction() as tx:
        return (await record(tx, happenings, at=datetime.now(UTC), entropy=SystemEntropy())).ids


async def rate(dsn: str, database: Database, worker: Dispatcher, deliveries: int, endpoints: int) -> dict[str, float]:
    """A backlog is worked off."""
    for _ in range(deliveries // EVENTS_PER_COMMIT):
        await happen(database, EVENTS_PER_COMMIT, endpoints)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE delivery, message, webhook_endpoint")
    started, cpu_started = time.monotonic(), time.process_time()
    task = asyncio.create_task(worker.run())
    while await database.rows(LEFT, ""):  # noqa: ASYNC110 - the end is seen in the database
        await asyncio.sleep(0.02)
    seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return {
        "deliveries": deliveries,
        "per_s": round(deliveries / seconds, 1),
        "cpu_s_per_1000": round(cpu_s / deliveries * 1000, 3),
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
    arrivals = sorted(at for _, at in await asyncio.to_thread(pipe.recv))
    waits_ms = [(there - here) * 1000 for here, there in zip(committed, arrivals, strict=True)]
    return {
        "events_per_s": PACE_PER_S,
        "p50_ms": round(statistics.median(waits_ms), 2),
        "p99_ms": round(statistics.quantiles(waits_ms, n=100)[98], 2),
    }


async def neighbours(database: Database, worker: Dispatcher, pipe: Connection, ahead_s: float) -> dict[str, float]:
    """Events at a steady pace for 100 endpoints in turn; how long those of the last 98 take from commit to the sink."""
    pipe.send("take")
    await asyncio.to_thread(pipe.recv)
    task = asyncio.create_task(worker.run())
    committed: dict[str, float] = {}
    started = time.monotonic()
    number = 0
    while (elapsed_s := time.monotonic() - started) < ahead_s + NEIGHBOURS_S:
        due = int(elapsed_s * NEIGHBOURS_PACE_PER_S) - number
        if due > 0:
            ids = await happen(database, due, NEIGHBOURS, number)
            at = time.monotonic()
            if elapsed_s >= ahead_s:
                committed |= {id: at for place, id in enumerate(ids) if (number + place) % NEIGHBOURS >= 2}
            number += due
            worker.wake()
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    pipe.send("take")
    arrivals = dict(reversed(await asyncio.to_thread(pipe.recv)))  # the first arrival of each
    waits_ms = [(arrivals[id] - at) * 1000 for id, at in committed.items()]
    return {
        "events": len(waits_ms),
        "p50_ms": round(statistics.median(waits_ms), 2),
        "p99_ms": round(statistics.quantiles(waits_ms, n=100)[98], 2),
    }


async def two_go_bad(dsn: str, database: Database, http: Http1Client, pipe: Connection, port: int) -> dict[str, Any]:
    """The others' p99 without and with one endpoint that hangs and one that answers after 14 s."""
    rounds: dict[str, list[dict[str, float]]] = {"all_well": [], "one_hangs_one_is_slow": []}
    cases = (("all_well", ("0", "1"), WARM_S), ("one_hangs_one_is_slow", ("hang", "slow"), BAD_SINCE_S))
    for _ in range(NEIGHBOURS_ROUNDS):
        for name, paths, ahead_s in cases:
            with psycopg.connect(dsn) as connection:
                # What the last round left to the two is nobody's business in this one.
                connection.execute("UPDATE delivery SET state = 'held' WHERE state = 'due'")
                connection.execute("DELETE FROM endpoint_health")
                for number, path in enumerate(paths):
                    url = f"http://127.0.0.1:{port}/{path}"
                    connection.execute("UPDATE webhook_endpoint SET url = %s WHERE id = %s", (url, f"we_{number}"))
            worker = dispatcher(database, http, SystemClock(), SystemEntropy(), Limits())
            rounds[name].append(await neighbours(database, worker, pipe, ahead_s))
    well, bad = (_median(rounds[name], "p99_ms") for name in rounds)
    return {**rounds, "p99_ratio": round(bad / well, 2)}


async def measure(dsns: dict[str, str], pipe: Connection, port: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """All measurements."""
    dsn, endpoints = dsns["gateway"], arguments.endpoints
    settle_memory()  # as the services do
    database = await open_database(dsn)
    http = Http1Client()

    def worker() -> Dispatcher:
        return dispatcher(database, http, SystemClock(), SystemEntropy(), UNLIMITED)

    report: dict[str, Any] = {}
    if arguments.only in (None, "backlog"):
        report |= await backlog(dsns, database, worker, port, arguments)
    if arguments.only in (None, "pick_up"):
        report["pick_up"] = await latency(database, worker(), pipe, endpoints)
    if arguments.only in (None, "others"):
        report["others"] = await two_go_bad(dsn, database, http, pipe, port)
    await http.close()
    await database.close()
    return report


async def backlog(
    dsns: dict[str, str], database: Database, worker: Callable[[], Dispatcher], port: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """A backlog worked off by us and by pgqueuer, in turns."""
    count, endpoints = arguments.deliveries, arguments.endpoints
    ours, theirs = [], []
    body = json.dumps({"id": "evt_1", "object": "event", "data": {"object": OBJECT}}).encode()
    for _ in range(arguments.rounds):
        ours.append(await rate(dsns["gateway"], database, worker(), count, endpoints))
        theirs.append(await pgqueuer_rate(dsns["pgqueuer"], f"http://127.0.0.1:{port}/0", SECRET, body, count))
    return {
        "backlog": {"tallystick": ours, "pgqueuer": theirs},
        "rate_beside_pgqueuer": round(_median(ours, "per_s") / _median(theirs, "per_s"), 2),
        "cpu_beside_pgqueuer": round(_median(ours, "cpu_s_per_1000") / _median(theirs, "cpu_s_per_1000"), 2),
    }


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["backlog", "pick_up", "others"])
    arguments = parser.parse_args()
    share_cores()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=sink, args=(theirs,), daemon=True)
    process.start()
    port = ours.recv()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(folder) as server:
        server.create_databases(["gateway", "pgqueuer"])
        dsns = {name: server.dsn(name) for name in ("gateway", "pgqueuer")}
        migrate(dsns["gateway"], "tallystick.gateway.schema")
        prepare(dsns["gateway"], port, NEIGHBOURS)
        report = uvloop.run(measure(dsns, ours, port, arguments))
    process.terminate()
    json.dump({"endpoints": arguments.endpoints, **report}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
