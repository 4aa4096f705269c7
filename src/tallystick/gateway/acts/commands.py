"""What operators do about a payment, by whatever door: the merchant's commands, called in the name of its account.

An act goes the way of a call of the wire, from its key to the answer that is kept under it (RULES §5), so sent twice
it is done once, and what broke off half-way is ended. Its keys lie where no merchant's can: a merchant's are ASCII.
Of a refund it is said besides how much could be given back when it was decided; what was decided on something that
is no longer true is refused, whatever its key.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.commands import Payments
from tallystick.gateway.payments.inquiring import Inquiries
from tallystick.gateway.payments.parameters import CancelIntent
from tallystick.gateway.payments.records import Key
from tallystick.gateway.payments.work import Work
from tallystick.gateway.refunds.commands import Refunds
from tallystick.gateway.refunds.parameters import RefundAsSeen
from tallystick.gateway.stripe_wire import errors, keyed
from tallystick.gateway.stripe_wire.call import Call, Caller, Reply
from tallystick.gateway.stripe_wire.keyed import Keyed
from tallystick.gateway.timeline.timeline import Timelines
from tallystick.kernel.batching import QueueFull
from tallystick.kernel.idempotency import Claim, ClaimRequest, Scope, fingerprint
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.operators.problems import Conflict, NotFound, Unavailable, UnderWay
from tallystick.kernel.problems import FieldError, FieldsRefused, Problem
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

CHARGE: Final = "charge"


class Standing(Struct, frozen=True, kw_only=True):
    """How a payment stands for who may do something about it. Amounts in minor units; `charge` holds the shopper's
    money, `refundable` of it may still go back; of `unknown` charges and requests nobody knows the outcome."""

    id: str
    account: str
    livemode: bool
    status: str
    amount: int
    currency: str
    amount_received: int
    amount_capturable: int
    charge: str | None
    refundable: int
    unknown: list[str]

    @property
    def key(self) -> Key:
        return self.account, self.livemode, self.id


class GivingBack(Struct, frozen=True, kw_only=True):
    """A refund as it was decided: `refundable` is what could be given back then, and without an `amount` all of it is.
    Minor units."""

    refundable: int
    amount: int | None = None
    reason: str | None = None


class GivenBack(Struct, frozen=True, kw_only=True):
    """The refund: `pending` until the bank has answered, then its webhooks tell what became of it."""

    payment: str
    refund: str
    status: str
    amount: int
    currency: str


class GivenUp(Struct, frozen=True, kw_only=True):
    """The payment is canceled, and what was authorised released."""

    payment: str
    status: str


class Asked(Struct, frozen=True, kw_only=True):
    """One unknown outcome after the bank was asked; `known`: it could tell, and that is recorded."""

    id: str
    kind: str
    known: bool


class Acts:
    """What operators do about a payment."""

    def __init__(
        self,
        payments: Payments,
        refunds: Refunds,
        inquiries: Inquiries,
        carrying: Carrying,
        keyed: Keyed,
        database: Database,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._payments = payments
        self._refunds = refunds
        self._inquiries = inquiries
        self._carrying = carrying
        self._keyed = keyed
        self._timelines = Timelines(database, clock)
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def standing(self, payment_id: str) -> Standing:
        """How a payment stands, in whatever account it is. Raises NotFound."""
        found = await self._timelines.find(payment_id)
        if found is None or found.intent != payment_id:
            raise NotFound
        return await self.standing_of((found.account_id, found.livemode, payment_id))

    async def standing_of(self, key: Key) -> Standing:
        """How a payment stands that there is."""
        [row] = await self._database.rows(SQL.standing_of_payment, *key)
        unknown = await self._database.rows(SQL.unknown_of_payment, *key)
        return Standing(
            account=key[0],
            livemode=key[1],
            id=key[2],
            status=row["status"],
            amount=row["amount"],
            currency=row["currency"],
            amount_received=row["amount_received"],
            amount_capturable=row["amount_capturable"],
            charge=row["charge"],
            refundable=row["refundable"],
            unknown=[each["id"] for each in unknown],
        )

    async def refund(self, payment: Standing, wanted: GivingBack, key: str) -> GivenBack:
        """Give money back, once for each `key`. Raises Problem."""
        sent = _refund(payment, wanted)
        asked = {"amount": sent.amount, "reason": sent.reason}  # what was seen is a condition, and may be seen anew

        async def execute(call: Call) -> Reply:
            [answer] = await self._refunds.create([(call, sent)])
            return _raised(answer)

        made = await self._once(payment, "refund", key, asked, execute)
        return GivenBack(
            payment=payment.id,
            refund=made["id"],
            status=made["status"],
            amount=made["amount"],
            currency=made["currency"].upper(),
        )

    async def cancel(self, payment: Standing, reason: str | None, key: str) -> GivenUp:
        """Give the payment up, and release what was authorised; once for each `key`. Raises Problem."""
        try:
            sent = CancelIntent(cancellation_reason=reason)
        except errors.WireError as error:
            raise _problem(error) from None

        async def execute(call: Call) -> Reply:
            [answer] = await self._payments.cancel([(call, payment.id, sent)])
            return _raised(answer)

        made = await self._once(payment, "cancel", key, {"reason": reason}, execute)
        return GivenUp(payment=payment.id, status=made["status"])

    async def inquire(self, payment: Standing) -> list[Asked]:
        """Ask the bank now about every outcome of the payment that nobody knows, and record what it says.

        When it is asked again by itself, and when it is taken for granted that nothing will come, go on by their own
        schedule: they count from when something was sent, and not by how often somebody asks. Raises Problem."""
        rows = await self._database.rows(SQL.unknown_of_payment, *payment.key)
        try:
            return [await self._ask(payment.key, row["id"], row["kind"]) for row in rows]
        except (errors.WireError, QueueFull) as error:
            raise _problem(error) from None

    async def _ask(self, payment: Key, id: str, kind: str) -> Asked:
        asked = self._inquiries.charge if kind == CHARGE else self._inquiries.request
        learnt = await asked((*payment[:2], id))
        if learnt is not None:
            named: dict[str, Any] = {"charges" if kind == CHARGE else "requests": (id,)}
            await self._carrying.carry(Work(key=payment, tell=lambda _: learnt, **named))
        return Asked(id=id, kind=kind, known=learnt is not None)

    async def _once(self, payment: Standing, act: str, key: str, asked: dict[str, Any], execute: Any) -> dict[str, Any]:
        """The object that the command answers, kept under the key. Raises Problem."""
        caller = Caller(payment.account, payment.livemode)
        scope = Scope(payment.account, caller.mode, keyed.of_operators(key))
        request = ClaimRequest(scope, fingerprint("POST", f"{payment.id}/{act}", asked))
        request_id = new_id("req", self._clock.now(), self._entropy)

        async def run(claim: Claim) -> Reply:
            reply: Reply = await execute(Call(caller, request_id, None, claim))
            return reply

        try:
            reply, _ = await self._keyed.run(request, run)
        except (errors.WireError, QueueFull) as error:
            raise _problem(error) from None
        answered: dict[str, Any] = msgspec.json.decode(reply.body)
        if reply.status >= 400:  # the refusal that was kept under the key
            raise Conflict(answered["error"]["message"])
        return answered


def _refund(payment: Standing, wanted: GivingBack) -> RefundAsSeen:
    try:
        return RefundAsSeen(
            payment_intent=payment.id, amount=wanted.amount, reason=wanted.reason, refundable=wanted.refundable
        )
    except errors.WireError as error:
        raise _problem(error) from None


def _raised(answer: Reply | Exception) -> Reply:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _problem(error: errors.WireError | QueueFull) -> Problem:
    """What the wire refuses, in the words of the operators' API."""
    if isinstance(error, QueueFull | errors.Unavailable):
        return Unavailable(error.message if isinstance(error, errors.WireError) else "")
    if isinstance(error, errors.KeyInUse):
        return UnderWay()
    if isinstance(error, errors.KeyReused | errors.UnexpectedState):
        return Conflict(error.message)
    if error.status == 404:
        return NotFound()
    return FieldsRefused("See errors.", errors=[FieldError(error.param or "body", error.message)])
