"""Giving money back because the shop says so: at most once for each key (RULES §4, §5).

    claim the key → refund stored under the order's lock → asked for at the gateway → facts and answer, one commit → 201
                    (recovery point: its number)           (key refund:{order}:{number})

The gateway holds the limit; what is looked at here spares the call that it would refuse. Whoever retries after a crash
at any arrow resumes there, with the same request to the byte; past the key's life only after a look for the refund.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from tallystick.kernel.idempotency import Claim
from tallystick.kernel.idempotency.engine import LEASE_S
from tallystick.kernel.money import AMOUNT_MAX
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.kernel.problems import Problem
from tallystick.merchant.accounts.directory import Directory, Merchant
from tallystick.merchant.errors import (
    GatewayMisconfigured,
    GatewayRefused,
    GatewayUnreachable,
    NotChargeable,
    NotFound,
    NotRefundable,
    OutcomeUnknown,
)
from tallystick.merchant.gateways.port import KEY_LIFE_S, AmountRefused, Connection, Gateway, Refunding
from tallystick.merchant.gateways.port import Answer as Told
from tallystick.merchant.gateways.stripe import CALL_DEADLINE_S, MISCONFIGURED, REFUNDS_DEADLINE_S
from tallystick.merchant.keyed import Answer, Keyed, Sent
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.facts import AnyFact, AttemptFacts, RefundSeen, RefundStatus, decode_facts
from tallystick.merchant.orders.learning import Learnt, OrderKey
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements, Transaction

SQL = Statements.beside(__file__)

ROUTE: Final = "/v1/orders"
SEPARATOR: Final = "/refund/"  # between the order and the number in a recovery point
RETRY_AFTER_S: Final = 5

assert REFUNDS_DEADLINE_S + CALL_DEADLINE_S < LEASE_S, "nobody takes a call over while it looks and asks"


class CreateRefund(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/orders/{id}/refunds`: an amount, or all that is left."""

    amount: Annotated[int, Meta(ge=1, le=AMOUNT_MAX, description="Minor units; left out: all that is left.")] | None = (
        None
    )


class RefundView(Struct, frozen=True):
    """A refund as the gateway answered it; what becomes of it later is shown with the order."""

    id: str
    order: str
    attempt: int
    amount: int
    currency: str
    status: RefundStatus


