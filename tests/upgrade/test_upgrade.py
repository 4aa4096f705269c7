"""Databases that earlier versions wrote still open: each is restored, migrated to head, and has every row."""

import json
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tallystick.kernel.migrations import current_version, migrate, newest_version
from tallystick.ports.postgres import binary

RELEASED: tuple[str, ...] = ("0.1.0",)  # the folders beside this file, oldest first; never shorter than it was

FOLDER = Path(__file__).parent


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
