"""`python -m benchmarks.reconciliation`: so many settlement lines against as many orders.

Ours: the day's CSV is read through its reader, streamed into PostgreSQL, compared there in both directions, and what
differs (one line in a thousand) is decided page by page. The control, in the same run on the same server: COPY of the
same rows, already in PostgreSQL's own format, into a table with the same columns and keys, then a FULL JOIN with the
orders written into a result table. Every size has a database and a process of its own; the memory is this process's
own, over what it has when it is idle.
"""

# ruff: noqa: E501 - SQL reads best in lines of its own
from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
import uvloop

from benchmarks.processes import postgres, share_cores
from tallystick.kernel.migrations import migrate
from tallystick.merchant.reconciliation.comparing import Compared, RunKey, compare, copy_lines, decide_page
from tallystick.merchant.reconciliation.findings import Day
from tallystick.merchant.reconciliation.reading import Reading
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock

SIZES = (100_000, 1_000_000, 3_000_000)
DIFFERS = 1000  # one order in so many: the line tells another amount, or is not there
DAY = Day(date(2026, 1, 1))
HEADER = (
    "balance_transaction_id,created_utc,available_on_utc,currency,gross,fee,net,reporting_category,source_id,"
    "payment_intent_id,charge_id,payment_metadata[order_id],automatic_payout_id\n"
)
ORDERS = """
INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max, state, fulfilment,
                    keeper, attempt_newest, amount_captured_minor, facts, created_at, expires_at, updated_at, paid_at)
SELECT 'mer_1', 'ord_' || lpad(n::text, 24, '0'), 'con_1', 2500, 'EUR', 'hosted', 1800, 3, 'PAID', 'allowed', 1, 1, 2500,
       format('{"attempts": {"1": {"state": "succeeded", "intent": "pi_%s", "captured": {"EUR": 2500},
                "authorised": [["EUR", 2500]]}}, "keeper": 1}', lpad(n::text, 24, '0'))::jsonb, at, at, at, at
  FROM generate_series(1, $1::int) AS n, LATERAL (VALUES (timestamptz '2026-01-01T01:00:00Z' + n * interval '20 ms')) AS t(at)
"""
ATTEMPTS = """
INSERT INTO attempt (merchant_id, order_id, number, connection_id, state, open_key, gateway_expires_at, payment_intent, due_at,
                     created_at)
SELECT o.merchant_id, o.order_id, 1, o.connection_id, 'succeeded', 'k', o.expires_at, replace(o.order_id, 'ord_', 'pi_'), NULL,
       o.created_at
  FROM orders o
"""
RUN = """
INSERT INTO reconciliation (merchant_id, reconciliation_id, connection_id, business_date, source, requested_by, due_at, created_at)
VALUES ('mer_1', 'rec_1', 'con_1', '2026-01-01', 'gateway', 'bench', '2026-01-02T00:00:00Z', '2026-01-02T00:00:00Z')
"""
CONTROL = "CREATE TABLE control (LIKE settlement_line INCLUDING ALL)"
RESULT = """
CREATE TABLE result (order_id text, line_id text, payment text, captured_minor bigint, expected_minor bigint, code text);
INSERT INTO result
SELECT o.order_id, l.line_id, coalesce(l.payment, a.payment_intent), l.gross_minor, o.amount_captured_minor,
       CASE WHEN l.line_id IS NULL THEN 'missing' WHEN o.order_id IS NULL THEN 'unknown'
            WHEN l.gross_minor <> o.amount_captured_minor THEN 'differs' ELSE 'matched' END
  FROM control l
  FULL JOIN (attempt a JOIN orders o ON (o.merchant_id, o.order_id) = (a.merchant_id, a.order_id)) ON a.payment_intent = l.payment
"""


