"""`python -m benchmarks.expiry`: so many due orders end; orders per second, and the memory that it takes.

One process runs the merchant service's own workers until nothing is due. One order in a hundred was attempted: it is
closed at a gateway that answers at once, over HTTP in the same process. Nobody ever tried to pay the others. Workers
and PostgreSQL share the same two cores. Every size has a database and a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
from time import perf_counter
from typing import Any

import structlog
import uvloop
from aiohttp import web

from benchmarks.processes import postgres, share_cores
from tallystick.kernel.migrations import migrate
from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.merchant.app import Ports, build
from tallystick.merchant.expiry.sweeping import Sweeper
from tallystick.merchant.expiry.worker import AttemptWorker
from tallystick.merchant.settings import Settings
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.secrets import LocalSecrets

SIZES = (10_000, 100_000, 1_000_000)
ATTEMPTED = 100  # one order in so many has an attempt
CHUNK = 100_000  # orders inserted by one statement

ORDERS = """
INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max, facts,
                    attempt_newest, created_at, expires_at, due_at, updated_at)
SELECT $1::text, 'ord_' || lpad(n::text, 9, '0'), $2::text, 2500, 'EUR', 'hosted', 1800, 3,
       CASE WHEN n % $5::int = 0
            THEN format('{"attempts": {"1": {"session": "cs_ord_%s"}}}', lpad(n::text, 9, '0'))::jsonb
            ELSE '{}' END, (n % $5::int = 0)::int,
       due, due, CASE WHEN n % $5::int = 0 THEN NULL ELSE due END, due
  FROM generate_series($3::int, $4::int) AS n,
       LATERAL (VALUES (timestamptz '2026-01-01T00:00:00Z' + n * interval '1 ms')) AS at(due)
"""
ATTEMPTS = """
INSERT INTO attempt (merchant_id, order_id, number, connection_id, open_key, gateway_expires_at, checkout_session,
                     due_at, created_at)
SELECT o.merchant_id, o.order_id, 1, o.connection_id, 'order:' || o.order_id, o.expires_at, 'cs_' || o.order_id,
       o.expires_at, o.created_at
  FROM orders o WHERE o.attempt_newest = 1
"""


async def expired(request: web.Request) -> web.Response:
    """A gateway that closes every session at once."""
    session = {"id": request.match_info["id"], "object": "checkout.session", "status": "expired"}
    return web.json_response(session)


async def one(dsn: str, orders: int) -> dict[str, Any]:
    """Fill a fresh database and drain it."""
    os.environ["BENCH_KEY"] = "sk_test_of_no_value"
    gateway = web.Application()
    gateway.router.add_post("/v1/checkout/sessions/{id}/expire", expired)
    runner = web.AppRunner(gateway, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    database, clock, entropy = await open_database(dsn), SystemClock(), SystemEntropy()
    made = await create_merchant(database, clock, entropy, name="Bench")
    connection = await add_connection(
        database,
        clock,
        entropy,
        merchant_id=made.merchant_id,
        url=url,
        secret_key_ref="env:BENCH_KEY",
        webhook_secret_refs=["env:BENCH_KEY"],
    )
    for first in range(1, orders + 1, CHUNK):
        last = min(first + CHUNK - 1, orders)
        await database.execute(Statement("x", ORDERS), made.merchant_id, connection, first, last, ATTEMPTED)
    await database.execute(Statement("x", ATTEMPTS))
    for table in ("orders", "attempt"):
        await database.execute(Statement("x", f"VACUUM ANALYZE {table}"))

    http = AiohttpClient()
    service = build(Settings(database_dsn=dsn), Ports(database, http, LocalSecrets(), clock, entropy))
    workers = [worker for worker in service.workers if isinstance(worker, Sweeper | AttemptWorker)]
    before = resource.getrusage(resource.RUSAGE_SELF)
    began_s = perf_counter()
    await asyncio.gather(*(_drain(worker) for worker in workers))
    seconds = perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_SELF)
    [left] = await database.rows(Statement("x", "SELECT count(*)::int AS n FROM orders WHERE state <> 'EXPIRED'"))
    assert left["n"] == 0, f"{left['n']} orders did not end"
    await http.close()
    await database.close()
    await runner.cleanup()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "orders": orders,
        "seconds": round(seconds, 2),
        "orders_per_s": round(orders / seconds),
        "memory_before_mib": round(before.ru_maxrss / 1024, 1),
        "memory_most_mib": round(after.ru_maxrss / 1024, 1),
        "worker_cpu_s_per_1000": round(cpu_s / orders * 1000, 4),
    }


async def _drain(worker: Sweeper | AttemptWorker) -> None:
    while await worker.run_once():
        pass


def main() -> None:
    """Measure every size, each in a process of its own, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.expiry", description=__doc__)
    parser.add_argument("--orders", type=int, action="append", help="how many are due; may be repeated")
    parser.add_argument("--one", nargs=2, metavar=("DSN", "ORDERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))  # stdout is the figures'
        print(json.dumps(uvloop.run(one(arguments.one[0], int(arguments.one[1])))))
        return
    share_cores()
    measured = []
    with postgres() as server:
        for orders in arguments.orders or SIZES:
            name = f"expiry_{orders}"
            server.create(name)
            migrate(server.dsn(name), "tallystick.merchant.schema")
            command = [sys.executable, "-m", "benchmarks.expiry", "--one", server.dsn(name), str(orders)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured.append(json.loads(done.stdout))
            print(measured[-1], file=sys.stderr)
    json.dump({"expiry": measured}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
