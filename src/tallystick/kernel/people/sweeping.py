"""Who was stored for what then did not come to be, a customer or a first order, is erased (RULES §12).

Personal data and what names the person are two commits, because they may stand under two roles. Whoever dies between
them leaves a person whom nothing names: they are found here, by rows of which it is not known yet that it is there.
First it is looked who is named; those who are not are claimed and erased in one commit. Who was changed between the two
is not claimed, and is looked at again when it is their time.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.people.access import Access, AccessDenied, Asker, Wanted
from tallystick.kernel.people.tables import Owner, Tables, Unfinished
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed, Transaction

log = logging.getLogger(__name__)

POLL_S: Final = 300.0
PEOPLE_MAX: Final = 500  # of one commit

SWEEPER: Final = Asker("service", "sweeper", "sweeper")
UNFINISHED: Final = "unfinished"

Place = tuple[Owner, str]
"""Whose customer, and which."""


class Sweeping:
    """Erases until it is cancelled. `people` is where personal data stand, `named` where what names them does."""

    def __init__(
        self, people: Database, tables: Tables, statements: Unfinished, access: Access, named: Database, clock: Clock
    ) -> None:
        self._people = people
        self._tables = tables
        self._statements = statements
        self._access = access
        self._named = named
        self._clock = clock

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        waiting = "people whom nothing names wait for the database"
        await looking.run(self._look, self._clock, log, waiting, pause_s=POLL_S)

    async def _look(self) -> None:
        try:
            while await self.sweep() == PEOPLE_MAX:
                pass
        except SerializationFailed:  # another process was at the same people
            pass
        except AccessDenied:
            log.error("the policy does not let people be erased whom nothing names (purpose: %s)", UNFINISHED)

    async def sweep(self) -> int:
        """Look at one batch; how many people it was. Raises AccessDenied."""
        rows = await self._people.rows(self._statements.look, self._clock.now(), PEOPLE_MAX)
        seen = {self._place(row): row["seen_at"] for row in rows}
        if not seen:
            return 0
        found = await self._named.rows(self._statements.known, *columns(self._width, sorted(map(_columns, seen))))
        there = {self._place(row) for row in found}
        named = {place: seen_at for place, seen_at in seen.items() if place in there}
        if named:
            await self._people.execute(self._statements.settle, *self._as_seen(named))
        nobodies = {place: seen_at for place, seen_at in seen.items() if place not in there}
        if nobodies:
            await self._erase(nobodies)
        return len(seen)

    async def _erase(self, nobodies: Mapping[Place, datetime]) -> None:
        async def claim(tx: Transaction) -> set[Place]:
            return {self._place(row) for row in await tx.rows(self._statements.claim, *self._as_seen(nobodies))}

        wanted = [Wanted(SWEEPER, owner, customer_id) for owner, customer_id in sorted(nobodies)]
        erased = await self._access.erase_each(UNFINISHED, wanted, claim)
        if erased:
            log.info("erased %d people whom nothing names", erased)

    @property
    def _width(self) -> int:
        return len(self._tables.owner) + 1

    def _place(self, row: Record) -> Place:
        return self._tables.owner_of(row), row["customer_id"]

    def _as_seen(self, seen: Mapping[Place, datetime]) -> list[list[Any]]:
        return columns(self._width + 1, sorted((*_columns(place), seen_at) for place, seen_at in seen.items()))


def _columns(place: Place) -> tuple[Any, ...]:
    owner, customer_id = place
    return (*owner.columns, customer_id)
