"""Who was stored for a customer that then did not come to be, or was just being deleted, is erased (RULES §12).

Personal data and the customer are two commits, because they may stand under two roles. Whoever dies between them leaves
a person whom no customer names: they are found here, by rows of which it is not known yet that the customer is there.
"""

import logging
from datetime import timedelta
from typing import Final

from tallystick.gateway.people.tables import SQL, of_account
from tallystick.kernel.columns import columns
from tallystick.kernel.people.access import Access, AccessDenied, Asker, Wanted
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Statement

log = logging.getLogger(__name__)

AFTER: Final = timedelta(hours=1)  # no call takes that long: its lease has run out, and it was done or broke off
POLL_S: Final = 300.0
PEOPLE_MAX: Final = 500  # of one commit

SWEEPER: Final = Asker("service", "sweeper", "sweeper")
UNFINISHED: Final = "unfinished"


class Sweeping:
    """Erases until it is cancelled. `known` says which customers there are, by account, mode and id."""

    def __init__(self, people: Database, access: Access, customers: Database, known: Statement, clock: Clock) -> None:
        self._people = people
        self._access = access
        self._customers = customers
        self._known = known
        self._clock = clock

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        while True:
            try:
                while await self.sweep() == PEOPLE_MAX:
                    pass
            except DatabaseError as error:
                log.warning("people without a customer wait for the database: %s", type(error).__name__)
            except AccessDenied:
                log.error("the policy does not let people be erased whom no customer names (purpose: %s)", UNFINISHED)
            await self._clock.sleep(POLL_S)

    async def sweep(self) -> int:
        """Look at one batch; how many people it was. Raises AccessDenied."""
        rows = await self._people.rows(SQL.unsettled_people, self._clock.now() - AFTER, PEOPLE_MAX)
        seen = {(row["account_id"], row["livemode"], row["customer_id"]): row["changed_at"] for row in rows}
        if not seen:
            return 0
        found = await self._customers.rows(self._known, *columns(3, sorted(seen)))
        there = {(row["account_id"], row["livemode"], row["id"]) for row in found}
        settled = [(*key, seen[key]) for key in sorted(there)]
        await self._people.execute(SQL.settle_people, *columns(4, settled))
        nobodies = sorted(seen.keys() - there)
        if nobodies:
            wanted = [Wanted(SWEEPER, of_account(key[0], livemode=key[1]), key[2]) for key in nobodies]
            await self._access.erase_each(UNFINISHED, wanted)
            log.info("erased %d people whom no customer names", len(nobodies))
        return len(seen)
