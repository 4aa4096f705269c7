"""A statement finds its rows by their own ids from the first day on, never by walking all rows of a merchant.

PostgreSQL keeps the plan that it made on the empty tables, so the plans of a fresh database are looked at here; of the
webhooks' look-up also that of one whose tables autovacuum has found empty.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tallystick.kernel.idempotency.engine import SQL as IDEMPOTENCY
from tallystick.kernel.migrations import migrate
from tallystick.merchant.checkout.drafts import SQL as CHECKOUT
from tallystick.merchant.expiry.worker import SQL as EXPIRY
from tallystick.merchant.intake.commands import SQL as INTAKE
from tallystick.merchant.late_money.worker import SQL as LATE_MONEY
from tallystick.merchant.notifications.listeners import SQL as NOTIFICATIONS
from tallystick.merchant.orders.apply import SQL as ORDERS
from tallystick.merchant.polling.commands import SQL as POLLING
from tallystick.ports.database import SESSION_SETTINGS, Statement

BIG = {"orders", "attempt", "timeline", "inbox", "idempotency_key", "customer", "message", "delivery"}
FEW = ("one_live", "due", "unapplied")  # indexes that hold only what is not finished: they may be walked
OWNERS = {"merchant_id", "owner_id", "mode", "connection_id"}
PAGES = {"list_orders", "list_timeline"}  # a page of all that an owner or an order has: by the owner, in order, limited
# The planner takes JSON for a hundred rows, for which it walks a small table once; after the first ANALYZE it does not.
WALKS_SMALL_TABLES = {"save_changes"}
STATEMENTS = [
    *(statement for statement in ORDERS if statement.name not in PAGES | WALKS_SMALL_TABLES),
    *CHECKOUT,
    *EXPIRY,
    *INTAKE,
    *POLLING,
    *(statement for statement in IDEMPOTENCY if statement.name not in ("reap", "oldest_key")),
    *LATE_MONEY,
    *(statement for statement in NOTIFICATIONS if statement.name != "listeners_of"),
]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def columns_in(condition: str) -> set[str]:
    """The columns that an index condition compares."""
    return set(re.findall(r"\b([a-z_]+) (?:=|<=|>=|<|>) ", condition)) | set(
        re.findall(r"\b([a-z_]+)(?:, |\) (?:=|<=|>=|<|>) )", condition)
    )


@pytest.mark.parametrize("statement", STATEMENTS, ids=[statement.name for statement in STATEMENTS])
def test_no_statement_walks_all_rows_of_a_merchant(merchant_dsn: str, statement: Statement) -> None:
    goes_by_ids(merchant_dsn, statement)


def test_webhooks_are_looked_up_by_their_ids_also_where_autovacuum_found_the_tables_empty(empty_dsn: str) -> None:
    migrate(empty_dsn, "tallystick.merchant.schema")
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")
    goes_by_ids(empty_dsn, INTAKE.look_up)


def goes_by_ids(dsn: str, statement: Statement) -> None:
    """Look at the statement's plan as a service's session makes it."""
    parameters = max((int(number) for number in re.findall(r"\$(\d+)", statement.text)), default=0)
    nulls = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in ("plan_cache_mode", "random_page_cost", "enable_seqscan"):
            connection.execute(f"SET {name} = '{SESSION_SETTINGS[name]}'")
        connection.execute(f"PREPARE it AS {statement.text}".encode())
        row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE it{nulls}".encode()).fetchone()
    assert row is not None
    for node in nodes(row[0][0]["Plan"]):
        if node.get("Relation Name") not in BIG or node["Node Type"] in ("ModifyTable", "Bitmap Heap Scan"):
            continue
        assert node["Node Type"] != "Seq Scan", node
        if not any(few in node["Index Name"] for few in FEW):
            assert columns_in(node["Index Cond"]) - OWNERS, node
