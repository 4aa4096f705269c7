"""The databases of a one-machine installation: given by DSN, or an embedded PostgreSQL that is kept running."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from tallystick.cli.failures import CommandRefused
from tallystick.gateway.settings import read as read_gateway
from tallystick.kernel.migrations import current_version, migrate, newest_version
from tallystick.kernel.settings import SettingsRefused
from tallystick.merchant.settings import read as read_merchant
from tallystick.ports.clock import Clock
from tallystick.ports.postgres import EmbeddedPostgres, PostgresError

DATABASES = {"gateway": "tallystick_gateway", "merchant": "tallystick_merchant"}
DSN_VARIABLES = {"gateway": "TALLYSTICK_GATEWAY_DATABASE_DSN", "merchant": "TALLYSTICK_MERCHANT_DATABASE_DSN"}
SCHEMAS = {"gateway": "tallystick.gateway.schema", "merchant": "tallystick.merchant.schema"}

LOOK_EVERY_S = 0.2  # at a server that ended by itself; within a second it starts again
TRY_AGAIN_S = 2.0  # when it did not come up


class Dsns(Struct, frozen=True):
    """Where the two databases are. Secret where they name a password."""

    gateway: str
    merchant: str

    def __repr__(self) -> str:
        return "Dsns()"


class KeptPostgres:
    """The server in one folder: started, watched, started again, stopped. `say` is told what happens to it."""

    def __init__(self, folder: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self._server = EmbeddedPostgres(folder)
        self._clock = clock
        self._say = say
        self._starting: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> Dsns:
        """Start the server with both databases in it. Raises PostgresError."""
        await self._in_a_thread(self._start)
        self._watch = asyncio.create_task(self._keep(), name="keep PostgreSQL")
        return Dsns(*(self._server.dsn(name) for name in DATABASES.values()))

    async def stop(self) -> None:
        """Stop the server. Call it when what uses it has stopped."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        await asyncio.to_thread(self._server.stop)

    async def _in_a_thread(self, work: Callable[[], None]) -> None:
        """A thread cannot be cancelled: `stop` waits for it instead."""
        self._starting = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.shield(self._starting)

    def _start(self) -> None:
        self._server.start()
        self._server.create_databases(DATABASES.values())

    def _restart(self) -> None:
        self._server.stop()
        self._server.start()

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            if self._server.running:
                continue
            self._say("PostgreSQL ended: starting it again")
            try:
                await self._in_a_thread(self._restart)
            except PostgresError as error:
                self._say(f"PostgreSQL does not start: {error}")
                await self._clock.sleep(TRY_AGAIN_S)


def given_dsns() -> Dsns | None:
    """The DSNs that the settings of both services give, None where neither does. Raises CommandRefused for only one."""
    gateway, merchant = given_dsn("gateway"), given_dsn("merchant")
    if gateway is not None and merchant is not None:
        return Dsns(gateway, merchant)
    if gateway is None and merchant is None:
        return None
    raise CommandRefused(f"set both {' and '.join(DSN_VARIABLES.values())}, or neither")


def given_dsn(service: str) -> str | None:
    """The DSN in a service's settings, None where there is none. Raises SettingsRefused for other faults in them."""
    try:
        return _read_dsn(service, os.environ)
    except SettingsRefused:
        _read_dsn(service, os.environ | {DSN_VARIABLES[service]: "missing"})  # raises where that is not all
        return None


def migrate_all(dsns: Dsns) -> None:
    """Bring both schemas up to date. Raises MigrationRefused."""
    migrate(dsns.gateway, SCHEMAS["gateway"])
    migrate(dsns.merchant, SCHEMAS["merchant"])


def outdated(dsns: Dsns) -> bool:
    """Whether one of the schemas is older than the code."""
    found = {"gateway": dsns.gateway, "merchant": dsns.merchant}
    return any(current_version(dsn) < newest_version(SCHEMAS[service]) for service, dsn in found.items())


def _read_dsn(service: str, environ: Mapping[str, str]) -> str:
    return read_gateway(environ).database_dsn if service == "gateway" else read_merchant(environ).database_dsn
