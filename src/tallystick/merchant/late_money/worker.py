"""Runs errands: decides about late money by policy, gives back what is not the order's, tells stock (RULES §4, §8).

An errand is a row that was written under the order's lock in the commit that made it due, and it is written once: so
money is given back once, whoever saw the need first. What comes of it is merged under the lock again, in the commit
that ends the errand. Charges beside a payment's own go back one by one (`surplus.py`); any other return goes under the
key `return:{order}:{attempt}` and asks for all that is left, so that repeating it repeats it to the byte; before each
try the payment is retrieved, and when the key is too old to be repeated, an earlier try's refund is looked for by our
reference.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.outcomes import Done, Refused, Unknown
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.gateways.port import KEY_LIFE_S, Answer, Connection, Gateway, Refunding
from tallystick.merchant.gateways.stripe import CALL_DEADLINE_S, MISCONFIGURED, REFUNDS_DEADLINE_S
from tallystick.merchant.late_money.policy import Policy, decision_of
from tallystick.merchant.late_money.stock import Hook, Stock
from tallystick.merchant.late_money.surplus import Returning, charges_owed, give_back_charge
from tallystick.merchant.orders.apply import SQL as ORDERS
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.consequences import ErrandKind
from tallystick.merchant.orders.facts import (
    AnyFact,
    ChargeReturned,
    FulfilmentDecided,
    RefundSeen,
    Returned,
    decode_facts,
)
from tallystick.merchant.orders.learning import Learnt, OrderKey, Source
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.orders.state import Owed, held_for, standing
from tallystick.merchant.orders.view import order_view
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed, Statements
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import read, within

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

CLAIMED_MAX: Final = 32  # errands at once, side by side
LEASE_S: Final = 120.0
PAUSE_S: Final = 0.5  # between two looks when nothing was due
BACKOFF_MIN_S: Final = 5.0
BACKOFF_MAX_S: Final = 600.0  # a shop or a gateway that is down for hours is asked every ten minutes

# Several charges of one payment come one after the other: there the keys see to it that each goes back once.
assert LEASE_S > 3 * CALL_DEADLINE_S + REFUNDS_DEADLINE_S, (
    "nobody else may be at a charge while it is looked at and asked for"
)


class Held(Struct, frozen=True):
    """An errand that this worker holds."""

    key: OrderKey
    kind: ErrandKind
    attempt: int
    generation: int
    tries: int
    created_at: datetime
    policy: Policy
    hook: Hook | None
    trace: str | None = None

    @property
    def gives_back(self) -> bool:
        """Whether it is about money that goes back."""
        return self.kind in ("return", "return_charges")

    @property
    def return_key(self) -> str:
        """The key under which the attempt's money is given back, ever."""
        return f"return:{self.key.order_id}:{self.attempt}"


class Outcome(Struct, frozen=True):
    """What came of an errand: facts, whether it is done, and a reason for a case."""

    facts: tuple[AnyFact, ...] = ()
    done: bool = True
    found: Found | None = None


AGAIN: Final = Outcome(done=False)


