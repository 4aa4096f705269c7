"""Placing an order: at most once, whatever is repeated and whatever breaks (RULES §4, §5).

    claim the key → order PENDING and attempt 1, committed → session opened at the gateway → facts and answer, one
    commit → 201
                     (recovery point: the order's id)         (key order:{id}:1)

Whoever retries after a crash at any arrow resumes there: the same order, the same request to the byte, under the same
key at the gateway, so the same session. No transaction is open while the gateway is called.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.kernel.batching import Batcher, QueueFull
from tallystick.kernel.idempotency import (
    Claim,
    ClaimRequest,
    Idempotency,
    InUse,
    LeaseLost,
    Mismatch,
    Replay,
    Scope,
    fingerprint,
)
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.merchant.accounts.directory import Directory, Merchant
from tallystick.merchant.checkout.drafts import FIRST_ATTEMPT, SQL, Draft, Terms, draft_order, insert_orders
from tallystick.merchant.checkout.request import CreateOrder, check
from tallystick.merchant.errors import (
    DatabaseDown,
    FieldsRefused,
    GatewayMisconfigured,
    GatewayRefused,
    GatewayUnreachable,
    KeyInUse,
    KeyUsedOtherwise,
    NotChargeable,
    OutcomeUnknown,
    Overloaded,
    Problem,
)
from tallystick.merchant.gateways.port import Connection, Gateway
from tallystick.merchant.gateways.stripe import MISCONFIGURED
from tallystick.merchant.orders.apply import SQL as ORDERS
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.facts import (
    AnyFact,
    SessionRefused,
)
from tallystick.merchant.orders.learning import Learnt, OrderKey
from tallystick.merchant.orders.view import order_view
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, DatabaseUnavailable
from tallystick.ports.entropy import Entropy

ROUTE: Final = "/v1/orders"
MODE: Final = "live"  # the merchant's API has one mode; the table serves both services
UNREACHABLE_RETRY_AFTER_S: Final = 5
OVERLOADED_RETRY_AFTER_S: Final = 1


class Answer(Struct, frozen=True):
    """What the caller gets: the same bytes again when it repeats the call."""

    status: int
    body: bytes
    replayed: bool = False


class OpenCall(Struct, frozen=True):
    """The call that opens an attempt's session, as it was stored."""

    order: OrderKey
    attempt: int
    connection: Connection
    key: str
    request: bytes | None  # None when there is nothing left to open


