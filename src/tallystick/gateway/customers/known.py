"""Whether a customer whom a call names is there."""

from collections.abc import Sequence

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Caller
from tallystick.kernel.batching import Batcher
from tallystick.kernel.columns import columns
from tallystick.ports.database import Database, Statements

SQL = Statements.beside(__file__)

Key = tuple[str, bool, str]
"""Account, livemode, id."""


class KnownCustomers:
    """Looks customers up; concurrent callers share a statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lookups: Batcher[Key, bool] = Batcher(self._known)

    async def check(self, caller: Caller, id: str) -> None:
        """Raise InvalidRequest where the account has no such customer, or no longer."""
        if not await self._lookups.submit((caller.account_id, caller.livemode, id)):
            raise errors.no_such_reference("customer", id, param="customer")

    async def _known(self, keys: Sequence[Key]) -> list[bool]:
        rows = await self._database.rows(SQL.known_customers, *columns(3, sorted(set(keys))))
        known = {(row["account_id"], row["livemode"], row["customer_id"]) for row in rows}
        return [key in known for key in keys]
