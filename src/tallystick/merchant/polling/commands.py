"""One poll: look the newest attempt up at its gateway and merge what is told. The same facts, the same write path."""

from collections.abc import Mapping, Sequence
from typing import Final

from tallystick.kernel.batching import Batcher
from tallystick.kernel.outcomes import Done
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.gateways.port import Gateway
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.learning import Learnt, OrderKey, Source
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements
from tallystick.ports.tracing import current, read, within

SQL = Statements.beside(__file__)

LIVE_STATES: Final = ("open", "authorised")


class Poller:
    """Polls orders. Any number of callers may share one."""

    def __init__(
        self,
        database: Database,
        gateways: Mapping[str, Gateway],
        directory: Directory,
        clock: Clock,
        outbox: Outbox,
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._gateways = gateways
        self._directory = directory
        self._clock = clock
        self._told: Batcher[Sequence[Learnt], None] = Batcher(self._merge)

    async def poll(self, order: OrderKey, source: Source) -> bool:
        """Ask the gateway about the order's newest attempt; whether it answered. Raises DatabaseUnavailable."""
        rows = await self._database.rows(SQL.newest_attempt, *order)
        if not rows or rows[0]["state"] not in LIVE_STATES or rows[0]["checkout_session"] is None:
            return False
        attempt = rows[0]
        connection = await self._directory.connection(order.merchant_id, attempt["connection_id"])
        assert connection is not None, "connections are disabled, never deleted"
        with within(current() or read(attempt["trace"])):  # the trace in which the attempt was opened
            answer = await self._gateways[connection.gateway].look_up(connection, attempt["checkout_session"])
        if not isinstance(answer, Done):
            return False
        number = attempt["number"]
        session, trace = attempt["checkout_session"], attempt["trace"]
        await self._told.submit(
            [Learnt(*order, number, fact, source, session, trace=trace) for fact in answer.value.facts]
        )
        return True

    async def _merge(self, told: Sequence[Sequence[Learnt]]) -> Sequence[None]:
        async with self._database.transaction() as tx:
            await apply_facts(tx, [each for one in told for each in one], self._clock.now(), self._outbox)
        return [None] * len(told)
