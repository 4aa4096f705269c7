"""Carrying over what the version before wrote in the clear: sealed in place, a batch at a time (RULES §12).

Any number of processes may do it, any may die at any statement: what is left is still in the clear, and is found again.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.people.access import seal_person
from tallystick.kernel.people.keys import Keys, KeysUnavailable, Wrapping
from tallystick.kernel.people.person import Person, lookups_of
from tallystick.kernel.people.sealing import Seal
from tallystick.kernel.people.tables import InTheClear, Tables
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

BATCH_ITEMS_MAX: Final = 200  # people in one commit: some milliseconds of work, which nobody waits for
PAUSE_S: Final = 60.0  # a process of the version before may still be writing; then there is nothing to find


class CarryingOver:
    """Seals until it is cancelled."""

    def __init__(
        self,
        database: Database,
        tables: Tables,
        clear: InTheClear,
        keys: Keys,
        index_key: bytes,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self._tables = tables
        self._clear = clear
        self._keys = keys
        self._index_key = index_key
        self._clock = clock
        self._entropy = entropy

    async def run(self) -> None:
        """Work for ever; a database or a key that is away is waited for."""
        await looking.run(self._look, self._clock, log, "personal data in the clear wait", pause_s=PAUSE_S)

    async def _look(self) -> None:
        try:
            await self.run_once()
        except KeysUnavailable as error:
            log.warning("personal data in the clear wait: %s", error)

    async def run_once(self) -> int:
        """Seal all that is in the clear now; how many people that was. Raises KeysUnavailable."""
        carried = 0
        while seen := await self._database.rows(self._clear.look, BATCH_ITEMS_MAX):
            carried += await self.carry([(*self._owner(row), row["customer_id"]) for row in seen])
            if len(seen) < BATCH_ITEMS_MAX:
                break
        if carried:
            log.info("personal data of %d customers were in the clear and are sealed now", carried)
        return carried

    async def carry(self, seen: Sequence[tuple[Any, ...]]) -> int:
        """Seal these people, by place, as far as they are in the clear. Raises KeysUnavailable."""
        if not self._index_key:
            raise KeysUnavailable("no index key is configured")
        wrapping = await self._keys.current()
        async with self._database.transaction() as tx:
            found = await tx.rows(self._clear.lock, *columns(len(self._tables.owner) + 1, seen))
            if found:
                rows = [self._row(row, wrapping) for row in found]
                await tx.execute(self._clear.seal, *columns(len(rows[0]), rows))
        return len(found)

    def _owner(self, row: Record) -> tuple[Any, ...]:
        return self._tables.owner_of(row).columns

    def _row(self, row: Record, wrapping: Wrapping) -> tuple[Any, ...]:
        owner, customer_id = self._tables.owner_of(row), row["customer_id"]
        person = Person(**{field: row[field] for field in self._tables.fields_before})
        key = self._keys.new_key()
        sealed = seal_person(Seal(key, owner.text, customer_id), person, self._entropy)
        lookups = lookups_of(person, owner.text, self._index_key)
        return (
            *owner.columns,
            customer_id,
            self._clock.now(),
            wrapping.wrap(key),
            wrapping.wrapped,
            *(sealed.get(field) for field in self._tables.fields_before),
            *(getattr(lookups, kind) for kind in self._clear.kinds),
        )
