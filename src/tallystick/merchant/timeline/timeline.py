"""Reads the merchant's half of a payment's timeline: of the order that it was for.

    id → whose, and which order → its attempts, cases and notices → what each source tells behind a place → one page

An id may be of an order, a payment intent, a webhook or a case. Others, of a session, charge or refund, are the
gateway's: its half names the order. Every source gives at most one page behind the cursor.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel.identifiers import first_id, owner_of
from tallystick.kernel.money import exponent
from tallystick.kernel.timeline.entries import BEGINNING, PAGE_ROWS, Place, Timeline
from tallystick.kernel.timeline.reading import Messages, Reader, about, composed, told_by
from tallystick.kernel.timeline.telling import amount_in_words
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX
from tallystick.merchant.accounts.commands import SQL as ACCOUNTS
from tallystick.merchant.notifications.notices import EVENT_PREFIX
from tallystick.merchant.orders.ids import ORDER_PREFIX
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements

SQL = Statements.beside(__file__)

MERCHANTS_MAX: Final = 100_000  # an id that names no owner is looked for with each of them
ATTEMPTS_MAX: Final = 10_000  # of one order, and its cases; one with more is told by its first ones
CHANGES_MAX: Final = 2_000  # instants at which the shop may have been told
DUE_ROWS_MAX: Final = 20
KNOWN_BY_MAX: Final = 50
MILLISECOND: Final = timedelta(milliseconds=1)


class OrderFound(Struct, frozen=True):
    """Whose order, and which."""

    merchant_id: str
    order_id: str


class Timelines:
    """The timelines of all merchants' orders."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, id: str, *, merchant: str | None = None) -> OrderFound | None:
        """The order that an id belongs to; `merchant`: only if it is this one's."""
        owner = owner_of(id, MERCHANT_PREFIX) if id.startswith(f"{ORDER_PREFIX}_") else None
        if merchant is not None and owner not in (None, merchant):
            return None
        if named := owner or merchant:
            merchants = [named]
        else:
            found = await self._database.rows(ACCOUNTS.list_merchants, "", MERCHANTS_MAX)
            merchants = [row["merchant_id"] for row in found]
        rows = await self._database.rows(SQL.find_order, merchants, id)
        return OrderFound(rows[0]["merchant_id"], rows[0]["order_id"]) if rows else None

    async def read(self, order: OrderFound, *, after: Place = BEGINNING, rows_max: int = PAGE_ROWS) -> Timeline:
        """A page of an order's timeline, and what is next. The order exists."""
        key = (order.merchant_id, order.order_id)
        read = self._database.rows
        [standing] = await read(SQL.summary, *key)
        attempts = await read(SQL.attempts_of_order, *key, ATTEMPTS_MAX)
        cases = [row["case_id"] for row in await read(SQL.cases_of_order, *key, ATTEMPTS_MAX)]
        connections = sorted({row["connection_id"] for row in attempts})
        payments = [row["payment_intent"] for row in attempts if row["payment_intent"]]
        messages = await self._notices(order)
        reader = Reader(self._database, after, rows_max)
        sources = [
            await reader.rows(SQL.tell_order, *key),
            await reader.rows(SQL.tell_webhooks, *key, connections),
            await reader.rows(SQL.tell_work, *key),
            await reader.rows(SQL.tell_cases, order.merchant_id, cases),
            await reader.rows(SQL.tell_settlement, *key, payments),
            await reader.rows(SQL.tell_calls, *key),
            await told_by(reader, order.merchant_id, messages),
            await about(reader, [order.order_id, *cases]),
        ]
        due = [
            *await read(SQL.next_of_order, *key, connections, DUE_ROWS_MAX),
            *await reader.next_tries(order.merchant_id, messages, DUE_ROWS_MAX),
        ]
        return composed(
            "merchant",
            sources,
            due,
            rows_max,
            exponent,
            id=order.order_id,
            owner=order.merchant_id,
            state=f"{standing['state']}, goods {standing['fulfilment']}",
            amount=amount_in_words(standing["amount_minor"], standing["currency"], exponent),
            ids=_known_by(order, attempts),
        )

    async def _notices(self, order: OrderFound) -> Messages:
        """What the shop was told: written in the commit of a change, under ids that begin with its time."""
        changes = await self._database.rows(SQL.changes_of_order, order.merchant_id, order.order_id, CHANGES_MAX)
        first = [first_id(EVENT_PREFIX, row["at"]) for row in changes]
        end = [first_id(EVENT_PREFIX, row["at"] + MILLISECOND) for row in changes]
        rows = await self._database.rows(SQL.notices_of_order, order.merchant_id, order.order_id, first, end)
        return Messages([row["id"] for row in rows], [row["type"] for row in rows])


def _known_by(order: OrderFound, attempts: Sequence[Record]) -> tuple[str, ...]:
    """The order, and the newest attempts' payments and sessions: what the gateway knows."""
    newest = [id for row in reversed(attempts) for id in (row["payment_intent"], row["checkout_session"])]
    return tuple(dict.fromkeys(id for id in (order.order_id, *newest[:KNOWN_BY_MAX]) if id))
