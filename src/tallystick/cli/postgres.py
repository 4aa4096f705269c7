"""The databases of a one-machine installation: given by DSN, or an embedded PostgreSQL that is kept running."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from tallystick.cli.database_roles import dsn_file, give_roles
from tallystick.cli.failures import CommandRefused
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.gateway.settings import read as read_gateway
from tallystick.kernel.migrations import current_version, migrate, newest_version
from tallystick.kernel.settings import SettingsRefused
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.merchant.settings import read as read_merchant
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.postgres import EmbeddedPostgres, PostgresError

DATABASES = {"gateway": "tallystick_gateway", "merchant": "tallystick_merchant"}
DSN_VARIABLES = {"gateway": "TALLYSTICK_GATEWAY_DATABASE_DSN", "merchant": "TALLYSTICK_MERCHANT_DATABASE_DSN"}
OWNER_DSN_VARIABLES = {"gateway": "TALLYSTICK_GATEWAY_OWNER_DSN", "merchant": "TALLYSTICK_MERCHANT_OWNER_DSN"}
SCHEMAS = {"gateway": "tallystick.gateway.schema", "merchant": "tallystick.merchant.schema"}

LOOK_EVERY_S = 0.2  # at a server that ended by itself; within a second it starts again
TRY_AGAIN_S = 2.0  # when it did not come up


class Dsns(Struct, frozen=True):
    """Where the two databases are, and as whom the services connect, `vault`, `pii` and `gateway_pii` to the schemas
    of these names; all but the first two are empty where one role does everything. Secret where they name a password.
    """

    gateway: str
    merchant: str
    gateway_owner: str = ""
    merchant_owner: str = ""
    vault: str = ""
    pii: str = ""
    gateway_pii: str = ""

    def places(self) -> "Dsns":
        """Where the databases are, without a role or a password: what stays when those change."""
        return Dsns(_place(self.gateway), _place(self.merchant))

    def settings(self) -> dict[str, str]:
        """The settings of the services that say as whom they connect."""
        named = {
            DSN_VARIABLES["gateway"]: self.gateway,
            DSN_VARIABLES["merchant"]: self.merchant,
            "TALLYSTICK_GATEWAY_VAULT_DSN": self.vault,
            "TALLYSTICK_MERCHANT_PII_DSN": self.pii,
            "TALLYSTICK_GATEWAY_PII_DSN": self.gateway_pii,
        }
        return {name: dsn for name, dsn in named.items() if dsn}

    def __repr__(self) -> str:
        return "Dsns()"


def _place(dsn: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class KeptPostgres:
    """The server in one folder: started, watched, started again, stopped. `say` is told what happens to it."""

    def __init__(self, folder: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self._server = EmbeddedPostgres(folder)
        self._clock = clock
        self._say = say
        self._starting: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._dsns: Mapping[str, str] = {}  # by the names of their files

    async def start(self) -> Dsns:
        """Start the server with both databases and all roles in it. Raises PostgresError."""
        await self._in_a_thread(self._start)
        self._watch = asyncio.create_task(self._keep(), name="keep PostgreSQL")
        dsns = self._dsns
        return Dsns(
            dsns["gateway"],
            dsns["merchant"],
            dsns["gateway-owner"],
            dsns["merchant-owner"],
            dsns["vault"],
            dsns["pii"],
            dsns["gateway-pii"],
        )

    def dsn_file(self, service: str) -> Path:
        """The file that holds the service's DSN."""
        return dsn_file(self._server, service)

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
        self._dsns = give_roles(self._server, DATABASES, SystemEntropy())

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
        return Dsns(gateway, merchant, owner_dsn("gateway") or "", owner_dsn("merchant") or "")
    if gateway is None and merchant is None:
        return None
    raise CommandRefused(f"set both {' and '.join(DSN_VARIABLES.values())}, or neither")


def given_dsn(service: str) -> str | None:
    """The DSN in a service's settings, None where there is none. Raises SettingsRefused for other faults in them."""
    try:
        return _read_dsn(service, os.environ)
    except SettingsRefused:
        if any(f"{DSN_VARIABLES[service]}{suffix}" in os.environ for suffix in ("_FILE", "_VAULT")):
            raise  # it is named, and cannot be read: nobody wants another database for that
        _read_dsn(service, os.environ | {DSN_VARIABLES[service]: "postgresql:///none"})  # raises where that is not all
        return None


def owner_dsn(service: str) -> str | None:
    """The DSN of the role that owns a service's tables, None where none is given. Raises SettingsRefused."""
    return settings_of(service).owner_dsn or None


def settings_of(service: str) -> GatewaySettings | MerchantSettings:
    """A service's settings, for a command that may do without its DSN. Raises SettingsRefused."""
    environ = {DSN_VARIABLES[service]: "postgresql:///none"} | os.environ
    return read_gateway(environ) if service == "gateway" else read_merchant(environ)


def without_owners(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service: whose the tables are is none of its business."""
    kept = {f"{name}{suffix}" for name in OWNER_DSN_VARIABLES.values() for suffix in ("", "_FILE", "_VAULT")}
    return {name: value for name, value in environ.items() if name not in kept}


def migrate_all(dsns: Dsns) -> None:
    """Bring both schemas up to date. Raises MigrationRefused."""
    migrate(dsns.gateway_owner or dsns.gateway, SCHEMAS["gateway"])
    migrate(dsns.merchant_owner or dsns.merchant, SCHEMAS["merchant"])


def outdated(dsns: Dsns) -> bool:
    """Whether one of the schemas is older than the code."""
    found = {"gateway": dsns.gateway, "merchant": dsns.merchant}
    return any(current_version(dsn) < newest_version(SCHEMAS[service]) for service, dsn in found.items())


def _read_dsn(service: str, environ: Mapping[str, str]) -> str:
    return read_gateway(environ).database_dsn if service == "gateway" else read_merchant(environ).database_dsn
