"""The databases that seeds run on: copies of two migrated templates, a pair for each process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tallystick.kernel.migrations import migrate
from tallystick.ports.postgres import EmbeddedPostgres, create_databases
from tallystick.ports.synchronous import SynchronousConnection

SCHEMAS: Final[Mapping[str, str]] = {"gateway": "tallystick.gateway.schema", "merchant": "tallystick.merchant.schema"}

_NO_VACUUM: Final = """
DO $$ DECLARE t regclass; BEGIN
  FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace NOT IN (
           'pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
  LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', t); END LOOP; END $$"""

# What is due is asked after each commit (`due.py`); in a long seed that would walk tables of thousands of rows.
_INDEX_TIMES: Final = """
DO $$ DECLARE c record; BEGIN
  FOR c IN SELECT a.attrelid::regclass AS place, a.attname FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
            WHERE t.relkind = 'r' AND a.atttypid = 'timestamptz'::regtype AND a.attnum > 0 AND NOT a.attisdropped
              AND t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  LOOP EXECUTE format('CREATE INDEX ON %s (%I)', c.place, c.attname); END LOOP; END $$"""


@contextmanager
def databases(pairs: int, dsn: str | None = None) -> Iterator[list[dict[str, str]]]:
    """DSNs by service, `pairs` times: on a server of our own in a temporary folder, or on the one that `dsn` names."""
    if dsn is not None:
        yield _made(dsn, pairs)
        return
    with TemporaryDirectory(prefix="tallystick-") as folder:
        server = EmbeddedPostgres(Path(folder), fast_and_unsafe=True)
        with server:
            yield _made(server.dsn(), pairs)


def _made(dsn: str, pairs: int) -> list[dict[str, str]]:
    made: list[dict[str, str]] = [{} for _ in range(pairs)]
    for service, schema in SCHEMAS.items():
        template = f"tallystick_simulation_{service}"
        _drop(dsn, template)
        create_databases(dsn, [template])
        migrate(_named(dsn, template), schema)
        connection = SynchronousConnection(_named(dsn, template), {})
        connection.command(_NO_VACUUM)  # it would hold locks when it likes, and a seed would not replay
        connection.command(_INDEX_TIMES)
        connection.close()
        for number, pair in enumerate(made, start=1):
            name = f"{template}_{number}"
            _drop(dsn, name)
            create_databases(dsn, [name], template=template)
            pair[service] = _named(dsn, name)
    return made


def _drop(dsn: str, name: str) -> None:
    connection = SynchronousConnection(dsn, {})
    connection.command(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    connection.close()


def _named(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
