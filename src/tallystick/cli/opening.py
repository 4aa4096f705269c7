"""A service's database, opened for a command that works in it directly; what it changes stands in the audit trail."""

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tallystick.cli.failures import CommandRefused
from tallystick.gateway.errors import GatewayError
from tallystick.kernel.audit.trail import Act, Trail
from tallystick.kernel.operators.keys import OperatorRefused
from tallystick.merchant.accounts.commands import AccountRefused as MerchantAccountRefused
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy

REFUSED = (CommandRefused, GatewayError, MerchantAccountRefused, OperatorRefused)
DONE_STATUS, REFUSED_STATUS, FAILED_STATUS = 200, 422, 500


@asynccontextmanager
async def opened(dsn: str, act: str = "", subject: str = "") -> AsyncIterator[Database]:
    """The database behind `dsn` for the length of a block; `act` is what the block changes, `subject` on what.

    Who acts is the machine's user: whoever may read the DSN. Raises DatabaseUnavailable.
    """
    database = await open_database(dsn, connections_max=2)
    try:
        if act:
            async with _noted(database, act, subject):
                yield database
        else:
            yield database
    finally:
        await database.close()


@asynccontextmanager
async def _noted(database: Database, act: str, subject: str) -> AsyncIterator[None]:
    trail = Trail(database, SystemClock(), SystemEntropy())
    entry = await trail.begin(Act(operator=_user(), role=None, via="command", act=act, subject=subject))
    try:
        yield
    except REFUSED:
        await trail.end(entry, REFUSED_STATUS)
        raise
    except Exception:
        await trail.end(entry, FAILED_STATUS)
        raise
    await trail.end(entry, DONE_STATUS)


def _user() -> str:
    """The machine's own name of who runs the command; the environment may say what it likes."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
