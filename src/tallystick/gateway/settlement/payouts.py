"""What becomes of payouts, made when a day was closed or by the merchant: a day later they arrive or fail."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from tallystick.gateway.balance.payout import Payout
from tallystick.gateway.faults.faults import PAYOUTS, Faults
from tallystick.gateway.ledger import postings
from tallystick.gateway.ledger.commands import Books
from tallystick.gateway.ledger.postings import Cause, Entry
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
PAYOUT_ARRIVES: Final = timedelta(days=1)


class Arrivals:
    """Records what became of payouts: they arrive, but for those that a fault on demand strikes. `woken` is told when
    webhooks are due."""

    def __init__(
        self, database: Database, faults: Faults, clock: Clock, entropy: Entropy, woken: Callable[[], None]
    ) -> None:
        self._faults = faults
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._woken = woken
        self._books = Books()

    async def record(self) -> int:
        """Record what has arrived or failed by now; how many that were. Raises DatabaseError."""
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_payouts, at, ITEMS_MAX)
        if not seen:
            return 0
        keys = sorted((row["account_id"], row["livemode"], row["id"]) for row in seen)
        ends = [(*key, "failed" if await self._fails(*key[:2]) else "paid") for key in keys]
        async with self._database.transaction() as tx:
            rows = await tx.rows(SQL.end_payouts, *columns(4, ends))
            ended = sorted((Payout(**row) for row in rows), key=lambda one: (one.account_id, one.livemode, one.id))
            posted = await self._books.post(tx, [_entry(one, at) for one in ended], at=at, entropy=self._entropy)
            transactions = {row["id"]: row["balance_transaction"] for row in seen}
            came_back = [one for one in ended if one.status == "failed"]
            happenings = [
                told(
                    "payout.failed" if one in came_back else "payout.paid",
                    one,
                    transactions[one.id],
                    posted.get((one.account_id, one.livemode, f"payout_reversal:{one.id}")),
                )
                for one in ended
            ]
            recorded = await events.record(tx, happenings, at=at, entropy=self._entropy)
        if recorded.due:
            self._woken()
        return len(ended)

    async def _fails(self, account_id: str, livemode: bool) -> bool:
        """Whether a fault on demand strikes a payout of an account. Test mode only."""
        return not livemode and await self._faults.strike(PAYOUTS, account_id) is not None


def _entry(payout: Payout, at: datetime) -> Entry:
    """What the end of a payout posts."""
    ended = postings.payout_failed if payout.status == "failed" else postings.arrived
    return ended(cause_of(payout), payout.id, payout.amount, at)


def cause_of(payout: Payout) -> Cause:
    """Whose money a payout moves."""
    return Cause(payout.account_id, payout.livemode, None, None, payout.currency)


def told(
    type: str, payout: Payout, balance_transaction: str | None, failure: str | None = None, trace: str | None = None
) -> Happening:
    """An event about a payout, in the trace of the call that makes it, or of the one that asked for the payout."""
    assert type in EVENT_TYPES
    shaped = balance_objects.payout(payout, balance_transaction, failure)
    return Happening(payout.account_id, payout.livemode, type, payout.id, shaped, trace=trace or payout.trace)
