"""Bringing a service's schema up to date: plain SQL files, run in the order of their numbers by Alembic.

A service's `schema/` folder holds `0001_first.sql`, `0002_….sql`, …: forward only, each safe while the version before
still runs, never changed once released. Every file is one transaction together with the record that it ran (table
`schema_version`). Two migrators do not race: the second waits for an advisory lock and then finds nothing to do.

After the files come the privileges (kernel/grants.py): the folder's `grants.sql`, each time anew.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from types import ModuleType
from typing import Any

import psycopg
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap
from sqlalchemy import Connection, NullPool, create_engine

from tallystick.kernel.grants import GRANTS_FILE, OWNER, Grant, apply_grants, read_grants, roles_missing, tables_owner
from tallystick.kernel.privileges import Differences, differences
from tallystick.ports.database import DatabaseUnavailable

VERSION_TABLE = "schema_version"
MIGRATOR_LOCK = 0x7461_6C6C_7973  # "tallys": the advisory lock of whoever migrates this database
MIGRATOR_WAIT_S = 120  # how long a migrator waits for another one
TABLE_LOCK_WAIT_S = 10  # a step that cannot lock its table gives up, because all other statements queue behind it

_FILE_NAME = re.compile(r"^(?P<number>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql$")


class MigrationRefused(Exception):
    """The schema cannot be brought up to date; the text says why."""


def migrate(dsn: str, schema_package: str) -> str:
    """Bring the database behind `dsn` to the newest version of `schema_package`; idempotent.

    The package is a name such as `tallystick.gateway.schema`. Gives the version, the number of the last file.
    Raises MigrationRefused when the database is newer than the code or belongs to another role,
    DatabaseUnavailable when no server answers.
    """
    steps, grants = _steps(schema_package), _grants(schema_package)
    with _connected(dsn) as connection:
        connection.exec_driver_sql(f"SET lock_timeout = '{MIGRATOR_WAIT_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATOR_LOCK})")
        connection.exec_driver_sql(f"SET lock_timeout = '{TABLE_LOCK_WAIT_S}s'")
        connection.commit()
        _refuse_newer(connection, steps)
        _refuse_foreign(connection)
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "transaction_per_migration": True,
                "fn": lambda current, _: steps._upgrade_revs("head", current),
            },
        )
        with Operations.context(context), context.begin_transaction():
            context.run_migrations(connection=connection)
        connection.rollback()
        with connection.begin():
            apply_grants(connection, grants)
        return _version(connection) or "0000"


def missing_roles(dsn: str, schema_package: str) -> list[str] | None:
    """The roles that the server behind `dsn` has not got, of those that the privileges of `schema_package` name.

    None where the tables belong to another role than `tallystick_owner`: one role does everything there.
    """
    with _connected(dsn) as connection:
        if tables_owner(connection) != OWNER:
            return None
        return roles_missing(connection, _grants(schema_package))


def differing_privileges(dsn: str, schema_package: str) -> list[Differences] | None:
    """What each role of ours may do in the database behind `dsn` and should not, and should and may not.

    None where the tables belong to another role than `tallystick_owner`: one role does everything there.
    """
    with _connected(dsn) as connection:
        return differences(connection, _grants(schema_package))


def newest_version(schema_package: str) -> str:
    """The version that the code is written for."""
    return _steps(schema_package).get_current_head() or "0000"


def current_version(dsn: str) -> str:
    """The version of the database behind `dsn`; 0000 where nothing was ever migrated."""
    with _connected(dsn) as connection:
        return _version(connection) or "0000"


def _refuse_newer(connection: Connection, steps: ScriptDirectory) -> None:
    version = _version(connection)
    connection.rollback()
    known = {step.revision for step in steps.walk_revisions()}
    if version is not None and version not in known:
        raise MigrationRefused(
            f"the database has schema version {version}, newer than this program's {max(known, default='0000')}: "
            "run the newer program"
        )


def _refuse_foreign(connection: Connection) -> None:
    owner, role = tables_owner(connection), connection.exec_driver_sql("SELECT current_user").scalar_one()
    connection.rollback()
    if owner == OWNER != role:
        raise MigrationRefused(
            f"the tables belong to {OWNER}, and {role} may not migrate them: "
            "give the owner's DSN, TALLYSTICK_GATEWAY_OWNER_DSN or TALLYSTICK_MERCHANT_OWNER_DSN"
        )


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _steps(schema_package: str) -> ScriptDirectory:
    """The SQL files of the package as Alembic's revisions, each following the one before it."""
    found = sorted(
        (entry.name, entry)
        for entry in files(schema_package).iterdir()
        if entry.name.endswith(".sql") and entry.name != GRANTS_FILE
    )
    scripts = []
    previous: str | None = None
    for expected, (file_name, entry) in enumerate(found, start=1):
        match = _FILE_NAME.match(file_name)
        if match is None or int(match["number"]) != expected:
            raise MigrationRefused(f"{schema_package}: expected {expected:04d}_….sql, found {file_name}")
        scripts.append(_script(match["number"], previous, file_name, entry.read_text(encoding="utf-8")))
        previous = match["number"]
    directory = ScriptDirectory(".")
    directory.revision_map = RevisionMap(lambda: scripts)
    return directory


def _grants(schema_package: str) -> list[Grant]:
    entry = files(schema_package) / GRANTS_FILE
    return read_grants(entry.read_text(encoding="utf-8")) if entry.is_file() else []


def _script(number: str, previous: str | None, file_name: str, sql: str) -> Script:
    def upgrade(connection: Connection) -> None:
        connection.execution_options(no_parameters=True).exec_driver_sql(sql)

    module: Any = ModuleType(f"migration_{number}")
    module.revision, module.down_revision, module.upgrade = number, previous, upgrade
    module.__doc__ = file_name
    return Script(module, number, file_name)


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    try:
        session = psycopg.connect(dsn)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(type(error).__name__) from error
    engine = create_engine("postgresql+psycopg://", creator=lambda: session, poolclass=NullPool)
    with session, engine.connect() as connection:
        yield connection
