"""Carrying over what the version before wrote in the clear: sealed in place, a batch at a time (RULES §12).

Any number of processes may do it, any may die at any statement: what is left is still in the clear, and is found again.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from tallystick.kernel.columns import columns
from tallystick.merchant.customers.access import SQL, seal_person
from tallystick.merchant.customers.keys import Keys, KeysUnavailable, Wrapping
from tallystick.merchant.customers.person import Person, lookups_of
from tallystick.merchant.customers.sealing import Seal
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Record
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

BATCH_ITEMS_MAX: Final = 200  # people in one commit: some milliseconds of work, which nobody waits for
PAUSE_S: Final = 60.0  # a process of the version before may still be writing; then there is nothing to find
WIDTH: Final = 9


class CarryingOver:
    """Seals until it is cancelled."""

    def __init__(self, database: Database, keys: Keys, index_key: bytes, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._keys = keys
        self._index_key = index_key
        self._clock = clock
        self._entropy = entropy

    async def run(self) -> None:
        """Work for ever; a database or a key that is away is waited for."""
        while True:
            try:
                await self.run_once()
            except (DatabaseError, KeysUnavailable) as error:
                log.warning("personal data in the clear wait: %s", type(error).__name__)
            await self._clock.sleep(PAUSE_S)

    async def run_once(self) -> int:
        """Seal all that is in the clear now; how many people that was. Raises KeysUnavailable."""
        carried = 0
        while seen := await self._database.rows(SQL.look_in_the_clear, BATCH_ITEMS_MAX):
            carried += await self._carry([(row["merchant_id"], row["customer_id"]) for row in seen])
            if len(seen) < BATCH_ITEMS_MAX:
                break
        if carried:
            log.info("personal data of %d customers were in the clear and are sealed now", carried)
        return carried

    async def _carry(self, seen: Sequence[tuple[str, str]]) -> int:
        if not self._index_key:
            raise KeysUnavailable("no index key is configured")
        wrapping = await self._keys.current()
        async with self._database.transaction() as tx:
            found = await tx.rows(SQL.lock_in_the_clear, *columns(2, seen))
            if found:
                await tx.execute(SQL.seal_people, *columns(WIDTH, [self._row(row, wrapping) for row in found]))
        return len(found)

    def _row(self, row: Record, wrapping: Wrapping) -> tuple[Any, ...]:
        merchant_id, customer_id = row["merchant_id"], row["customer_id"]
        person = Person(email=row["email"], name=row["name"])
        key = self._keys.new_key()
        sealed = seal_person(Seal(key, merchant_id, customer_id), person, self._entropy)
        lookups = lookups_of(person, merchant_id, self._index_key)
        return (
            merchant_id,
            customer_id,
            self._clock.now(),
            wrapping.wrap(key),
            wrapping.wrapped,
            sealed.get("email"),
            sealed.get("name"),
            lookups.email,
            lookups.shopper,
        )
