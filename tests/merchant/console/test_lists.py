"""Each list of orders is read by the index that is made for it, newest first, whatever is stored (RULES §13)."""

import re
from typing import Any

import psycopg
import pytest

from tallystick.merchant.console.merchants import SQL
from tallystick.ports.database import SESSION_SETTINGS, Statement

INDEXES = {
    "newest_orders": "orders_pkey",
    "looked_through_to": "orders_pkey",
    "orders_by_reference": "orders_by_reference",
    "orders_by_amount": "orders_by_amount",
    "orders_of_customer": "orders_of_customer",
    "orders_with_attention": "orders_with_attention",
}
ROWS = 20_000


@pytest.fixture
def full_dsn(merchant_dsn: str) -> str:
    """A merchant's database in which one merchant has many orders, as a shop does."""
    with psycopg.connect(merchant_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO orders (merchant_id, order_id, connection_id, reference, customer_id, amount_minor, currency,"
            " ui_mode, ttl_s, declines_max, state, fulfilment, keeper, attempt_newest, created_at, expires_at,"
            " updated_at)"
            " SELECT 'mer_plans', 'ord_' || lpad(n::text, 9, '0'), 'con', 'r' || n, 'cus_' || n / 20, 1 + n %% 500,"
            " 'EUR', 'hosted', 1800, 3, 'PAID', 'allowed', 1, 1, t, t, t"
            " FROM generate_series(1, %s::int) AS n, (VALUES (timestamptz '2026-01-01T00:00:00Z')) AS at(t)",
            (ROWS,),
        )
        connection.execute("ANALYZE orders")
    return merchant_dsn


def test_a_list_goes_by_its_index(full_dsn: str) -> None:
    by_name = {each.name: each for each in SQL}
    for name, index in INDEXES.items():
        goes_by(full_dsn, by_name[name], index)


def goes_by(dsn: str, statement: Statement, index: str) -> None:
    """Look at the statement's plan as a service's session makes it."""
    parameters = max(int(number) for number in re.findall(r"\$(\d+)", statement.text))
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in ("plan_cache_mode", "random_page_cost", "enable_seqscan"):
            connection.execute(f"SET {name} = '{SESSION_SETTINGS[name]}'")
        connection.execute(f"PREPARE it AS {statement.text}".encode())
        nulls = ", ".join(["NULL"] * parameters)
        row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE it({nulls})".encode()).fetchone()
    assert row is not None
    scans = [node for node in _nodes(row[0][0]["Plan"]) if node.get("Relation Name") == "orders"]
    assert [node["Index Name"] for node in scans] == [index], statement.name
    assert "Sort" not in {node["Node Type"] for node in _nodes(row[0][0]["Plan"])}, "the index gives the order too"


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", ()) for node in _nodes(below))]
