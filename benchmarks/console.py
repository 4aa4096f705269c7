"""`python -m benchmarks.console`: the merchant's console over so many orders; for each page milliseconds and kilobytes.

The service is called within this process, as ASGI, by an administrator who is logged in: what is measured is the
server's work on a page, with PostgreSQL on the same two cores. Every page is asked for several times; `first_ms` is the
first time since the service was started and looked once at its own alerts, as it does every fifteen seconds: the page's
statements are planned then. The overview keeps what it read for some seconds; `overview, read anew` reads everything
each time. `explain` is what the operator API answers it with.

`--data-dir` names a folder in which the database is kept: the next run uses the rows of the one before.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.looking import Ahead, ask, log_in, measured
from benchmarks.processes import postgres, share_cores
from tallystick.kernel.migrations import migrate
from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.merchant.app import Ports, build
from tallystick.merchant.settings import Settings
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

FILL = (Path(__file__).parent / "console.sql").read_text()
ORDERS = 1_000_000
TIMES = 15
ANEW = "overview, read anew"


def fill(dsn: str, merchant: str, connection: str, orders: int, now: datetime) -> None:
    """Put so many orders into a migrated database, and a little of everything else."""
    text = FILL.replace(":orders", str(orders)).replace(":merchant", f"'{merchant}'")
    text = text.replace(":connection", f"'{connection}'").replace(":now", f"'{now.isoformat()}'")
    with psycopg.connect(dsn, autocommit=True) as database:
        for statement in text.split(";\n"):
            database.execute(statement.encode())
        database.execute("VACUUM ANALYZE orders, attempt, timeline")


def pages(merchant: str, orders: int, newest: str, intent: str, middle: str, now: datetime) -> dict[str, str]:
    """What is asked for."""
    half = orders // 2
    day = now - timedelta(days=1)
    return {
        ANEW: "/console/overview",
        "overview": "/console/overview",
        "orders, newest": "/console/orders",
        "orders, behind half of all": f"/console/orders?cursor={middle}",
        "orders, FAILED": "/console/orders?state=FAILED",
        "orders, held (one in 4,000)": "/console/orders?fulfilment=held",
        "orders, one day": f"/console/orders?since={day:%Y-%m-%d}&until={day:%Y-%m-%d}",
        "orders, by reference": f"/console/orders?reference=basket-{half}",
        "orders, by amount": f"/console/orders?amount={(500 + half * 37 % 20000) / 100:.2f}&currency=EUR",
        "orders, of a customer": f"/console/orders?customer=cus_{3:025d}",
        "orders, that need a person": "/console/orders?attention=yes",
        "an order": f"/console/orders/{newest}",
        "inbound webhooks": "/console/inbox",
        "dead letters": "/console/dead-letters",
        "reconciliation": "/console/reconciliations",
        "a day": f"/console/merchants/{merchant}/reconciliations/rec_{day:%Y%m%d}",
        "cases": "/console/cases",
        "a case": f"/console/merchants/{merchant}/cases/cas_{4:09d}",
        "customers": "/console/customers",
        "a customer": f"/console/merchants/{merchant}/customers/cus_{3:025d}",
        "access log": f"/console/merchants/{merchant}/accesses",
        "audit trail": "/console/audit",
        "account": "/console/account",
        "explain, by order": f"/operator/v1/timelines/{newest}",
        "explain, by payment": f"/operator/v1/timelines/{intent}",
        "explain, by payment, half of all ago": f"/operator/v1/timelines/pi_{half}",
    }


async def prepared(database: Database, dsn: str, orders: int) -> str:
    """The merchant whose orders there are: of the run before, or filled in now."""
    known = await database.rows(Statement("merchants", "SELECT merchant_id FROM merchant ORDER BY merchant_id"))
    if known:
        return str(known[0]["merchant_id"])
    clock, entropy = Ahead(), SystemEntropy()
    made = await create_merchant(database, clock, entropy, name="Bench")
    connection = await add_connection(
        database,
        clock,
        entropy,
        merchant_id=made.merchant_id,
        url="http://127.0.0.1:1",
        secret_key_ref="env:BENCH",
        webhook_secret_refs=["env:BENCH"],
    )
    fill(dsn, made.merchant_id, connection, orders, datetime.now(UTC).replace(microsecond=0))
    return made.merchant_id


async def measure(dsn: str, orders: int) -> dict[str, Any]:
    """Ask for every page."""
    database, clock, entropy = await open_database(dsn), Ahead(), SystemEntropy()
    began = perf_counter()
    merchant = await prepared(database, dsn, orders)
    prepared_s = perf_counter() - began
    key = await log_in(database)
    place = (
        "SELECT o.order_id, o.created_at, a.payment_intent FROM orders o JOIN attempt a USING (merchant_id, order_id)"
        " WHERE o.merchant_id = $1::text AND a.payment_intent IS NOT NULL AND o.order_id <="
        " (SELECT order_id FROM orders WHERE merchant_id = $1::text ORDER BY order_id DESC OFFSET $2::int LIMIT 1)"
        " ORDER BY o.merchant_id DESC, o.order_id DESC LIMIT 1"
    )
    newest, near, middle = [
        (await database.rows(Statement("place", place), merchant, offset))[0] for offset in (0, 10, orders // 2)
    ]
    await database.close()
    database = await open_database(dsn)  # as a service that was just started has it
    nothing: Any = None
    service = build(Settings(database_dsn=dsn), Ports(database, nothing, nothing, clock, entropy))
    gc.collect()
    gc.freeze()  # as a server does once it is built (cli/serving.py)
    assert service.watched is not None
    assert service.watched.watch is not None
    await service.watched.watch("bench").step()  # as every process does that serves for fifteen seconds
    report: dict[str, Any] = {"orders": orders, "prepared_s": round(prepared_s, 1), "pages": {}}
    asked = pages(merchant, orders, near["order_id"], near["payment_intent"], middle["order_id"], newest["created_at"])
    for name, path in asked.items():
        answers = []
        for _ in range(TIMES):
            clock.ahead_s += 3600.0 if name == ANEW else 0.0
            answers.append(await ask(service.asgi, path, key if path.startswith("/operator") else ""))
        assert {status for status, _, _ in answers} == {200}, f"{name}: {answers[0][0]}"
        report["pages"][name] = measured(answers)
    await database.close()
    return report


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--data-dir", type=Path, help="keep the database here, and use the one that is here")
    arguments = parser.parse_args()
    share_cores()
    with postgres(arguments.data_dir) as server:
        server.create("console")
        dsn = server.dsn("console")
        migrate(dsn, "tallystick.merchant.schema")
        json.dump(asyncio.run(measure(dsn, arguments.orders)), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
