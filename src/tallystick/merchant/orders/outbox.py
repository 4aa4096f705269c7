"""What follows from changes is stored in their commit: errands, cases, notifications (RULES §4, §6, §8)."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.notifications.events import EventType, events_of
from tallystick.merchant.notifications.listeners import Listeners
from tallystick.merchant.notifications.notices import Notice, insert_notices
from tallystick.merchant.orders.consequences import NOTHING, Consequences, consequences_of
from tallystick.merchant.orders.learning import Change, OrderKey
from tallystick.merchant.orders.view import order_view
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)


class Following(Struct, frozen=True):
    """What follows from the change of one order."""

    key: OrderKey
    consequences: Consequences
    events: tuple[EventType, ...] = ()
    trace: str | None = None


class Outbox:
    """Stores what follows from changes. One is shared by all that change orders."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._entropy = entropy
        self._listeners = Listeners(clock)

    async def following(self, reader: Database | Transaction, changes: Sequence[Change]) -> list[Following]:
        """What follows from a batch of changes; empty for nearly every batch of a merchant whom nobody listens to."""
        events = {change.key: tuple(events_of(change)) for change in changes}
        wanted = await self._wanted(reader, {key: types for key, types in events.items() if types})
        found = [
            Following(change.key, consequences_of(change), wanted.get(change.key, ()), change.trace)
            for change in changes
        ]
        return [each for each in found if each.consequences is not NOTHING or each.events]

    async def store(self, tx: Transaction, following: Sequence[Following], at: datetime) -> None:
        """Store it, in the transaction of the changes."""
        errands = {
            (*each.key, errand.kind, errand.attempt) for each in following for errand in each.consequences.errands
        }
        if errands:
            await tx.execute(SQL.insert_errands, at, *columns(4, sorted(errands)))
        cases = [
            Found(
                merchant_id=each.key.merchant_id,
                kind=concern.kind,
                subject=":".join(filter(None, (each.key.order_id, str(concern.attempt), concern.about))),
                order_id=each.key.order_id,
                attempt=concern.attempt,
                details=concern.details,
            )
            for each in following
            for concern in each.consequences.concerns
        ]
        await open_cases(tx, cases, at, self._entropy)
        await self._notify(tx, [Notice(each.key, type, each.trace) for each in following for type in each.events], at)

    async def ended(self, tx: Transaction, keys: Sequence[OrderKey], type: EventType, at: datetime) -> None:
        """Notify of orders that were ended together by one statement, in its transaction."""
        wanted = await self._wanted(tx, dict.fromkeys(keys, (type,)))
        await self._notify(tx, [Notice(key, type) for key in wanted], at)

    async def _wanted(
        self, reader: Database | Transaction, events: dict[OrderKey, tuple[EventType, ...]]
    ) -> dict[OrderKey, tuple[EventType, ...]]:
        """Of these events, those that somebody wants to hear of."""
        if not events:
            return {}
        listeners = await self._listeners.of(reader, {key.merchant_id for key in events})
        heard = {
            key: tuple(type for type in types if any(listener.wants(type) for listener in listeners[key.merchant_id]))
            for key, types in events.items()
        }
        return {key: types for key, types in heard.items() if types}

    async def _notify(self, tx: Transaction, notices: Sequence[Notice], at: datetime) -> None:
        if not notices:
            return
        keys = sorted({notice.key for notice in notices})
        rows = await tx.rows(SQL.find_orders, [key.merchant_id for key in keys], [key.order_id for key in keys])
        orders = {OrderKey(row["merchant_id"], row["order_id"]): order_view(row) for row in rows}
        listeners = await self._listeners.of(tx, {key.merchant_id for key in keys})
        await insert_notices(tx, notices, orders, listeners, at=at, entropy=self._entropy)
