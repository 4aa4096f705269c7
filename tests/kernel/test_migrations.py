"""Migrations: numbered SQL files, forward only, one transaction each, one migrator at a time."""

import importlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tallystick.kernel import migrations
from tallystick.kernel.migrations import MigrationRefused, current_version, migrate, newest_version
from tallystick.ports.database import DatabaseUnavailable

FIRST = "CREATE TABLE tally (owner_id text PRIMARY KEY); -- 100% text: no placeholder is looked for\n"
SECOND = "ALTER TABLE tally ADD COLUMN notches int NOT NULL DEFAULT 0; INSERT INTO tally VALUES ('m_1', 7);\n"
BROKEN = "CREATE TABLE half (owner_id text PRIMARY KEY); SELECT no_such_function();\n"

Schema = Callable[..., str]


@pytest.fixture
def schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Schema:
    """Makes a schema package of the given files and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    numbers = itertools.count(1)

    def make(**files: str) -> str:
        name = f"schema_under_test_{next(numbers)}"
        (tmp_path / name).mkdir()
        for file_name, text in files.items():
            (tmp_path / name / f"{file_name.removeprefix('v')}.sql").write_text(text)
        importlib.invalidate_caches()
        return name

    return make


def fetch(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def test_an_empty_database_comes_to_the_newest_version(empty_dsn: str, schema: Schema) -> None:
    package = schema(v0001_first=FIRST, v0002_notches=SECOND)
    assert current_version(empty_dsn) == "0000"
    assert migrate(empty_dsn, package) == newest_version(package) == current_version(empty_dsn) == "0002"
    assert fetch(empty_dsn, "SELECT owner_id, notches FROM tally") == [("m_1", 7)]


def test_migrating_again_does_nothing(empty_dsn: str, schema: Schema) -> None:
    package = schema(v0001_first=FIRST, v0002_notches=SECOND)
    assert [migrate(empty_dsn, package) for _ in range(3)] == ["0002"] * 3
    assert fetch(empty_dsn, "SELECT version_num FROM schema_version") == [("0002",)]


def test_only_the_missing_steps_run(empty_dsn: str, schema: Schema) -> None:
    assert migrate(empty_dsn, schema(v0001_first=FIRST)) == "0001"
    assert migrate(empty_dsn, schema(v0001_first="SELECT no_such_function();", v0002_notches=SECOND)) == "0002"


def test_a_failing_step_leaves_the_steps_before_it_and_nothing_of_its_own(empty_dsn: str, schema: Schema) -> None:
    with pytest.raises(Exception, match="no_such_function"):
        migrate(empty_dsn, schema(v0001_first=FIRST, v0002_broken=BROKEN))
    assert current_version(empty_dsn) == "0001"
    assert fetch(empty_dsn, "SELECT to_regclass('tally')::text, to_regclass('half')::text") == [("tally", None)]
    assert migrate(empty_dsn, schema(v0001_first=FIRST, v0002_notches=SECOND)) == "0002"


def test_eight_migrators_at_once_run_every_step_once(empty_dsn: str, schema: Schema) -> None:
    package = schema(v0001_first=FIRST, v0002_notches=SECOND)
    versions: list[str] = []
    threads = [threading.Thread(target=lambda: versions.append(migrate(empty_dsn, package))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == ["0002"] * 8


def test_a_migrator_waits_for_the_lock_of_another(empty_dsn: str, schema: Schema) -> None:
    package = schema(v0001_first=FIRST)
    with psycopg.connect(empty_dsn) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [migrations.MIGRATOR_LOCK])
        thread = threading.Thread(target=migrate, args=(empty_dsn, package))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert current_version(empty_dsn) == "0000"
    thread.join()
    assert current_version(empty_dsn) == "0001"


def test_a_database_newer_than_the_code_is_refused(empty_dsn: str, schema: Schema) -> None:
    migrate(empty_dsn, schema(v0001_first=FIRST, v0002_notches=SECOND))
    with pytest.raises(MigrationRefused, match="0002, newer than this program's 0001"):
        migrate(empty_dsn, schema(v0001_first=FIRST))
    assert current_version(empty_dsn) == "0002"


def test_where_no_server_answers_the_database_is_unavailable(tmp_path: Path, schema: Schema) -> None:
    with pytest.raises(DatabaseUnavailable):
        migrate(f"postgresql://postgres@/nothing?host={tmp_path}", schema(v0001_first=FIRST))


@pytest.mark.parametrize("file_name", ["v0002_gap", "v0001_Upper", "v1_short"])
def test_file_names_are_numbers_without_gaps(empty_dsn: str, schema: Schema, file_name: str) -> None:
    with pytest.raises(MigrationRefused, match="expected 0001"):
        migrate(empty_dsn, schema(**{file_name: FIRST}))


@pytest.mark.parametrize("service", ["gateway", "merchant"])
def test_the_services_schemas_migrate_from_nothing(empty_dsn: str, service: str) -> None:
    package = f"tallystick.{service}.schema"
    assert migrate(empty_dsn, package) == newest_version(package) != "0000"