class Refunds:
    """Gives money back."""

    def __init__(
        self,
        database: Database,
        gateways: Mapping[str, Gateway],
        directory: Directory,
        clock: Clock,
        keyed: Keyed,
        outbox: Outbox,
    ) -> None:
        self._database = database
        self._gateways = gateways
        self._directory = directory
        self._clock = clock
        self._keyed = keyed
        self._outbox = outbox

    async def refund(self, merchant: Merchant, key: str, order_id: str, request: CreateRefund, fields: Any) -> Answer:
        """Give back once for this key. Raises Problem."""

        async def work(claim: Claim) -> Answer:
            if claim.recovery is None:
                recovery = await self._begin(claim, OrderKey(merchant.merchant_id, order_id), request)
            else:
                recovery = claim.recovery
            return await self._carry_out(claim, recovery)

        return await self._keyed.once(Sent(merchant.merchant_id, key, f"{ROUTE}/{order_id}/refunds", fields), work)

    async def resume(self, claim: Claim) -> Answer:
        """Bring a call to its end whose caller never came back. Raises Problem where that may succeed later."""
        assert claim.recovery is not None
        return await self._carry_out(claim, claim.recovery)

    async def _begin(self, claim: Claim, key: OrderKey, request: CreateRefund) -> str:
        """Store what is to be asked for, under the order's lock. Raises NotFound, NotRefundable, NotChargeable."""
        known = await self._database.rows(SQL.order_before_lock, *key)
        if not known:
            raise NotFound
        connection_id = known[0]["connection_id"]
        connection = await self._directory.connection(key.merchant_id, connection_id)
        assert connection is not None, "connections are disabled, never deleted"
        await self._know_what_was_captured(connection, key, known[0])
        async with self._database.transaction() as tx:
            [row] = await tx.rows(SQL.lock_refundable, *key)
            [asked] = await tx.rows(SQL.asked_refunds, *key)
            amount_minor, attempt = _checked(row, asked["asked_minor"], request)
            assert attempt.intent is not None, "checked: there is a payment"
            recovery = f"{key.order_id}{SEPARATOR}{asked['number']}"
            reference = _reference(key.order_id, asked["number"])
            refunding = Refunding(key.order_id, row["keeper"], attempt.intent, row["currency"], reference, amount_minor)
            try:
                planned = self._gateways[connection.gateway].plan_refund(refunding)
            except AmountRefused as refused:
                raise NotChargeable(str(refused), code=refused.code) from None
            await self._keyed.idempotency.record(tx, [(claim, recovery)])
            await tx.execute(
                SQL.insert_refund,
                *key,
                asked["number"],
                row["keeper"],
                connection_id,
                amount_minor,
                planned,
                self._clock.now(),
            )
        return recovery

    async def _know_what_was_captured(self, connection: Connection, key: OrderKey, row: Record) -> None:
        """Retrieve the payment where nobody has told how much of it was captured: a session says no more than paid.
        Raises Problem."""
        attempt = decode_facts(row["facts"]).attempts[row["keeper"]] if row["keeper"] is not None else None
        if attempt is None or attempt.intent is None or row["currency"] in attempt.captured:
            return
        payment = await self._gateways[connection.gateway].look_up_payment(connection, attempt.intent)
        match payment:
            case Done(found):
                learnt = [Learnt(*key, row["keeper"], fact, "api", attempt.intent) for fact in found.facts]
                async with self._database.transaction() as tx:
                    await apply_facts(tx, learnt, self._clock.now(), self._outbox)
            case Refused():
                raise GatewayMisconfigured(order=key.order_id)
            case NotSent() | Unknown():
                raise GatewayUnreachable(order=key.order_id, retry_after_s=RETRY_AFTER_S)

    async def _carry_out(self, claim: Claim, recovery: str) -> Answer:
        """Ask the gateway for a stored refund, and store what it says. Raises Problem where it may succeed later."""
        order_id, _, number = recovery.partition(SEPARATOR)
        key = OrderKey(claim.scope.owner_id, order_id)
        [row] = await self._database.rows(SQL.load_refund, *key, int(number))
        connection = await self._directory.connection(key.merchant_id, row["connection_id"])
        assert connection is not None, "connections are disabled, never deleted"
        gateway = self._gateways[connection.gateway]
        told = await self._ask(gateway, connection, row, resumed=claim.recovery is not None)
        facts, problem = _read(told, order_id)
        at = self._clock.now()
        async with self._database.transaction() as tx:
            answer = await self._store(tx, key, row, facts, problem, claim, at)
            await self._keyed.idempotency.finish(tx, [(claim, answer.status, answer.body)])
        return answer

    async def _ask(self, gateway: Gateway, connection: Connection, row: Record, *, resumed: bool) -> Told:
        """Ask for a stored refund under its key. What an earlier holder of the call may have made is looked for by our
        reference: before anything is sent once the key is too old to be repeated, and where the repetition is refused,
        which says nothing of the first try (RULES §5)."""
        reference = _reference(row["order_id"], row["number"])

        async def made() -> Told:
            found = await gateway.find_refund(connection, row["payment_intent"], reference)
            return found if isinstance(found, Done) else Unknown(f"it could not be looked for: {type(found).__name__}")

        too_old = self._clock.now() >= row["created_at"] + timedelta(seconds=KEY_LIFE_S)
        if too_old and not _is_none(found := await made()):
            return found
        told = await gateway.refund(connection, row["request"], reference)
        if resumed and not too_old and isinstance(told, Refused) and told.code != MISCONFIGURED:
            return told if _is_none(found := await made()) else found
        return told

    async def _store(
        self,
        tx: Transaction,
        key: OrderKey,
        row: Record,
        facts: tuple[AnyFact, ...],
        problem: Problem | None,
        claim: Claim,
        at: datetime,
    ) -> Answer:
        learnt = [Learnt(*key, row["attempt"], fact, "api", claim.scope.key) for fact in facts]
        await apply_facts(tx, learnt, at, self._outbox)
        seen = next((fact for fact in facts if isinstance(fact, RefundSeen)), None)
        state, refund = ("made", seen.refund) if seen else ("refused", None)
        await tx.execute(SQL.settle_refund, *key, row["number"], state, refund)
        if seen is None:
            assert problem is not None, "refused for a reason"
            return Answer(problem.status, problem.body())
        view = RefundView(seen.refund, key.order_id, row["attempt"], seen.amount_minor, seen.currency, seen.status)
        return Answer(201, msgspec.json.encode(view))


def _reference(order_id: str, number: int) -> str:
    """Our reference of a refund, and its key at the gateway."""
    return f"refund:{order_id}:{number}"


def _is_none(found: Told) -> bool:
    """Whether a full listing held no such refund."""
    return isinstance(found, Done) and not found.value.facts


def _checked(row: Record, asked_minor: int, request: CreateRefund) -> tuple[int, AttemptFacts]:
    """How much is to be given back, and of which attempt. Raises NotRefundable."""
    if row["state"] != "PAID":
        raise NotRefundable(f"The order is {row['state']}.", order=row["order_id"])
    attempt = decode_facts(row["facts"]).attempts[row["keeper"]]
    surplus = set(attempt.charges_returned.values())  # refunds of charges beside the payment's own
    given_back = sum(
        refund.amount_minor
        for id, refund in attempt.refunds.items()
        if refund.status not in ("failed", "canceled") and id not in surplus
    )
    left_minor = attempt.captured.get(row["currency"], 0) - given_back - asked_minor
    amount_minor = request.amount if request.amount is not None else left_minor
    if attempt.intent is None or not 0 < amount_minor <= left_minor:
        raise NotRefundable(f"{max(left_minor, 0)} are left to be given back.", order=row["order_id"])
    return amount_minor, attempt


def _read(told: Told, order_id: str) -> tuple[tuple[AnyFact, ...], Problem | None]:
    """Facts, or the refusal that is the answer for good. Raises Problem where the same call may succeed later."""
    match told:
        case Done(made):
            return made.facts, None
        case Refused(code=code) if code == MISCONFIGURED:
            raise GatewayMisconfigured(order=order_id)
        case Refused(code, message):
            return (), GatewayRefused(f"{code}: {message}", order=order_id)
        case NotSent():
            raise GatewayUnreachable(order=order_id, retry_after_s=RETRY_AFTER_S)
        case Unknown():
            raise OutcomeUnknown(order=order_id, retry_after_s=RETRY_AFTER_S)