def write(path: Path, lines: int) -> None:
    """The day's file."""
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for n in range(1, lines + 1):
            if n % (2 * DIFFERS) == 0:
                continue
            gross = "24.99" if n % DIFFERS == 0 else "25.00"
            net = "24.39" if gross == "25.00" else "24.38"
            at = n // 50 + 3600
            created = f"2026-01-01 {at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}"
            id = f"{n:024}"
            file.write(
                f"txn_{id},{created},2026-01-03 00:00:00,eur,{gross},0.61,{net},charge,ch_{id},pi_{id},ch_{id},ord_{id},\n"
            )


def memory_mib() -> float:
    """The most that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def ours(dsn: str, path: Path) -> dict[str, Any]:
    """The whole comparison."""
    database, at = await open_database(dsn), SystemClock().now()
    idle_mib = memory_mib()
    run = Compared(RunKey("mer_1", "rec_1"), "con_1", DAY)
    began_s = perf_counter()
    with path.open("rb") as file:
        async with database.transaction(bulk=True) as tx:
            lines = await copy_lines(tx, run.key, Reading("stripe", file))
            copied_s = perf_counter()
            await compare(tx, run, ["EUR"])
    compared_s = perf_counter()
    differing = 0
    while page := await decide_page(database, run, at):
        differing += page
    ended_s = perf_counter()
    await database.close()
    return {
        "lines": lines,
        "differing": differing,
        "seconds": round(ended_s - began_s, 2),
        "copy_s": round(copied_s - began_s, 2),
        "compare_s": round(compared_s - copied_s, 2),
        "decide_s": round(ended_s - compared_s, 2),
        "idle_mib": round(idle_mib, 1),
        "memory_over_idle_mib": round(memory_mib() - idle_mib, 1),
    }


def control(dsn: str, rows: Path) -> dict[str, Any]:
    """COPY and FULL JOIN."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET work_mem = '64MB'")
        connection.execute(CONTROL)
        began_s = perf_counter()
        with rows.open("rb") as file, connection.cursor().copy("COPY control FROM STDIN") as copy:
            while block := file.read(1 << 20):
                copy.write(block)
        copied_s = perf_counter()
        connection.execute(RESULT)
        ended_s = perf_counter()
    return {
        "control_s": round(ended_s - began_s, 2),
        "control_copy_s": round(copied_s - began_s, 2),
        "control_join_s": round(ended_s - copied_s, 2),
    }


def measure(dsn: str, size: int, folder: Path) -> dict[str, Any]:
    """Fill a fresh database, then measure ours and the control."""
    path, rows = folder / "day.csv", folder / "day.copy"
    write(path, size)
    with psycopg.connect(dsn, autocommit=True) as connection:
        # The filling is not measured: foreign keys need not be looked up for it.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute(ORDERS.replace("$1", str(size)))
        connection.execute(ATTEMPTS)
        connection.execute(RUN)
        for table in ("orders", "attempt"):
            connection.execute(f"VACUUM ANALYZE {table}")
        connection.execute("CHECKPOINT")
    command = [sys.executable, "-m", "benchmarks.reconciliation", "--one", dsn, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    with psycopg.connect(dsn, autocommit=True) as connection:
        with rows.open("wb") as file, connection.cursor().copy("COPY settlement_line TO STDOUT") as copy:
            for block in copy:
                file.write(block)
        connection.execute("CHECKPOINT")
    measured |= control(dsn, rows)
    measured["times_control"] = round(measured["seconds"] / measured["control_s"], 2)
    return measured


def main() -> None:
    """Measure every size and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconciliation", description=__doc__)
    parser.add_argument("--lines", type=int, action="append", help="how many; may be repeated")
    parser.add_argument("--one", nargs=2, metavar=("DSN", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(uvloop.run(ours(arguments.one[0], Path(arguments.one[1])))))
        return
    share_cores()
    measured = []
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        for size in arguments.lines or SIZES:
            name = f"reconciliation_{size}"
            server.create(name)
            migrate(server.dsn(name), "tallystick.merchant.schema")
            measured.append(measure(server.dsn(name), size, Path(folder)))
            print(measured[-1], file=sys.stderr)
    json.dump({"reconciliation": measured}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
