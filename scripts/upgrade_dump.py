"""Keeps what this version writes: `make upgrade-dump ARGS=NAME` makes tests/upgrade/NAME (see the README there)."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from tallystick.ports.postgres import EmbeddedPostgres, binary

UPGRADES = Path(__file__).parent.parent / "tests" / "upgrade"
SERVICES = ("gateway", "merchant")
DEMO_S = 300  # the shoppers are done long before
SECRET = re.compile(rb"whsec_[A-Za-z0-9+/=_-]+")  # no secret is committed, not even that of a demo


def main(name: str) -> None:
    """Run the demo once in a temporary folder and dump its two databases."""
    target = UPGRADES / name
    target.mkdir()
    with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
        command = [str(Path(sys.executable).with_name("tallystick")), "demo", "--once", "--data-dir", folder]
        subprocess.run(command, check=True, timeout=DEMO_S)
        [version] = Path(folder).rglob("cluster/PG_VERSION")
        with EmbeddedPostgres(version.parent.parent) as server:
            counts = {
                service: dump(server.dsn(f"tallystick_{service}"), target / f"{service}.sql") for service in SERVICES
            }
    (target / "rows.json").write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    print(f"{target}: {sum(sum(tables.values()) for tables in counts.values())} rows")


def dump(dsn: str, path: Path) -> dict[str, int]:
    """Write the database to `path`; gives the number of rows of every table."""
    command = [str(binary("pg_dump")), "--no-owner", "--no-privileges", "--restrict-key=tallystick", "--dbname", dsn]
    written = subprocess.run(command, check=True, capture_output=True).stdout
    path.write_bytes(SECRET.sub(b"whsec_of_a_demo_that_is_gone", written))
    return count_rows(dsn)


def count_rows(dsn: str) -> dict[str, int]:
    """How many rows every table has."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            " ORDER BY schemaname, tablename"
        ).fetchall()
        counts = {}
        for schema, table in tables:
            row = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(schema, table))).fetchone()
            assert row is not None
            counts[f"{schema}.{table}"] = int(row[0])
        return counts


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make upgrade-dump ARGS=NAME")
    main(sys.argv[1])
