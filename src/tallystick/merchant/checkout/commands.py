"""Placing an order: at most once, whatever is repeated and whatever breaks (RULES §4, §5).

    claim the key → the customer, where one is named, committed → order PENDING and attempt 1, committed → session
    opened at the gateway → facts and answer, one commit → 201
                     (recovery point: the order's id)         (key order:{id}:1)

Whoever retries after a crash at any arrow resumes there: the same order, the same request to the byte, under the same
key at the gateway, so the same session. No transaction is open while the gateway is called. Before the order is there,
its customer may be stored without it: who says the same of himself again is the same customer, until after an hour
without an order he is forgotten. An order is never written for a newcomer who was.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from tallystick.kernel.batching import Batcher
from tallystick.kernel.idempotency import Claim
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.kernel.people.keys import KeysUnavailable
from tallystick.kernel.problems import Problem
from tallystick.merchant.accounts.directory import Directory, Merchant
from tallystick.merchant.checkout.drafts import (
    FIRST_ATTEMPT,
    SQL,
    Draft,
    Terms,
    draft_attempt,
    draft_order,
    forgotten_of,
    insert_attempt,
    insert_orders,
)
from tallystick.merchant.checkout.request import CreateOrder, Customer, check
from tallystick.merchant.customers.people import Kept, People
from tallystick.merchant.errors import (
    GatewayMisconfigured,
    GatewayRefused,
    GatewayUnreachable,
    NotFound,
    NotPayable,
    OutcomeUnknown,
    PersonalDataUnavailable,
)
from tallystick.merchant.gateways.port import Connection, Gateway
from tallystick.merchant.gateways.stripe import MISCONFIGURED
from tallystick.merchant.keyed import Answer, Keyed, Sent
from tallystick.merchant.orders.apply import SQL as ORDERS
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.facts import AnyFact, Attempted, SessionRefused
from tallystick.merchant.orders.learning import Learnt, OrderKey
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.orders.view import order_view
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import current, read, stored, within

ROUTE: Final = "/v1/orders"
UNREACHABLE_RETRY_AFTER_S: Final = 5
FORGOTTEN_MAX: Final = 3  # times that an order's customer may be forgotten while it is placed: each takes an hour
PAYABLE_AGAIN: Final = ("FAILED", "EXPIRED", "CANCELED")  # RULES §4


class OpenCall(Struct, frozen=True):
    """The call that opens an attempt's session, as it was stored."""

    order: OrderKey
    attempt: int
    connection: Connection
    key: str
    request: bytes | None  # None when there is nothing left to open
    trace: str | None = None  # of the step that stored it, where another one goes on


class Conclusion(Struct, frozen=True):
    """What became of a call: facts to merge, and the problem to answer where it is not the order."""

    claim: Claim
    order: OrderKey
    attempt: int
    facts: tuple[AnyFact, ...]
    problem: Problem | None = None
    trace: str | None = field(default_factory=stored)


