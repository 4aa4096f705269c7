"""Attends to attempts whose time has come: claim, speak with the gateway, merge what it answers (RULES §7, §8; DESIGN
§2.7).

Whatever was decided was stored in the commit that decided it, so it happens whoever dies. The gateway is called outside
any transaction, and closed under a key of the decision, `close:{order}:{attempt}:{n}`: repeated as it is after an
unknown outcome, with the next n after a refusal, because a refusal is final for its key. What the gateway answers is
merged like everything else: a close that came too late finds the payment, and the order becomes PAID. Nothing ever ends
by our clock alone.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel import looking
from tallystick.kernel.batching import Batcher
from tallystick.kernel.columns import columns
from tallystick.kernel.outcomes import Done, NotSent, Refused
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.expiry.steps import Due, Step, again_at, creation_window, is_stuck, step_of
from tallystick.merchant.gateways.away import Away
from tallystick.merchant.gateways.port import Answer, Connection, Gateway, Told
from tallystick.merchant.gateways.stripe import CALL_DEADLINE_S, LISTING_DEADLINE_S, MISCONFIGURED
from tallystick.merchant.intake.backfill import Wanted, want_backfills
from tallystick.merchant.orders.apply import Applied, apply_facts
from tallystick.merchant.orders.facts import (
    AnyFact,
    Authorised,
    Closed,
    CloseRequested,
    SessionOpened,
    SessionRefused,
    Succeeded,
)
from tallystick.merchant.orders.learning import Learnt, Source
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed, Statements
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import read, within

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

CLAIMED_MAX: Final = 64  # attempts held at once; all of them are spoken about side by side
LEASE_S: Final = 180.0  # a create, a listing, a close and a look, all with all their tries
PAUSE_S: Final = 0.5  # between two looks when nothing was due: how long a shopper waits for FAILED at worst

assert LISTING_DEADLINE_S + 3 * CALL_DEADLINE_S < LEASE_S, "nobody else may come in between"


_TOLD_BY_WEBHOOKS = (Succeeded, Authorised, Closed)
_ENDS = (Succeeded, Closed, SessionRefused)


class Outcome(Struct, frozen=True):
    """What came of attending to an attempt: facts, when to come back if it has not ended by then, and whether under a
    fresh key."""

    due: Due
    facts: tuple[AnyFact, ...]
    source: Source
    reference: str | None
    again_at: datetime
    fresh_key: bool


class AttemptWorker:
    """Attends to due attempts until it is cancelled. Any number of workers may run."""

    def __init__(
        self,
        database: Database,
        gateways: Mapping[str, Gateway],
        directory: Directory,
        clock: Clock,
        entropy: Entropy,
        outbox: Outbox,
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._gateways = gateways
        self._directory = directory
        self._clock = clock
        self._entropy = entropy
        self._away = Away(clock)
        self._outcomes: Batcher[Outcome, None] = Batcher(self._store)

    async def run(self) -> None:
        """Work for ever. What goes wrong is logged and tried again: due attempts are rows, nothing is lost."""
        await looking.run(self.run_once, self._clock, log, "due attempts wait", pause_s=PAUSE_S, drains=True)

    async def run_once(self) -> int:
        """Attend to one batch of what is due now; how many attempts that was."""
        claimed = await self._claim()
        outcomes = await asyncio.gather(*map(self._attend_within, claimed), return_exceptions=True)
        for due, outcome in zip(claimed, outcomes, strict=True):
            if isinstance(outcome, Exception):
                # Its lease runs out and it is tried again; the others are not held up.
                told = (due.order_id, due.number, type(outcome).__name__)
                log.error("attending to %s attempt %s failed: %s", *told, extra={"order_id": due.order_id})
        return len(claimed)

    async def _claim(self) -> list[Due]:
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_attempts, at, CLAIMED_MAX)
        if not seen:
            return []
        keys = [(row["merchant_id"], row["order_id"], row["number"], row["generation"]) for row in seen]
        try:
            taken = await self._database.rows(
                SQL.take_attempts, at + timedelta(seconds=LEASE_S), *columns(4, sorted(keys))
            )
        except SerializationFailed:
            return []
        return sorted(map(_due, taken), key=lambda due: (due.merchant_id, due.order_id))

    async def _attend_within(self, due: Due) -> None:
        """What is asked and learnt here belongs to the trace in which the attempt was opened."""
        with within(read(due.trace)):
            await self._attend(due)

    async def _attend(self, due: Due) -> None:
        """Everything that happens to one attempt that this worker holds."""
        at = self._clock.now()
        step = step_of(due, at)
        if step == "expire":
            facts: tuple[AnyFact, ...] = (CloseRequested("expired"),)
            await self._outcomes.submit(Outcome(due, facts, "expiry", None, at, False))  # due at once, to be closed
            return
        answer = await self._ask(due, step, at)
        told = answer.value.facts if isinstance(answer, Done) else ()
        again = again_at(due, self._clock.now(), self._entropy.uniform(0.0, 1.0))
        if step in ("wait", "look"):
            outcome = Outcome(due, told, "poll", due.session, again, False)
        else:
            source: Source = "expiry" if due.close_reason == "expired" else "api"
            outcome = Outcome(due, told, source, due.close_key, again, isinstance(answer, Done | Refused))
        await self._outcomes.submit(outcome)
        if not isinstance(answer, Done):
            why = answer.code if isinstance(answer, Refused) else answer.reason
            said = (step, due.order_id, due.number, type(answer).__name__, why)
            log.warning("%s %s attempt %s: %s, %s", *said, extra={"order_id": due.order_id})

    async def _ask(self, due: Due, step: Step, at: datetime) -> Answer:
        """What the gateway says to the step."""
        if step == "wait":
            return Done(Told(()))
        connection = await self._directory.connection(due.merchant_id, due.connection_id)
        assert connection is not None, "connections are disabled, never deleted"
        if self._away.is_away(connection):
            return NotSent("its gateway does not answer at the moment")
        answer = await self._call(self._gateways[connection.gateway], connection, due, step, at)
        if isinstance(answer, Done | Refused):
            self._away.answered(connection)
        else:
            self._away.did_not_answer(connection)
        return answer

    async def _call(self, gateway: Gateway, connection: Connection, due: Due, step: Step, at: datetime) -> Answer:
        if due.session is not None:
            if step == "look":
                return await gateway.look_up(connection, due.session)
            return await gateway.close_session(connection, due.session, due.close_key)
        found = await (
            self._open_again(gateway, connection, due, at)
            if step == "open"
            else self._find(gateway, connection, due, at)
        )
        return await self._close_found(gateway, connection, due, found)

    async def _open_again(self, gateway: Gateway, connection: Connection, due: Due, at: datetime) -> Answer:
        """Repeat the create whose outcome is unknown: the same key and bytes give the session, if there is one. That
        the repetition is refused says nothing of an earlier try, so it is looked for."""
        assert due.open_request is not None, "kept until the session is known"
        answer = await gateway.open_session(connection, due.open_request, due.open_key)
        if isinstance(answer, Refused) and answer.code != MISCONFIGURED:
            log.warning("the session of %s attempt %s is looked for: %s", due.order_id, due.number, answer.code)
            return await self._find(gateway, connection, due, at)
        return answer

    async def _find(self, gateway: Gateway, connection: Connection, due: Due, at: datetime) -> Answer:
        """Look for the session among those that were made while it can have been. A full listing without it says that
        there is none; that none can come is told by the end that we asked for. Until then nothing is known."""
        answer = await gateway.find_session(connection, due.order_id, due.number, *creation_window(due))
        if isinstance(answer, Done) and not answer.value.facts and at > due.gateway_expires_at:
            return Done(Told((Closed("expired"),)))
        return answer

    async def _close_found(self, gateway: Gateway, connection: Connection, due: Due, found: Answer) -> Answer:
        """Close the session that was found, and give what both answers told."""
        if not isinstance(found, Done):
            return found
        sessions = [fact.session for fact in found.value.facts if isinstance(fact, SessionOpened)]
        if not sessions:
            return found
        closed = await gateway.close_session(connection, sessions[0], due.close_key)
        return Done(Told((*found.value.facts, *(closed.value.facts if isinstance(closed, Done) else ()))))

    async def _store(self, outcomes: Sequence[Outcome]) -> Sequence[None]:
        """What was learnt, and when to come back, in one commit."""
        learnt = [
            Learnt(
                each.due.merchant_id,
                each.due.order_id,
                each.due.number,
                fact,
                each.source,
                each.reference,
                trace=each.due.trace,
            )
            for each in outcomes
            for fact in each.facts
        ]
        async with self._database.transaction() as tx:
            at = self._clock.now()
            applied = await apply_facts(tx, learnt, at, self._outbox)
            await want_backfills(tx, _untold(applied, outcomes), at)
            await open_cases(tx, _stuck(outcomes, at), at, self._entropy)
            await tx.execute(SQL.reschedule, *columns(6, sorted(map(_again, outcomes))))
        return [None] * len(outcomes)


def _stuck(outcomes: Sequence[Outcome], at: datetime) -> list[Found]:
    """Attempts that could not be closed for so long that somebody must know: told once each."""
    return [
        Found(
            merchant_id=due.merchant_id,
            kind="close_stuck",
            subject=f"{due.order_id}:{due.number}",
            order_id=due.order_id,
            attempt=due.number,
            details={"tries": due.tries, "due_since": due.expires_at.isoformat(), "session": due.session},
        )
        for due in (each.due for each in outcomes if not any(isinstance(fact, _ENDS) for fact in each.facts))
        if is_stuck(due, at)
    ]


def _untold(applied: Applied, outcomes: Sequence[Outcome]) -> list[Wanted]:
    """Connections whose webhooks do not come: a look has just told what one of them should have told before."""
    told = {
        (*change.key, line.attempt)
        for change in applied.changes
        for line in change.lines
        if line.source == "poll" and isinstance(line.fact, _TOLD_BY_WEBHOOKS)
    }
    looked = [each.due for each in outcomes if (each.due.merchant_id, each.due.order_id, each.due.number) in told]
    return [Wanted(due.merchant_id, due.connection_id, due.created_at) for due in looked]


def _again(outcome: Outcome) -> tuple[str, str, int, int, datetime, int]:
    due = outcome.due
    return (due.merchant_id, due.order_id, due.number, due.generation, outcome.again_at, int(outcome.fresh_key))


def _due(row: Record) -> Due:
    return Due(
        merchant_id=row["merchant_id"],
        order_id=row["order_id"],
        number=row["number"],
        generation=row["generation"],
        tries=row["tries"],
        connection_id=row["connection_id"],
        state=row["state"],
        session=row["checkout_session"],
        open_key=row["open_key"],
        open_request=row["open_request"],
        close_reason=row["close_reason"],
        close_number=row["close_number"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        gateway_expires_at=row["gateway_expires_at"],
        trace=row["trace"],
    )