class Conclusion(Struct, frozen=True):
    """What became of a call: facts to merge, and the problem to answer where it is not the order."""

    claim: Claim
    order: OrderKey
    attempt: int
    facts: tuple[AnyFact, ...]
    problem: Problem | None = None


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
    ) -> None:
        self._database = database
        self._gateways = gateways
        self._directory = directory
        self._clock = clock
        self._entropy = entropy
        self._terms = terms
        self._idempotency = Idempotency(database)
        self._claims: Batcher[ClaimRequest, Claim | Replay | InUse | Mismatch] = Batcher(self._claim)
        self._drafts: Batcher[tuple[Claim, Draft], None] = Batcher(self._store)
        self._conclusions: Batcher[Conclusion, Answer] = Batcher(self._conclude)

    async def place(self, merchant: Merchant, key: str, request: CreateOrder, fields: Any) -> Answer:
        """Place the order once for this key; `fields` is the body as it was sent. Raises Problem."""
        try:
            return await self._place(merchant, key, request, fields)
        except QueueFull:
            raise Overloaded(retry_after_s=OVERLOADED_RETRY_AFTER_S) from None
        except DatabaseUnavailable:
            raise DatabaseDown(retry_after_s=OVERLOADED_RETRY_AFTER_S) from None

    async def _place(self, merchant: Merchant, key: str, request: CreateOrder, fields: Any) -> Answer:
        scope = Scope(merchant.merchant_id, MODE, key)
        claim = await self._claims.submit(ClaimRequest(scope, fingerprint("POST", ROUTE, fields)))
        match claim:
            case Replay(status, body):
                return Answer(status, body, replayed=True)
            case InUse(retry_after_s):
                raise KeyInUse(retry_after_s=retry_after_s)
            case Mismatch():
                raise KeyUsedOtherwise
        try:
            call = await (self._recall(claim) if claim.recovery else self._begin(claim, merchant, request))
            return await self._conclusions.submit(await self._open(claim, call))
        except (FieldsRefused, NotChargeable):
            await self._idempotency.release([claim])
            raise
        except LeaseLost:
            raise KeyInUse(retry_after_s=OVERLOADED_RETRY_AFTER_S) from None
        except Exception:
            # Nobody works on it any more: the next call with this key resumes at once instead of waiting for the lease.
            with suppress(DatabaseError):
                await self._idempotency.suspend([claim], self._clock.now())
            raise

    async def _begin(self, claim: Claim, merchant: Merchant, request: CreateOrder) -> OpenCall:
        """Check what is wanted and store it. Raises FieldsRefused and NotChargeable before anything is stored."""
        wanted = check(request, merchant, self._terms.ttl_s)
        gateway = self._gateways[wanted.connection.gateway]
        draft = draft_order(merchant, wanted, self._terms, gateway, self._clock.now(), self._entropy)
        await self._drafts.submit((claim, draft))
        return OpenCall(draft.key, FIRST_ATTEMPT, draft.wanted.connection, draft.open_key, draft.open_request)

    async def _recall(self, claim: Claim) -> OpenCall:
        """The call of an order that an earlier holder of the key stored."""
        assert claim.recovery is not None
        order = OrderKey(claim.scope.owner_id, claim.recovery)
        row = (await self._database.rows(SQL.load_attempt, *order, FIRST_ATTEMPT))[0]
        connection = await self._directory.connection(order.merchant_id, row["connection_id"])
        assert connection is not None, "connections are disabled, never deleted"
        return OpenCall(order, FIRST_ATTEMPT, connection, row["open_key"], row["open_request"])

    async def _open(self, claim: Claim, call: OpenCall) -> Conclusion:
        """Open the session at the gateway. Raises Problem where the same call may succeed later."""
        order_id = call.order.order_id
        if call.request is None:
            return Conclusion(claim, call.order, call.attempt, ())
        gateway = self._gateways[call.connection.gateway]
        match await gateway.open_session(call.connection, call.request, call.key):
            case Done(told):
                return Conclusion(claim, call.order, call.attempt, told.facts)
            case Refused(code=code) if code == MISCONFIGURED:
                raise GatewayMisconfigured(order=order_id)
            case Refused(code, message):
                problem = GatewayRefused(f"{code}: {message}", order=order_id)
                return Conclusion(claim, call.order, call.attempt, (SessionRefused(code),), problem)
            case NotSent():
                raise GatewayUnreachable(order=order_id, retry_after_s=UNREACHABLE_RETRY_AFTER_S)
            case Unknown():
                raise OutcomeUnknown(order=order_id, retry_after_s=UNREACHABLE_RETRY_AFTER_S)

    # --- the three batches -------------------------------------------------------------------------------------------

    async def _claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claim | Replay | InUse | Mismatch]:
        return await self._idempotency.claim(requests, self._clock.now())

    async def _store(self, begun: Sequence[tuple[Claim, Draft]]) -> Sequence[None]:
        """Orders and attempts, with the recovery point of the calls that make them, in one commit."""
        async with self._database.transaction() as tx:
            await self._idempotency.record(tx, [(claim, draft.key.order_id) for claim, draft in begun])
            await insert_orders(tx, [draft for _, draft in begun])
        return [None] * len(begun)

    async def _conclude(self, conclusions: Sequence[Conclusion]) -> Sequence[Answer]:
        """What the gateway told, and the answers of the calls, in one commit."""
        learnt = [
            Learnt(each.order.merchant_id, each.order.order_id, each.attempt, fact, "api", each.claim.scope.key)
            for each in conclusions
            for fact in each.facts
        ]
        async with self._database.transaction() as tx:
            await apply_facts(tx, learnt, self._clock.now())
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
