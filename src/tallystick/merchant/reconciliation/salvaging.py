"""A refused file is no settlement, but the payments that it names exist or do not: the gateway knows (RULES §11).

Nothing of the file is believed but that it names them. Those that are not known here as captured are retrieved, and
what the gateway answers is merged, as everywhere.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import IO, Final

from tallystick.merchant.gateways.port import Connection
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.learning import Learnt
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.reconciliation.retrieving import ASKING_TRIES_MAX, learnt_of, retrieve
from tallystick.merchant.reconciliation.taking import SQL, Held, NotYet, Reports
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

PAYMENTS_MAX: Final = 1_000  # retrieved of one file, as many as a run's automatic actions
NAMED_MAX: Final = 200_000  # looked up of one file; the rest is told by the corrected one
BLOCK_BYTES: Final = 256 * 1024
LOOKED_UP: Final = 5_000  # by one statement
CALLS_MAX: Final = 8
_NAMES: Final = re.compile(rb"\bpi_[A-Za-z0-9_]{1,200}(?=[^A-Za-z0-9_])")
_LONGEST: Final = 256


class Salvager:
    """Retrieves what a refused file names."""

    def __init__(self, database: Database, reports: Reports, clock: Clock, outbox: Outbox) -> None:
        self._database = database
        self._reports = reports
        self._clock = clock
        self._outbox = outbox

    async def salvage(self, run: Held, connection: Connection, file: IO[bytes]) -> None:
        """Retrieve and merge. Raises NotYet where the gateway is away."""
        named = sorted(payments_in(file))
        unknown: list[str] = []
        for first in range(0, len(named), LOOKED_UP):
            page = named[first : first + LOOKED_UP]
            rows = await self._database.rows(SQL.not_captured, run.key.merchant_id, run.connection_id, page)
            unknown += [row["payment"] for row in rows]
        gate = asyncio.Semaphore(CALLS_MAX)

        async def learn(payment: str) -> Sequence[Learnt]:
            async with gate:
                try:
                    found = await retrieve(self._reports, connection, payment)
                except NotYet:
                    if run.tries < ASKING_TRIES_MAX:
                        raise
                    found = None
            return learnt_of(connection, found, f"recon:{payment}", None, None) if found else ()

        for learnt in await asyncio.gather(*map(learn, unknown[:PAYMENTS_MAX])):
            async with self._database.transaction() as tx:
                await apply_facts(tx, learnt, self._clock.now(), self._outbox)


def payments_in(file: IO[bytes]) -> set[str]:
    """The payments that a file names, wherever and however damaged it is."""
    file.seek(0)
    found: set[str] = set()
    rest = b""
    while (block := file.read(BLOCK_BYTES)) and len(found) < NAMED_MAX:
        held = rest + block
        found.update(match.group().decode() for match in _NAMES.finditer(held))
        rest = held[-_LONGEST:]
    return found
