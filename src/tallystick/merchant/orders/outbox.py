"""What follows from changes is stored in the commit that stores them: errands, cases (RULES §4, §8)."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.orders.consequences import NOTHING, Consequences, consequences_of
from tallystick.merchant.orders.learning import Change, OrderKey
from tallystick.ports.database import Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)


class Following(Struct, frozen=True):
    """What follows from the change of one order."""

    key: OrderKey
    consequences: Consequences


class Outbox:
    """Stores what follows from changes. One is shared by all that change orders."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def following(self, changes: Sequence[Change]) -> list[Following]:
        """What follows from a batch of changes; empty for nearly every batch."""
        found = ((change.key, consequences_of(change)) for change in changes)
        return [Following(key, consequences) for key, consequences in found if consequences is not NOTHING]

    async def store(self, tx: Transaction, following: Sequence[Following], at: datetime) -> None:
        """Store it, in the transaction of the changes."""
        errands = [(*each.key, *errand) for each in following for errand in each.consequences.errands]
        if errands:
            await tx.execute(SQL.insert_errands, at, *columns(4, sorted(errands)))
        cases = [
            Found(
                merchant_id=each.key.merchant_id,
                kind=concern.kind,
                subject=f"{each.key.order_id}:{concern.attempt}",
                order_id=each.key.order_id,
                attempt=concern.attempt,
                details=concern.details,
            )
            for each in following
            for concern in each.consequences.concerns
        ]
        await open_cases(tx, cases, at, self._entropy)
