"""Databases are handed from test to test: what one test leaves must never be seen by the next."""

from typing import Any

import psycopg
import pytest

A_MERCHANT = b"INSERT INTO merchant (merchant_id, name, created_at) VALUES ('mer_1', 'Shop', '2026-11-23Z')"
A_CUSTOMER = b"INSERT INTO pii.customer (merchant_id, customer_id, created_at) VALUES ('mer_1', 'cus_1', '2026-11-23Z')"
ALL_ROWS = b"SELECT (SELECT count(*) FROM merchant) + (SELECT count(*) FROM pii.customer)"


def rows_in(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(ALL_ROWS).fetchone()
        assert row is not None
        return int(row[0])


def test_rows_are_gone_and_what_migrations_wrote_stays(merchant_supply: Any) -> None:
    with merchant_supply.database() as first, psycopg.connect(first) as connection:
        connection.execute(A_MERCHANT)
        connection.execute(A_CUSTOMER)
    with merchant_supply.database() as second:
        assert second == first
        assert rows_in(second) == 0
        with psycopg.connect(second) as connection:
            assert connection.execute("SELECT count(*) FROM schema_version").fetchone() == (1,)


def test_a_connection_that_was_left_open_is_ended_with_its_locks(merchant_supply: Any) -> None:
    with merchant_supply.database() as first:
        left = psycopg.connect(first)
        left.execute("LOCK TABLE merchant")
        left.execute(A_MERCHANT)
    with merchant_supply.database() as second:
        assert second == first
        assert rows_in(second) == 0
    with pytest.raises(psycopg.OperationalError):
        left.execute(ALL_ROWS)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE extra ()",
        "ALTER TABLE merchant ADD extra int",
        "DROP TABLE inbox",
        "CREATE INDEX ON merchant (name)",
    ],
)
def test_a_database_whose_schema_was_changed_is_not_handed_on(merchant_supply: Any, change: str) -> None:
    with merchant_supply.database() as first, psycopg.connect(first) as connection:
        connection.execute(change.encode())
    with merchant_supply.database() as second:
        assert second != first
