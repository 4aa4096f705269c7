"""A run is held for as long as the worker lives that holds it, and hardly longer (DESIGN §2.7).

The lease is short and kept while the work goes on, by statements beside it: a download or a comparison may take
minutes, and yet a run whose worker died is taken over within half a minute. The sandbox's time waits for no longer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from msgspec import Struct

from tallystick.merchant.reconciliation.comparing import RunKey
from tallystick.merchant.reconciliation.taking import SQL
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError

log = logging.getLogger(__name__)

LEASE_S: Final = 30.0
KEEP_EVERY_S: Final = 5.0  # it may fail a few times, as while the database restarts

assert LEASE_S > 3 * KEEP_EVERY_S, "a slow statement or two lose no run"


class Claim(Struct, frozen=True):
    """What names a holder: the run, and the generation in which it was taken."""

    key: RunKey
    generation: int


@asynccontextmanager
async def holding(database: Database, clock: Clock, claim: Claim) -> AsyncIterator[None]:
    """Keep the lease of a run until the block ends. Whoever loses it all the same learns so at the next commit."""
    keeping = asyncio.get_running_loop().create_task(_keep(database, clock, claim))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _keep(database: Database, clock: Clock, claim: Claim) -> None:
    held = 1
    while held:
        await clock.sleep(KEEP_EVERY_S)
        try:
            until = clock.now() + timedelta(seconds=LEASE_S)
            held = await database.execute(SQL.keep_run, *claim.key, claim.generation, until)
        except DatabaseError as error:
            log.warning("the lease of run %s could not be kept: %s", claim.key.reconciliation_id, type(error).__name__)
