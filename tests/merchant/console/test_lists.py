"""Each list of orders is read by the index that is made for it, newest first, whatever is stored (RULES §13)."""

from typing import Any

import psycopg
import pytest
from psycopg import sql

from tallystick.merchant.console.merchants import SQL
from tallystick.merchant.console.orders import INDEXED, LOOKED_THROUGH_MAX, PAGE_ROWS
from tallystick.ports.database import SESSION_SETTINGS

INDEXES = ["orders_by_reference", "orders_by_amount", "orders_of_customer", "orders_with_attention", "orders_pkey"]
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


def test_each_list_goes_by_its_index_and_no_other(full_dsn: str) -> None:
    for by, index in zip((*INDEXED, "order_id"), INDEXES, strict=True):
        scans = [node for node in plan(full_dsn, by) if node.get("Relation Name") == "orders"]
        assert [node["Index Name"] for node in scans] == INDEXES, "each thing has a branch"
        assert [node["Index Name"] for node in scans if node["Actual Loops"]] == [index], by


def plan(dsn: str, by: str) -> list[dict[str, Any]]:
    """The nodes of the plan as a service's session makes it, run for what the index `by` finds."""
    asked = [by, "r7", "EUR", 7, "cus_7", False, None, None, LOOKED_THROUGH_MAX, PAGE_ROWS + 1]
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in ("plan_cache_mode", "random_page_cost", "enable_seqscan"):
            connection.execute(f"SET {name} = '{SESSION_SETTINGS[name]}'")
        connection.execute(f"PREPARE it AS {SQL.orders_shown.text}".encode())
        given = ", ".join(str(sql.Literal(each).as_string()) for each in ("mer_plans", "ord_~", "ord", *asked))
        row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE it({given})".encode()).fetchone()
    assert row is not None
    found = _nodes(row[0][0]["Plan"])
    assert "Sort" not in {node["Node Type"] for node in found}, "the index gives the order too"
    return found


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", ()) for node in _nodes(below))]
