"""Cancelling an order because the shop says so: the wish is stored under the order's lock, the gateway closes the
attempt, and then the order is CANCELED (RULES §4, §8). Money that was faster than the wish wins: the order is PAID.
"""

from typing import Any, Final

import msgspec

from tallystick.kernel.idempotency import Claim
from tallystick.merchant.accounts.directory import Merchant
from tallystick.merchant.errors import NotCancelable, NotFound
from tallystick.merchant.keyed import Answer, Keyed, Sent
from tallystick.merchant.orders.apply import SQL, apply_facts, load_locked
from tallystick.merchant.orders.facts import CloseRequested
from tallystick.merchant.orders.learning import Learnt, LoadedOrder, OrderKey
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.orders.state import state_of
from tallystick.merchant.orders.view import order_view
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

ROUTE: Final = "/v1/orders"


class Canceling:
    """Cancels orders."""

    def __init__(self, database: Database, clock: Clock, keyed: Keyed, outbox: Outbox) -> None:
        self._database = database
        self._clock = clock
        self._keyed = keyed
        self._outbox = outbox

    async def cancel(self, merchant: Merchant, key: str, order_id: str, fields: Any) -> Answer:
        """Ask for the order's end, once for this key. Raises Problem."""

        async def work(claim: Claim) -> Answer:
            return await self._ask(claim, OrderKey(merchant.merchant_id, order_id))

        return await self._keyed.once(Sent(merchant.merchant_id, key, f"{ROUTE}/{order_id}/cancel", fields), work)

    async def _ask(self, claim: Claim, key: OrderKey) -> Answer:
        """Store the wish and what is answered, in one commit. An order that is CANCELED stays so."""
        at = self._clock.now()
        async with self._database.transaction() as tx:
            order = (await load_locked(tx, {key})).get(key)
            if order is None:
                raise NotFound
            attempt = _cancelable(order)
            if attempt is not None:
                learnt = Learnt(*key, attempt, CloseRequested("canceled"), "api", claim.scope.key)
                await apply_facts(tx, [learnt], at, self._outbox)
            [row] = await tx.rows(SQL.find_orders, [key.merchant_id], [key.order_id])
            answer = Answer(200 if attempt is None else 202, msgspec.json.encode(order_view(row)))
            await self._keyed.idempotency.finish(tx, [(claim, answer.status, answer.body)])
        return answer


def _cancelable(order: LoadedOrder) -> int | None:
    """The attempt that is to be closed; None where the order is CANCELED already. Raises NotCancelable."""
    state = state_of(order.facts, order.owed)
    if state == "CANCELED":
        return None
    newest = max(order.facts.attempts, default=0)
    if state != "PENDING" or not newest:
        raise NotCancelable(f"The order is {state}.", order=order.key.order_id)
    if order.facts.attempts[newest].state == "succeeded":
        raise NotCancelable("Another amount was taken for it: a person must look at it.", order=order.key.order_id)
    return newest
