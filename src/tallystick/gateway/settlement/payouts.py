"""Payouts: what is available goes to the merchant's bank when a day is closed, and arrives a day later."""

from collections.abc import Callable
from typing import Final

from tallystick.gateway.balance.payout import Payout
from tallystick.gateway.ledger import postings
from tallystick.gateway.ledger.commands import Books
from tallystick.gateway.ledger.postings import Cause
from tallystick.gateway.stripe_wire import balance_objects
from tallystick.gateway.webhooks import events
from tallystick.gateway.webhooks.event_types import EVENT_TYPES
from tallystick.gateway.webhooks.events import Happening
from tallystick.kernel.columns import columns
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

ITEMS_MAX: Final = 256


class Arrivals:
    """Records that payouts have arrived. `woken` is told when webhooks are due."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy, woken: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._woken = woken
        self._books = Books()

    async def record(self) -> int:
        """Record what has arrived by now; how many that were. Raises DatabaseError."""
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_payouts, at, ITEMS_MAX)
        if not seen:
            return 0
        keys = sorted((row["account_id"], row["livemode"], row["id"]) for row in seen)
        async with self._database.transaction() as tx:
            rows = await tx.rows(SQL.arrive, *columns(3, keys))
            paid = sorted((Payout(**row) for row in rows), key=lambda one: (one.account_id, one.livemode, one.id))
            entries = [
                postings.arrived(Cause(one.account_id, one.livemode, None, None, one.currency), one.id, one.amount, at)
                for one in paid
            ]
            await self._books.post(tx, entries, at=at, entropy=self._entropy)
            transactions = {row["id"]: row["balance_transaction"] for row in seen}
            happenings = [told("payout.paid", one, transactions[one.id]) for one in paid]
            recorded = await events.record(tx, happenings, at=at, entropy=self._entropy)
        if recorded.due:
            self._woken()
        return len(paid)


def told(type: str, payout: Payout, balance_transaction: str | None) -> Happening:
    """An event about a payout."""
    assert type in EVENT_TYPES
    shaped = balance_objects.payout(payout, balance_transaction)
    return Happening(payout.account_id, payout.livemode, type, payout.id, shaped)
