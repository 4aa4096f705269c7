"""A statement finds its rows by their own ids from the first day on, never by walking all rows of an account.

PostgreSQL keeps the plan that it made on the empty tables, so the plans of a fresh database are looked at here.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tallystick.gateway.checkout.commands import SQL as CHECKOUT
from tallystick.gateway.console.desk import SQL as CONSOLE
from tallystick.gateway.payments.records import SQL as PAYMENTS
from tallystick.kernel.idempotency.engine import SQL as IDEMPOTENCY
from tallystick.ports.database import SESSION_SETTINGS, Statement

BIG = {"payment_intent", "checkout_session", "charge", "acquirer_request", "payment_method", "idempotency_key"}
OWNERS = {"account_id", "livemode", "owner_id", "mode"}
STATEMENTS = [*PAYMENTS, *CHECKOUT, *CONSOLE, IDEMPOTENCY.find_keys, IDEMPOTENCY.finish, IDEMPOTENCY.record_recovery]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def columns_in(condition: str) -> set[str]:
    """The columns that an index condition compares."""
    return set(re.findall(r"\(*(?:ROW\()?([a-z_]+)\b(?=[^=<>(]* (?:=|<|>))", condition)) | set(
        re.findall(r"\(([a-z_]+) (?:=|<=|>=|<|>)", condition)
    )


@pytest.mark.parametrize("statement", STATEMENTS, ids=[statement.name for statement in STATEMENTS])
def test_no_statement_walks_all_rows_of_an_account(gateway_dsn: str, statement: Statement) -> None:
    parameters = max((int(number) for number in re.findall(r"\$(\d+)", statement.text)), default=0)
    nulls = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    with psycopg.connect(gateway_dsn, autocommit=True) as connection:
        for name in ("plan_cache_mode", "random_page_cost", "enable_seqscan"):
            connection.execute(f"SET {name} = '{SESSION_SETTINGS[name]}'")
        connection.execute(f"PREPARE it AS {statement.text}".encode())
        row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE it{nulls}".encode()).fetchone()
    assert row is not None
    for node in nodes(row[0][0]["Plan"]):
        if node.get("Relation Name") not in BIG or node["Node Type"] in ("ModifyTable", "Bitmap Heap Scan"):
            continue
        assert node["Node Type"] != "Seq Scan", node
        if "Index Cond" not in node:
            assert "open" in node["Index Name"] or "due" in node["Index Name"], node  # the few rows of a partial index
        else:
            assert columns_in(node["Index Cond"]) - OWNERS, node
