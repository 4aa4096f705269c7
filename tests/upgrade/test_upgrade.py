"""Databases that earlier versions wrote still open: each is restored, migrated to head, and has every row."""

import json
import subprocess
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tallystick.gateway.invariants.rules import RULES
from tallystick.gateway.settlement.closing import Closing
from tallystick.kernel.migrations import current_version, migrate, newest_version
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.postgres import binary

RELEASED: tuple[str, ...] = ("0.1.0",)  # the folders beside this file, oldest first; never shorter than it was

FOLDER = Path(__file__).parent
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
PURSES = "SELECT account_id, livemode, currency FROM balance_account WHERE next_day IS NOT NULL"
LEFT = (
    "SELECT count(*) AS transactions FROM ledger_transaction t WHERE kind = 'charge' AND NOT EXISTS"
    " (SELECT FROM settlement_line l"
    " WHERE (l.account_id, l.livemode, l.ledger_transaction) = (t.account_id, t.livemode, t.id))"
)


def restore(dsn: str, dump: str) -> None:
    # A setting that PostgreSQL 15 and 16 do not know; they must be able to read what 18 dumped.
    lines = [line for line in dump.splitlines(keepends=True) if not line.startswith("SET transaction_timeout")]
    subprocess.run(
        [str(binary("psql")), "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname", dsn],
        input="".join(lines),
        check=True,
        capture_output=True,
        text=True,
    )


def test_every_released_version_is_kept_and_nothing_else() -> None:
    assert {path.name for path in FOLDER.iterdir() if (path / "rows.json").exists()} == set(RELEASED)


@pytest.mark.parametrize("service", ["gateway", "merchant"])
@pytest.mark.parametrize("version", RELEASED)
def test_a_database_of_an_earlier_version_migrates_to_head(empty_dsn: str, version: str, service: str) -> None:
    rows: dict[str, int] = json.loads((FOLDER / version / "rows.json").read_text(encoding="utf-8"))[service]
    assert sum(rows.values()) > 10
    restore(empty_dsn, (FOLDER / version / f"{service}.sql").read_text(encoding="utf-8"))
    assert migrate(empty_dsn, f"tallystick.{service}.schema") == newest_version(f"tallystick.{service}.schema")
    assert current_version(empty_dsn) == newest_version(f"tallystick.{service}.schema")
    with psycopg.connect(empty_dsn) as connection:
        for table, count in rows.items():
            row = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(*table.split(".")))).fetchone()
            assert row == (count,), f"{table}: {row} rows where there were {count}"


@pytest.mark.parametrize("service", ["gateway", "merchant"])
def test_what_is_dumped_can_be_restored(empty_dsn: str, service: str, request: pytest.FixtureRequest) -> None:
    """The way itself, on today's empty schema: dump, restore, nothing to migrate."""
    dsn = request.getfixturevalue(f"{service}_dsn")
    command = [str(binary("pg_dump")), "--no-owner", "--no-privileges", "--dbname", dsn]
    restore(empty_dsn, subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert current_version(empty_dsn) == newest_version(f"tallystick.{service}.schema")


@pytest.mark.parametrize("version", RELEASED)
async def test_the_days_of_an_earlier_version_are_closed(empty_dsn: str, version: str) -> None:
    """RULES §10: what an earlier version posted stands in a report, and the rules that are always checked hold."""
    restore(empty_dsn, (FOLDER / version / "gateway.sql").read_text(encoding="utf-8"))
    migrate(empty_dsn, "tallystick.gateway.schema")
    database, clock = await open_database(empty_dsn), SystemClock()
    try:
        closing, purses = Closing(database, clock, SystemEntropy()), Statement("of_a_test", PURSES)
        owned = [(row["account_id"], row["livemode"], row["currency"]) for row in await database.rows(purses)]
        for purse in owned:
            while await closing.close(purse, by_hand=True):
                pass
        assert owned
        [left] = await database.rows(Statement("of_a_test", LEFT))
        assert left["transactions"] == 0
        for rule, account_id in product(RULES, {purse[0] for purse in owned}):
            found = await database.rows(rule.statement, *rule.parameters(account_id, BEGINNING, clock.now()))
            assert [rule.violation(row) for row in found] == []
    finally:
        await database.close()