class Checkout:
    """Places orders. Concurrent calls share their commits."""

    def __init__(
        self,
        database: Database,
        gateways: Mapping[str, Gateway],
        directory: Directory,
        clock: Clock,
        entropy: Entropy,
        terms: Terms,
        keyed: Keyed,
        people: People,
        outbox: Outbox,
    ) -> None:
        self._database = database
        self._gateways = gateways
        self._directory = directory
        self._clock = clock
        self._entropy = entropy
        self._terms = terms
        self._keyed = keyed
        self._people = people
        self._idempotency = keyed.idempotency
        self._outbox = outbox
        self._drafts: Batcher[tuple[Claim, Draft], bool] = Batcher(self._store)
        self._conclusions: Batcher[Conclusion, Answer] = Batcher(self._conclude)

    async def place(self, merchant: Merchant, key: str, request: CreateOrder, fields: Any) -> Answer:
        """Place the order once for this key; `fields` is the body as it was sent. Raises Problem."""

        async def work(claim: Claim) -> Answer:
            call = await (self._recall(claim) if claim.recovery else self._begin(claim, merchant, request))
            return await self._conclusions.submit(await self._open(claim, call))

        return await self._keyed.once(Sent(merchant.merchant_id, key, ROUTE, fields), work)

    async def pay_again(self, merchant: Merchant, key: str, order_id: str, fields: Any) -> Answer:
        """Open a new attempt of an order that was not paid, once for this key. Raises Problem."""

        async def work(claim: Claim) -> Answer:
            call = await (self._recall(claim) if claim.recovery else self._begin_again(claim, merchant, order_id))
            return await self._conclusions.submit(await self._open(claim, call))

        return await self._keyed.once(Sent(merchant.merchant_id, key, f"{ROUTE}/{order_id}/attempts", fields), work)

    async def resume(self, claim: Claim) -> Answer:
        """Bring a call to its end whose caller never came back: it was recorded before the gateway was called. Raises
        Problem where that may succeed later."""
        return await self._conclusions.submit(await self._open(claim, await self._recall(claim)))

    async def _begin(self, claim: Claim, merchant: Merchant, request: CreateOrder) -> OpenCall:
        """Check what is wanted and store it. Raises FieldsRefused and NotChargeable before anything is stored, and
        PersonalDataUnavailable before the order is."""
        wanted = check(request, merchant, self._terms.ttl_s)
        gateway = self._gateways[wanted.connection.gateway]
        draft = draft_order(merchant, wanted, self._terms, gateway, self._clock.now(), self._entropy)
        for _ in range(FORGOTTEN_MAX):
            if wanted.customer is not None:
                draft = replace(draft, customer=await self._customer(merchant, wanted.customer))
            if await self._drafts.submit((claim, draft)):
                break
        else:
            raise PersonalDataUnavailable(retry_after_s=UNREACHABLE_RETRY_AFTER_S)
        return OpenCall(draft.key, FIRST_ATTEMPT, draft.wanted.connection, draft.open_key, draft.open_request)

    async def _customer(self, merchant: Merchant, customer: Customer) -> Kept:
        try:
            return await self._people.keep(merchant.merchant_id, customer.person(), for_order=True)
        except KeysUnavailable:
            raise PersonalDataUnavailable(retry_after_s=UNREACHABLE_RETRY_AFTER_S) from None

    async def _begin_again(self, claim: Claim, merchant: Merchant, order_id: str) -> OpenCall:
        """Store the next attempt of an order that may be paid again. Raises NotFound, NotPayable and FieldsRefused."""
        key = OrderKey(merchant.merchant_id, order_id)
        at = self._clock.now()
        async with self._database.transaction() as tx:
            rows = await tx.rows(SQL.lock_order, *key)
            if not rows:
                raise NotFound
            row = rows[0]
            if row["state"] not in PAYABLE_AGAIN:
                raise NotPayable(f"The order is {row['state']}.", order=order_id)
            connection = merchant.connection(row["connection_id"])
            if connection is None:
                raise NotPayable("The order's connection to its gateway is disabled.", order=order_id)
            draft = draft_attempt(key, row, self._terms, self._gateways[connection.gateway], at)
            await self._idempotency.record(tx, [(claim, f"{order_id}:{draft.number}")])
            await insert_attempt(tx, draft)
            learnt = Learnt(*key, draft.number, Attempted(), "merchant", claim.scope.key)
            await apply_facts(tx, [learnt], at, self._outbox)
        return OpenCall(key, draft.number, connection, draft.open_key, draft.open_request)

    async def _recall(self, claim: Claim) -> OpenCall:
        """The call of an attempt that an earlier holder of the key stored."""
        assert claim.recovery is not None
        order_id, _, number = claim.recovery.partition(":")
        order, attempt = OrderKey(claim.scope.owner_id, order_id), int(number or FIRST_ATTEMPT)
        row = (await self._database.rows(SQL.load_attempt, *order, attempt))[0]
        connection = await self._directory.connection(order.merchant_id, row["connection_id"])
        assert connection is not None, "connections are disabled, never deleted"
        return OpenCall(order, attempt, connection, row["open_key"], row["open_request"], row["trace"])

    async def _open(self, claim: Claim, call: OpenCall) -> Conclusion:
        """Open the session at the gateway. Raises Problem where the same call may succeed later."""
        order_id = call.order.order_id
        if call.request is None:
            return Conclusion(claim, call.order, call.attempt, ())
        gateway = self._gateways[call.connection.gateway]
        with within(current() or read(call.trace)):
            answer = await gateway.open_session(call.connection, call.request, call.key)
        match answer:
            case Done(told):
                return Conclusion(claim, call.order, call.attempt, told.facts)
            case Refused(code=code) if code == MISCONFIGURED:
                raise GatewayMisconfigured(order=order_id)
            case Refused() if claim.recovery is not None:
                # An earlier holder of the key may have asked, and what it asked may have been done: a session that is
                # found when the order's time is over (RULES §8), or by the same call once the gateway gives it.
                raise OutcomeUnknown(order=order_id, retry_after_s=UNREACHABLE_RETRY_AFTER_S)
            case Refused(code, message):
                problem = GatewayRefused(f"{code}: {message}", order=order_id)
                return Conclusion(claim, call.order, call.attempt, (SessionRefused(code),), problem)
            case NotSent():
                raise GatewayUnreachable(order=order_id, retry_after_s=UNREACHABLE_RETRY_AFTER_S)
            case Unknown():
                raise OutcomeUnknown(order=order_id, retry_after_s=UNREACHABLE_RETRY_AFTER_S)

    # --- the two batches ---------------------------------------------------------------------------------------------

    async def _store(self, begun: Sequence[tuple[Claim, Draft]]) -> Sequence[bool]:
        """Orders and attempts, with the recovery point of the calls that make them, in one commit. False: the order's
        customer has been forgotten since, and it is not written."""
        async with self._database.transaction() as tx:
            forgotten = await forgotten_of(tx, [draft for _, draft in begun], self._clock.now())
            kept = [(claim, draft) for claim, draft in begun if draft.key not in forgotten]
            await self._idempotency.record(tx, [(claim, draft.key.order_id) for claim, draft in kept])
            await insert_orders(tx, [draft for _, draft in kept])
        return [draft.key not in forgotten for _, draft in begun]

    async def _conclude(self, conclusions: Sequence[Conclusion]) -> Sequence[Answer]:
        """What the gateway told, and the answers of the calls, in one commit."""
        learnt = [
            Learnt(
                each.order.merchant_id,
                each.order.order_id,
                each.attempt,
                fact,
                "api",
                each.claim.scope.key,
                trace=each.trace,
            )
            for each in conclusions
            for fact in each.facts
        ]
        async with self._database.transaction() as tx:
            await apply_facts(tx, learnt, self._clock.now(), self._outbox)
            orders = [each.order for each in conclusions]
            rows = await tx.rows(
                ORDERS.find_orders, [key.merchant_id for key in orders], [key.order_id for key in orders]
            )
            shown = {row["order_id"]: row for row in rows}
            answers = [
                Answer(each.problem.status, each.problem.body())
                if each.problem
                else Answer(201, msgspec.json.encode(order_view(shown[each.order.order_id])))
                for each in conclusions
            ]
            finished = zip(conclusions, answers, strict=True)
            await self._idempotency.finish(tx, [(each.claim, answer.status, answer.body) for each, answer in finished])
        return answers
