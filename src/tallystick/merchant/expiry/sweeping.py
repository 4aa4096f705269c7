"""Ends orders that nobody ever tried to pay: there is nothing at any gateway, so they expire at once (RULES §8).

Set-based, a batch to a commit, and nothing is kept between batches but the place in the list: a million of them need no
more memory than a thousand.
"""

import logging
from datetime import UTC, datetime
from typing import Final

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.merchant.orders.facts import NO_FACTS, Closed, encode
from tallystick.merchant.orders.learning import OrderKey
from tallystick.merchant.orders.merge import merge
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

BATCH_ORDERS: Final = 1_000  # a commit of some 50 ms; larger ones gain nothing and hold their locks for longer
PAUSE_S: Final = 1.0  # between two looks when nothing was due

Place = tuple[datetime, str, str]
START: Final[Place] = (datetime(1970, 1, 1, tzinfo=UTC), "", "")

CLOSED: Final = Closed("expired")
UNATTEMPTED: Final = 0  # the number under which an order without attempts keeps that it was closed


class Sweeper:
    """Ends unattempted orders until it is cancelled. Any number may run: an order is ended once."""

    def __init__(self, database: Database, clock: Clock, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        # Where the last batch ended: what lies before are rows that were just changed, and walking over them again for
        # every batch takes time by the square. After the last batch the list is begun anew, so nothing is left out.
        self._place = START

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        await looking.run(self.run_once, self._clock, log, "due orders wait", pause_s=PAUSE_S, drains=True)

    async def run_once(self) -> int:
        """End one batch of what is due now; how many orders were looked at."""
        at = self._clock.now()
        rows = await self._database.rows(SQL.due_orders, at, *self._place, BATCH_ORDERS)
        last = rows[-1] if len(rows) == BATCH_ORDERS else None
        if rows:
            due = columns(3, [(row["merchant_id"], row["order_id"], row["version"]) for row in rows])
            async with self._database.transaction() as tx:
                ended = await tx.rows(SQL.expire_orders, at, *due, FACTS, FACT)
                keys = [OrderKey(row["merchant_id"], row["order_id"]) for row in ended]
                await self._outbox.ended(tx, keys, "order.expired", at)
        self._place = (last["due_at"], last["merchant_id"], last["order_id"]) if last else START
        return len(rows)


FACTS: Final = encode(merge(NO_FACTS, UNATTEMPTED, CLOSED))
FACT: Final = encode(CLOSED)
