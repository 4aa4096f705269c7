"""Carries out close requests: claim what is due, close at the gateway, merge what it answers (RULES §4, §8; DESIGN
§2.7).

The request was stored in the commit that decided it, so it happens whoever dies. The gateway is called outside any
transaction, under a key of the decision, `close:{order}:{attempt}:{n}`: repeated as it is after an unknown outcome,
with the next n after a refusal, because a refusal is final for its key. What the gateway answers is merged like
everything else: a close that came too late finds the payment, and the order becomes PAID.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel.batching import Batcher
from tallystick.kernel.outcomes import Done, Refused
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.gateways.port import Answer, Gateway
from tallystick.merchant.gateways.stripe import CALL_DEADLINE_S
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.learning import Learnt
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Record, SerializationFailed, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

CLAIMED_MAX: Final = 64  # close requests held at once; all of them are called side by side
LEASE_S: Final = 120.0  # a close may be followed by a look, both with all their tries
PAUSE_S: Final = 0.5  # between two looks when nothing was due: how long a shopper waits for FAILED at worst
BACKOFF_MIN_S: Final = 2.0
BACKOFF_MAX_S: Final = 300.0  # a gateway that is down for hours is asked every five minutes

assert LEASE_S > 2 * CALL_DEADLINE_S, "nobody else may take a close request while its call can still be under way"


class Close(Struct, frozen=True):
    """A close request that this worker holds."""

    merchant_id: str
    order_id: str
    number: int
    generation: int
    tries: int
    connection_id: str
    session: str | None
    close_number: int

    @property
    def key(self) -> str:
        return f"close:{self.order_id}:{self.number}:{self.close_number}"


class ClosingWorker:
    """Carries out close requests until it is cancelled. Any number of workers may run."""

    def __init__(
        self,
        database: Database,
        gateways: Mapping[str, Gateway],
        directory: Directory,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self._gateways = gateways
        self._directory = directory
        self._clock = clock
        self._entropy = entropy
        self._answers: Batcher[tuple[Close, Answer], None] = Batcher(self._store)

    async def run(self) -> None:
        """Work for ever. What goes wrong is logged and tried again: the requests are rows, nothing is lost."""
        while True:
            try:
                worked = await self.run_once()
            except DatabaseError as error:
                log.warning("close requests wait: %s", type(error).__name__)
                worked = 0
            if not worked:
                await self._clock.sleep(PAUSE_S)

    async def run_once(self) -> int:
        """Carry out what is due now; how many requests that was."""
        claimed = await self._claim()
        outcomes = await asyncio.gather(*(self._close(close) for close in claimed), return_exceptions=True)
        for close, outcome in zip(claimed, outcomes, strict=True):
            if isinstance(outcome, Exception):
                # Its lease runs out and it is tried again; the others are not held up.
                log.error("closing %s attempt %s failed: %s", close.order_id, close.number, type(outcome).__name__)
        return len(claimed)

    async def _claim(self) -> list[Close]:
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_closes, at, CLAIMED_MAX)
        if not seen:
            return []
        columns = [[row[name] for row in seen] for name in ("merchant_id", "order_id", "number", "generation")]
        try:
            taken = await self._database.rows(SQL.take_closes, at, at + timedelta(seconds=LEASE_S), *columns)
        except SerializationFailed:
            return []
        return [_close(row) for row in taken]

    async def _close(self, close: Close) -> None:
        connection = await self._directory.connection(close.merchant_id, close.connection_id)
        assert connection is not None, "connections are disabled, never deleted"
        assert close.session is not None, "an attempt without a session has had no charge that could fail"
        gateway = self._gateways[connection.gateway]
        answer = await gateway.close_session(connection, close.session, close.key)
        await self._answers.submit((close, answer))

    async def _store(self, answered: Sequence[tuple[Close, Answer]]) -> Sequence[None]:
        at = self._clock.now()
        learnt = [
            Learnt(close.merchant_id, close.order_id, close.number, fact, "api", close.key)
            for close, answer in answered
            if isinstance(answer, Done)
            for fact in answer.value.facts
        ]
        async with self._database.transaction() as tx:
            await apply_facts(tx, learnt, at)
            rows = sorted(self._again(close, answer, at) for close, answer in answered)
            await tx.execute(SQL.reschedule, *[list(column) for column in zip(*rows, strict=True)])
        return [None] * len(answered)

    def _again(self, close: Close, answer: Answer, at: datetime) -> tuple[str, str, int, int, datetime, int]:
        """When to try again if the attempt has not ended by now, and whether under a fresh key."""
        if not isinstance(answer, Done):
            log.warning("closing %s attempt %s: %s", close.order_id, close.number, type(answer).__name__)
        pause_s = min(BACKOFF_MIN_S * 2 ** min(close.tries - 1, 20), BACKOFF_MAX_S)
        due_at = at + timedelta(seconds=self._entropy.uniform(pause_s / 2, pause_s))
        fresh_key = isinstance(answer, Done | Refused)
        return (close.merchant_id, close.order_id, close.number, close.generation, due_at, int(fresh_key))


def _close(row: Record) -> Close:
    return Close(
        merchant_id=row["merchant_id"],
        order_id=row["order_id"],
        number=row["number"],
        generation=row["generation"],
        tries=row["tries"],
        connection_id=row["connection_id"],
        session=row["checkout_session"],
        close_number=row["close_number"],
    )