class ErrandWorker:
    """Runs errands until it is cancelled. Any number of workers may run."""

    def __init__(
        self,
        database: Database,
        gateways: Mapping[str, Gateway],
        directory: Directory,
        stock: Stock,
        clock: Clock,
        entropy: Entropy,
        outbox: Outbox,
    ) -> None:
        self._database = database
        self._gateways = gateways
        self._directory = directory
        self._stock = stock
        self._clock = clock
        self._entropy = entropy
        self._outbox = outbox

    async def run(self) -> None:
        """Work for ever. What goes wrong is logged and tried again: errands are rows, nothing is lost."""
        await looking.run(self.run_once, self._clock, log, "errands wait", pause_s=PAUSE_S, drains=True)

    async def run_once(self) -> int:
        """Run one batch of what is due now; how many errands that was."""
        claimed = await self._claim()
        outcomes = await asyncio.gather(*(self._run(held) for held in claimed), return_exceptions=True)
        for held, outcome in zip(claimed, outcomes, strict=True):
            if isinstance(outcome, Exception):
                # Its lease runs out and it is tried again; the others are not held up.
                log.error("%s of %s failed: %s", held.kind, held.key.order_id, type(outcome).__name__)
        return len(claimed)

    async def _claim(self) -> list[Held]:
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_errands, at, CLAIMED_MAX)
        if not seen:
            return []
        names = ("merchant_id", "order_id", "kind", "attempt", "generation")
        keys = sorted(tuple(row[name] for name in names) for row in seen)
        try:
            rows = await self._database.rows(SQL.take_errands, at + timedelta(seconds=LEASE_S), *columns(5, keys))
        except SerializationFailed:
            return []
        return sorted(map(_held, rows), key=lambda held: (held.key, held.kind, held.attempt))

    async def _run(self, held: Held) -> None:
        """Everything that happens to one errand that this worker holds, in the trace that opened its attempt."""
        with within(read(held.trace)):
            await self._carry_out(held)

    async def _carry_out(self, held: Held) -> None:
        [order] = await self._database.rows(ORDERS.find_orders, [held.key.merchant_id], [held.key.order_id])
        match held.kind:
            case "decide":
                outcome = await self._decide(held, order)
            case "return":
                outcome = await self._give_back(held, order)
            case "return_charges":
                outcome = await self._give_charges_back(held, order)
            case "release":
                outcome = await self._release(held, order)
        await self._store(held, outcome)

    async def _decide(self, held: Held, order: Record) -> Outcome:
        """Whether the shop may ship what was paid late: decided once, and stored."""
        facts = decode_facts(order["facts"])
        if facts.decision is not None:
            return Outcome()
        if held_for(facts) is not None:
            return AGAIN  # whether the goods may leave at all is settled first
        how = standing(facts, Owed(order["amount_minor"], order["currency"]))
        decision = decision_of(held.policy, how, can_ask=held.hook is not None)
        if decision == "ask":
            assert held.hook is not None, "there is a hook to ask"
            answer = await self._stock.reserve(held.hook, order_view(order), held.attempt, self._clock.now())
            if not isinstance(answer, Done):
                log.warning("stock of %s: %s", held.key.order_id, type(answer).__name__)
                return AGAIN
            decision = "allowed" if answer.value else "refused"
        return Outcome((FulfilmentDecided(decision),))

    async def _give_back(self, held: Held, order: Record) -> Outcome:
        """Give the attempt's money back: what is left of it, after a look at how the payment stands."""
        attempt = decode_facts(order["facts"]).attempts[held.attempt]
        if attempt.returned is not None:
            return Outcome()
        if attempt.intent is None:
            log.error("no payment is known of %s attempt %s", held.key.order_id, held.attempt)
            return AGAIN
        connection = await self._directory.connection(held.key.merchant_id, order["connection_id"])
        assert connection is not None, "connections are disabled, never deleted"
        gateway = self._gateways[connection.gateway]
        payment = await gateway.look_up_payment(connection, attempt.intent)
        if not isinstance(payment, Done):
            log.warning("return of %s: %s", held.key.order_id, type(payment).__name__)
            return AGAIN
        told = payment.value.facts
        if payment.value.refundable_minor == 0:
            return Outcome(told)  # given back already, by the shop or by an earlier try whose answer was lost
        refunding = Refunding(held.key.order_id, held.attempt, attempt.intent, order["currency"], held.return_key)
        answer = await self._refund(gateway, connection, held, refunding)
        match answer:
            case Done(made):
                returned = tuple(Returned(fact.refund) for fact in made.facts if isinstance(fact, RefundSeen))
                return Outcome((*told, *made.facts, *returned))
            case Refused(code, message) if code != MISCONFIGURED:
                return Outcome(told, found=_refused(held, code, message))
        log.warning("return of %s: %s", held.key.order_id, type(answer).__name__)
        return Outcome(told, done=False)

    async def _give_charges_back(self, held: Held, order: Record) -> Outcome:
        """Give back every charge of the attempt that is not its payment's own."""
        attempt = decode_facts(order["facts"]).attempts[held.attempt]
        connection = await self._directory.connection(held.key.merchant_id, order["connection_id"])
        assert connection is not None, "connections are disabled, never deleted"
        assert attempt.intent is not None, "its charges were found by its payment"
        gateway, at = self._gateways[connection.gateway], self._clock.now()
        returning = Returning(held.key.order_id, held.attempt, attempt.intent, order["currency"], held.created_at)
        outcome = Outcome()
        for charge in charges_owed(attempt):
            one = await give_back_charge(gateway, connection, returning, charge, at)
            found = _refused(held, one.refused.code, one.refused.message, charge) if one.refused else outcome.found
            outcome = Outcome((*outcome.facts, *one.facts), outcome.done and one.done, found)
        return outcome

    async def _refund(self, gateway: Gateway, connection: Connection, held: Held, refunding: Refunding) -> Answer:
        """Ask for it, under the errand's key; once that is too old to be repeated, only if an earlier try did not make
        it: a refund that failed later is not made again (RULES §4)."""
        if self._clock.now() >= held.created_at + timedelta(seconds=KEY_LIFE_S):
            found = await gateway.find_refund(connection, refunding.intent, refunding.reference)
            if not isinstance(found, Done):
                return Unknown(f"an earlier try could not be looked for: {type(found).__name__}")
            if found.value.facts:
                return found
        return await gateway.refund(connection, gateway.plan_refund(refunding), held.return_key)

    async def _release(self, held: Held, order: Record) -> Outcome:
        """Tell the shop's stock that the goods are let go: after that is stored, never before (RULES §8)."""
        if held.hook is None:
            return Outcome()
        heard = await self._stock.release(held.hook, order_view(order), held.attempt, self._clock.now())
        return Outcome(done=heard)

    async def _store(self, held: Held, outcome: Outcome) -> None:
        """What was learnt, and the end of the errand or its next time, in one commit."""
        at = self._clock.now()
        reference = held.return_key if held.gives_back else None
        learnt = [
            Learnt(*held.key, held.attempt, fact, _source(fact), reference, trace=held.trace) for fact in outcome.facts
        ]
        async with self._database.transaction() as tx:
            applied = await apply_facts(tx, learnt, at, self._outbox)
            # A decision that changed nothing met an order that is held by now, or was stored before: looked at again.
            done = outcome.done and not (held.kind == "decide" and learnt and not applied.changes)
            row = (*held.key, held.kind, held.attempt, held.generation, None if done else self._later(held, at))
            await tx.execute(SQL.settle_errands, *columns(6, [row]))
            await open_cases(tx, [outcome.found] if outcome.found else [], at, self._entropy)

    def _later(self, held: Held, at: datetime) -> datetime:
        pause_s = min(BACKOFF_MIN_S * 2 ** min(held.tries - 1, 20), BACKOFF_MAX_S)
        return at + timedelta(seconds=self._entropy.uniform(pause_s / 2, pause_s))


def _source(fact: AnyFact) -> Source:
    """What we decided or did is told by ourselves, what the gateway answered by its answer."""
    return "merchant" if isinstance(fact, FulfilmentDecided | Returned | ChargeReturned) else "api"


def _refused(held: Held, code: str, message: str, *charge: str) -> Found:
    return Found(
        merchant_id=held.key.merchant_id,
        kind="return_refused",
        subject=":".join((held.key.order_id, str(held.attempt), *charge)),
        order_id=held.key.order_id,
        attempt=held.attempt,
        details={"code": code, "message": message},
    )


def _held(row: Record) -> Held:
    return Held(
        key=OrderKey(row["merchant_id"], row["order_id"]),
        kind=row["kind"],
        attempt=row["attempt"],
        generation=row["generation"],
        tries=row["tries"],
        created_at=row["created_at"],
        policy=row["late_policy"],
        hook=Hook(row["stock_url"], row["stock_secret"]) if row["stock_url"] else None,
        trace=row["trace"],
    )
