"""`python -m benchmarks.gateway_console`: the gateway's console over so many payments, milliseconds and kilobytes.

The gateway is called within this process, as ASGI, by an administrator who is logged in: what is measured is the
server's work on a page, with PostgreSQL on the same two cores. Every page is asked for several times; `first_ms` is the
first time, with everything cold that the page before has not warmed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.processes import postgres
from tallystick.gateway.app import build, open_ports
from tallystick.gateway.settings import Settings
from tallystick.kernel.migrations import migrate
from tallystick.ports.database import Database, Statement

FILL = (Path(__file__).parent / "gateway_console.sql").read_text(encoding="utf-8")
PAYMENTS = 1_000_000
CORES = 2
TIMES = 15
SERVER_MS_MAX = 100
PAGE_BYTES_MAX = 200_000
TOKEN = "0" * 64
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


async def log_in(database: Database) -> None:
    """An administrator is logged in by TOKEN."""
    at = datetime.now(UTC)
    user = (
        "INSERT INTO operator_user (name, role, password_hash, created_at) VALUES ('ada', 'admin', '', $1::timestamptz)"
    )
    await database.execute(Statement("user", user), at)
    session = (
        "INSERT INTO operator_session (token_hash, user_name, created_at, expires_at)"
        " VALUES ($1::bytea, 'ada', $2::timestamptz, $3::timestamptz)"
    )
    token_hash = hashlib.sha256(TOKEN.encode()).digest()
    await database.execute(Statement("session", session), token_hash, at, at + timedelta(hours=8))


async def ask(application: Any, path: str) -> tuple[int, bytes, float]:
    """Status, body and milliseconds of a page."""
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "GET",
        "path": place,
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 1),
        "headers": [(b"cookie", f"tallystick_operator={TOKEN}".encode())],
        "state": {},
    }
    began = perf_counter()
    await application(scope, receive, send)
    took_ms = (perf_counter() - began) * 1000
    return told[0]["status"], b"".join(message.get("body", b"") for message in told[1:]), took_ms


def pages(payments: int, newest: dict[str, str], middle: str, now: datetime) -> dict[str, str]:
    """What is asked for."""
    half = payments // 2
    day = now - timedelta(days=1)
    return {
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
    }


async def measure(dsn: str, payments: int) -> dict[str, Any]:
    """Fill a database and ask for every page."""
    now, began = datetime.now(UTC).replace(microsecond=0), perf_counter()
    fill(dsn, payments, now)
    filled_s = perf_counter() - began
    settings = Settings(database_dsn=dsn, sandbox_clock=True)
    ports = await open_ports(settings)
    await log_in(ports.database)
    place = (
        "SELECT i.id AS payment, i.latest_charge AS charge, 'dlv_' || substr(i.id, 4) AS delivery FROM payment_intent i"
        " WHERE i.account_id = $1::text AND NOT i.livemode ORDER BY i.id DESC OFFSET $2::int LIMIT 1"
    )
    newest, middle = [
        (await ports.database.rows(Statement("place", place), ACCOUNT, offset))[0] for offset in (10, payments // 4)
    ]
    service = build(settings, ports)
    report: dict[str, Any] = {"payments": payments, "filled_s": round(filled_s, 1), "pages": {}}
    for name, path in pages(payments, dict(newest), middle["payment"], now).items():
        answers = [await ask(service.asgi, path) for _ in range(TIMES)]
        wanted = 303 if name in ("payments, by charge", "payments, by delivery") else 200
        assert {status for status, _, _ in answers} == {wanted}, f"{name}: {answers[0][0]}"
        times = [took for _, _, took in answers]
        size = max(len(body) for _, body, _ in answers)
        report["pages"][name] = {
            "first_ms": round(times[0], 1),
            "p50_ms": round(median(times), 1),
            "max_ms": round(max(times[1:]), 1),
            "kb": round(size / 1000, 1),
            "within": max(times) < SERVER_MS_MAX and size < PAGE_BYTES_MAX,
        }
    await ports.close()
    return report


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_console", description=__doc__)
    parser.add_argument("--payments", type=int, default=PAYMENTS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with postgres() as server:
        server.create("console")
        dsn = server.dsn("console")
        migrate(dsn, "tallystick.gateway.schema")
        json.dump(asyncio.run(measure(dsn, arguments.payments)), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
