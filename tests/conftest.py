"""What every test may ask for: a fresh database of either service on a real PostgreSQL, a browser, Node.

The server is the embedded one, started once per run in a temporary folder. TALLYSTICK_TEST_DSN names another server
to use instead (PostgreSQL 15 or newer, a role that may create databases).
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tallystick.kernel.migrations import migrate
from tallystick.ports.database import Database, open_database
from tallystick.ports.postgres import EmbeddedPostgres, create_databases, require_supported_server

IN_CI = os.environ.get("CI") == "true"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_numbers = count(1)
_missing: dict[str, str] = {}  # what could not be had, and the line that says so at the end


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A DSN of the server's `postgres` database, to create databases by."""
    given = os.environ.get("TALLYSTICK_TEST_DSN")
    if given:
        require_supported_server(given)
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-") as folder,
        EmbeddedPostgres(folder, fast_and_unsafe=True) as server,
    ):
        yield server.dsn()


@pytest.fixture(scope="session")
def gateway_template(postgres_dsn: str) -> Iterator[str]:
    """The name of a migrated gateway database that tests copy."""
    with _database(postgres_dsn, "gateway_template") as name:
        migrate(_with_database(postgres_dsn, name), "tallystick.gateway.schema")
        yield name


@pytest.fixture(scope="session")
def merchant_template(postgres_dsn: str) -> Iterator[str]:
    """The name of a migrated merchant database that tests copy."""
    with _database(postgres_dsn, "merchant_template") as name:
        migrate(_with_database(postgres_dsn, name), "tallystick.merchant.schema")
        yield name


@pytest.fixture
def empty_dsn(postgres_dsn: str) -> Iterator[str]:
    """A fresh database without any table."""
    with _database(postgres_dsn, "empty") as name:
        yield _with_database(postgres_dsn, name)


@pytest.fixture
def gateway_dsn(postgres_dsn: str, gateway_template: str) -> Iterator[str]:
    """A fresh gateway database, migrated to head."""
    with _database(postgres_dsn, "gateway", gateway_template) as name:
        yield _with_database(postgres_dsn, name)


@pytest.fixture
def merchant_dsn(postgres_dsn: str, merchant_template: str) -> Iterator[str]:
    """A fresh merchant database, migrated to head."""
    with _database(postgres_dsn, "merchant", merchant_template) as name:
        yield _with_database(postgres_dsn, name)


@pytest.fixture
async def gateway_database(gateway_dsn: str) -> AsyncIterator[Database]:
    """The gateway's database behind the port, asyncpg."""
    database = await open_database(gateway_dsn)
    yield database
    await database.close()


@pytest.fixture
async def merchant_database(merchant_dsn: str) -> AsyncIterator[Database]:
    """The merchant's database behind the port, asyncpg."""
    database = await open_database(merchant_dsn)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium or Chrome. Skips where there is none, with a loud line at the end; fails in CI."""
    found = next((path for path in map(shutil.which, CHROMIUM_NAMES) if path), None) or _playwrights_chromium()
    return found or _cannot_be_had("BROWSER TESTS SKIPPED: no Chromium or Chrome here; `apt-get install chromium`")


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js, with npm beside it. Skips where there is none, with a loud line at the end; fails in CI."""
    found = shutil.which("node") if shutil.which("npm") else None
    return found or _cannot_be_had("NODE TESTS SKIPPED: no Node.js with npm here; `apt-get install nodejs npm`")


def _playwrights_chromium() -> str | None:
    browsers = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next((str(path) for path in sorted(browsers.glob("chromium-*/chrome-linux*/chrome"))), None)


def _cannot_be_had(line: str) -> str:
    if IN_CI:
        pytest.fail(line.replace("SKIPPED", "CANNOT RUN"))
    _missing[line] = line
    pytest.skip(line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line for every kind of test that could not run here."""
    for line in _missing:
        terminalreporter.write_line(f"!!! {line}", red=True, bold=True)


def _with_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@contextmanager
def _database(postgres_dsn: str, purpose: str, template: str | None = None) -> Iterator[str]:
    """A database for the length of a `with` block, copied from `template` where one is given."""
    name = f"tallystick_test_{os.getpid()}_{purpose}_{next(_numbers)}"
    create_databases(postgres_dsn, [name], template=template)
    try:
        yield name
    finally:
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
