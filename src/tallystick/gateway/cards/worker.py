"""The retention purge: numbers that no payment can need any more leave the vault by themselves (RULES §9).

Load what is due → decide (`retention.py`) → shred, or say when to look again. Both writes compare when the number was
due, so that any number of these workers may run.
"""

import logging
from collections.abc import Sequence

from tallystick.gateway.cards.commands import SQL
from tallystick.gateway.cards.retention import Use, next_look
from tallystick.gateway.vault.sealing import Place
from tallystick.gateway.vault.vault import Due, Vault
from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

log = logging.getLogger(__name__)

POLL_S = 30.0  # how late a number may be shredded


class Purge:
    """Shreds what is not needed until it is cancelled."""

    def __init__(self, vault: Vault, database: Database, clock: Clock) -> None:
        self._vault = vault
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(
            self.purge, self._clock, log, "the purge of cards waits for the database", pause_s=POLL_S, drains=True
        )

    async def purge(self) -> int:
        """Look at one batch of what is due; how many there were. Raises DatabaseError."""
        at = self._clock.now()
        due = await self._vault.due(at)
        if not due:
            return 0
        uses = await self._uses(due)
        looks = [(one.place, one.due_at, next_look(uses.get(one.place), at)) for one in due]
        await self._vault.look_again([(place, seen, then) for place, seen, then in looks if then is not None])
        shredded = await self._vault.shred([(place, seen) for place, seen, then in looks if then is None])
        if shredded:
            log.info("shredded %d card numbers that no payment needs any more", shredded)
        return len(due)

    async def _uses(self, due: Sequence[Due]) -> dict[Place, Use]:
        wanted = sorted((*one.place, one.payment_intent) for one in due)
        rows = await self._database.rows(SQL.uses_of_numbers, *columns(4, wanted))
        return {
            (row["account_id"], row["livemode"], row["vault_token"]): Use(
                saved=row["saved"],
                exp_month=row["exp_month"],
                exp_year=row["exp_year"],
                intent_status=row["intent_status"],
            )
            for row in rows
        }
