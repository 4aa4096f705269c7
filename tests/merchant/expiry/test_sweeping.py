"""RULES §8: no attempt was ever created → EXPIRED at once; a million due orders drain without holding memory."""

from datetime import timedelta
from typing import Any

import pytest

from tallystick.merchant.expiry import sweeping
from tallystick.merchant.expiry.sweeping import Sweeper
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any

INSERT = Statement(
    "x",
    """
INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max,
                    created_at, expires_at, due_at, updated_at)
SELECT $1::text, $2::text || n, 'con', 2500, 'EUR', 'hosted', 1800, 3,
       $3::timestamptz, $3::timestamptz, $3::timestamptz, $3::timestamptz
  FROM generate_series(1, $4::int) AS n
""",
)


async def states(database: Database) -> dict[str, int]:
    rows = await database.rows(Statement("x", "SELECT state, count(*)::int AS n FROM orders GROUP BY state ORDER BY 1"))
    return {row["state"]: row["n"] for row in rows}


async def test_orders_that_nobody_tried_to_pay_expire_at_once(stage: Stage) -> None:
    """RULES §8; the timeline says so, and the API shows the order as any other."""
    clock = SystemClock()
    order_id = f"ord_{stage.merchant_id.removeprefix('mer_')}{'0' * 24}"
    await stage.database.execute(INSERT, stage.merchant_id, order_id, clock.now() - timedelta(minutes=1), 1)
    await stage.database.execute(INSERT, stage.merchant_id, "ord_later", clock.now() + timedelta(minutes=1), 1)
    sweeper = Sweeper(stage.database, clock, Outbox(clock, SystemEntropy()))
    assert [await sweeper.run_once(), await sweeper.run_once()] == [1, 0]
    order = await stage.order(f"{order_id}1")
    assert (order["state"], order["fulfilment"], order["attempts"]) == ("EXPIRED", "none", [])
    [row] = await stage.timeline(f"{order_id}1")
    assert (row["source"], row["fact"], row["state_before"], row["state_after"]) == (
        "expiry",
        {"fact": "closed", "reason": "expired"},
        "PENDING",
        "EXPIRED",
    )
    assert await states(stage.database) == {"EXPIRED": 1, "PENDING": 1}


async def test_many_drain_in_batches_of_one_statement(
    merchant_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes in behind the place of the drain is found in the next round."""
    monkeypatch.setattr(sweeping, "BATCH_ORDERS", 100)
    clock = SystemClock()
    await merchant_database.execute(INSERT, "mer_b", "ord_", clock.now() - timedelta(minutes=1), 250)
    sweeper = Sweeper(merchant_database, clock, Outbox(clock, SystemEntropy()))
    assert await sweeper.run_once() == 100
    await merchant_database.execute(INSERT, "mer_a", "ord_", clock.now() - timedelta(minutes=2), 5)
    assert [await sweeper.run_once() for _ in range(4)] == [100, 50, 5, 0]
    assert await states(merchant_database) == {"EXPIRED": 255}
    rows = await merchant_database.rows(Statement("x", "SELECT count(*)::int AS n FROM timeline"))
    assert rows[0]["n"] == 255


async def test_an_order_that_changed_meanwhile_is_left_alone(
    merchant_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read without a lock, ended only as it was read."""
    clock = SystemClock()
    await merchant_database.execute(INSERT, "mer_a", "ord_", clock.now() - timedelta(minutes=1), 2)
    rows = await merchant_database.rows(sweeping.SQL.due_orders, clock.now(), *sweeping.START, sweeping.BATCH_ORDERS)
    await merchant_database.execute(Statement("x", "UPDATE orders SET version = 7 WHERE order_id = 'ord_1'"))
    seen = [[row[name] for row in rows] for name in ("merchant_id", "order_id", "version")]
    ended = await merchant_database.rows(sweeping.SQL.expire_orders, clock.now(), *seen, sweeping.FACTS, sweeping.FACT)
    assert [row["order_id"] for row in ended] == ["ord_2"]
    assert await states(merchant_database) == {"EXPIRED": 1, "PENDING": 1}
