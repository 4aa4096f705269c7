"""`python -m benchmarks.gateway_console`: the gateway's console over so many payments, milliseconds and kilobytes.

The gateway is called within this process, as ASGI, by an administrator who is logged in: what is measured is the
server's work on a page, with PostgreSQL on the same two cores. Every page is asked for several times; `first_ms` is the
first time since the gateway was started. The overview keeps what it read for some seconds; `overview, read anew` reads
everything each time. `explain` is what the operator API answers it with.

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
from msgspec.structs import replace

from benchmarks.looking import Ahead, ask, log_in, measured
from benchmarks.processes import postgres, share_cores
from tallystick.gateway.app import build, open_ports
from tallystick.gateway.settings import Settings
from tallystick.kernel.migrations import migrate
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SandboxClock
from tallystick.ports.database import Statement

FILL = (Path(__file__).parent / "gateway_console.sql").read_text(encoding="utf-8")
PAYMENTS = 1_000_000
TIMES = 15
ANEW = "overview, read anew"
ACCOUNT = "acct_0000000000000001"  # which has half of all

# Made after the rows are there, which takes a third of the time.
SECONDARY_INDEXES = """
SELECT x.indexrelid::regclass::text, pg_get_indexdef(x.indexrelid)
  FROM pg_index x
  JOIN pg_class c ON c.oid = x.indrelid AND c.relnamespace = 'public'::regnamespace
 WHERE NOT x.indisunique
 ORDER BY 1
"""


def fill(dsn: str, payments: int, now: datetime) -> None:
    """Put so many payments into a migrated database, and a little of everything else."""
    text = FILL.replace(":payments", str(payments)).replace(":now", f"'{now.isoformat()}'")
    with psycopg.connect(dsn, autocommit=True) as database:
        database.execute("SET synchronous_commit = off")
        database.execute("SET maintenance_work_mem = '256MB'")
        made_again = database.execute(SECONDARY_INDEXES.encode()).fetchall()
        for name, _ in made_again:
            database.execute(f"DROP INDEX {name}".encode())
        for statement in text.split(";\n"):
            database.execute(statement.encode())
        for _, definition in made_again:
            database.execute(definition.encode())
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")


def pages(payments: int, newest: dict[str, str], middle: str, now: datetime) -> dict[str, str]:
    """What is asked for."""
    half = payments // 2
    day = now - timedelta(days=1)
    return {
        ANEW: "/console/overview",
        "overview": "/console/overview",
        "payments, newest of all accounts": "/console/payments",
        "payments of one account": f"/console/payments?account={ACCOUNT}",
        "payments, behind half of all": f"/console/payments?cursor={middle}",
        "payments, canceled": "/console/payments?status=canceled",
        "payments, processing (none)": "/console/payments?status=processing",
        "payments before yesterday": f"/console/payments?until={day:%Y-%m-%dT00:00:00Z}",
        "payments, by amount": f"/console/payments?q={(500 + half * 37 % 20000) / 100:.2f}+EUR",
        "payments, by card": "/console/payments?q=4242",
        "payments, by brand and card": "/console/payments?q=mastercard+4242",
        "payments, by order": f"/console/payments?q=basket-{half}",
        "payments, by charge": f"/console/payments?q={newest['charge']}",
        "payments, by delivery": f"/console/payments?q={newest['delivery']}",
        "a payment": f"/console/payments/{newest['payment']}",
        "accounts": "/console/accounts",
        "an account": f"/console/accounts/{ACCOUNT}",
        "endpoints": "/console/endpoints",
        "dead letters": "/console/dead-letters",
        "redrives": "/console/redrives",
        "unknown outcomes": "/console/unknown-outcomes",
        "cases, open": "/console/cases",
        "disputes": "/console/disputes",
        "disputes, open": "/console/disputes?state=open",
        "settlement days": f"/console/settlements?account={ACCOUNT}",
        "payouts": "/console/payouts",
        "payouts, failed (none)": "/console/payouts?status=failed",
        "reports": "/console/reports",
        "balance and ledger": f"/console/balance?account={ACCOUNT}",
        "the ledger's check": f"/console/balance?account={ACCOUNT}&check=true",
        "card testing": "/console/card-testing",
        "sandbox": "/console/faults",
        "audit trail": "/console/audit",
        "explain, by payment": f"/operator/v1/timelines/{newest['payment']}",
        "explain, by charge": f"/operator/v1/timelines/{newest['charge']}",
        "explain, by payment, a quarter of all ago": f"/operator/v1/timelines/{middle}",
    }


async def measure(dsn: str, payments: int) -> dict[str, Any]:
    """Ask for every page."""
    began = perf_counter()
    with psycopg.connect(dsn, autocommit=True) as connection:
        filled = connection.execute("SELECT 1 FROM account LIMIT 1").fetchone()
    if filled is None:
        fill(dsn, payments, datetime.now(UTC).replace(microsecond=0))
    prepared_s = perf_counter() - began
    settings = Settings(database_dsn=dsn, sandbox_clock=True)
    clock = Ahead()
    database = await open_database(dsn)
    key = await log_in(database)
    place = (
        "SELECT i.id AS payment, i.latest_charge AS charge, 'dlv_' || substr(i.id, 4) AS delivery, i.created_at"
        " FROM payment_intent i WHERE i.account_id = $1::text AND NOT i.livemode ORDER BY i.id DESC OFFSET $2::int"
        " LIMIT 1"
    )
    last, newest, middle = [
        (await database.rows(Statement("place", place), ACCOUNT, offset))[0] for offset in (0, 10, payments // 4)
    ]
    await database.close()
    ports = replace(await open_ports(settings), clock=SandboxClock(clock))  # as a service that was just started
    service = build(settings, ports)
    gc.collect()
    gc.freeze()  # as a server does once it is built (cli/serving.py)
    report: dict[str, Any] = {"payments": payments, "prepared_s": round(prepared_s, 1), "pages": {}}
    for name, path in pages(payments, dict(newest), middle["payment"], last["created_at"]).items():
        answers = []
        for _ in range(TIMES):
            clock.ahead_s += 3600.0 if name == ANEW else 0.0
            answers.append(await ask(service.asgi, path, key if path.startswith("/operator") else ""))
        wanted = 303 if name in ("payments, by charge", "payments, by delivery") else 200
        assert {status for status, _, _ in answers} == {wanted}, f"{name}: {answers[0][0]}"
        report["pages"][name] = measured(answers)
    await ports.close()
    return report


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_console", description=__doc__)
    parser.add_argument("--payments", type=int, default=PAYMENTS)
    parser.add_argument("--data-dir", type=Path, help="keep the database here, and use the one that is here")
    arguments = parser.parse_args()
    share_cores()
    with postgres(arguments.data_dir) as server:
        server.create("console")
        dsn = server.dsn("console")
        migrate(dsn, "tallystick.gateway.schema")
        json.dump(asyncio.run(measure(dsn, arguments.payments)), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
