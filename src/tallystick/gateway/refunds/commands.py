"""The commands of refunds: parameters in, answers out. Each takes a list and answers every item (DESIGN §2.2).

A refund that the acquirer has not answered for is `pending`, and the answer says so; what becomes of it is told by
webhook. A call that resumes after a crash finds its request and goes on from there (RULES §5).
"""

from collections.abc import Sequence

from tallystick.gateway.payments import answering, inputs, resuming
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.commands import answer_each
from tallystick.gateway.payments.inquiring import Inquiries
from tallystick.gateway.payments.opening import metadata_text
from tallystick.gateway.payments.payment import Payment
from tallystick.gateway.payments.records import Key
from tallystick.gateway.payments.resuming import Recovery
from tallystick.gateway.payments.work import Outcome, Tell, Work
from tallystick.gateway.refunds.parameters import CancelRefund, CreateRefund, RefundAsSeen, UpdateRefund
from tallystick.gateway.stripe_wire import errors, objects
from tallystick.gateway.stripe_wire.call import Call, Caller, Reply
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)


class Refunds:
    """The commands of refunds."""

    def __init__(
        self, carrying: Carrying, inquiries: Inquiries, database: Database, clock: Clock, entropy: Entropy
    ) -> None:
        self._carrying = carrying
        self._inquiries = inquiries
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def create(self, items: Sequence[tuple[Call, CreateRefund]]) -> list[Reply | Exception]:
        """Give money back."""
        return await answer_each(self._create, items)

    async def update(self, items: Sequence[tuple[Call, str, UpdateRefund]]) -> list[Reply | Exception]:
        """Change metadata."""
        return await answer_each(self._update, items)

    async def cancel(self, items: Sequence[tuple[Call, str, CancelRefund]]) -> list[Reply | Exception]:
        """Call a refund off that has not left yet."""
        return await answer_each(self._cancel, items)

    async def _update(self, call: Call, id: str, sent: UpdateRefund) -> Outcome:
        def tell(payment: Payment) -> inputs.UpdateRefund:
            refund = payment.refund(id)
            assert refund is not None, "the refund that is meant is loaded"
            return inputs.UpdateRefund(refund_id=id, metadata=metadata_text(refund.metadata, sent.metadata))

        return await self._change(call, id, tell, tuple(sent.expand))

    async def _cancel(self, call: Call, id: str, sent: CancelRefund) -> Outcome:
        return await self._change(call, id, lambda _: inputs.CancelRefund(refund_id=id), tuple(sent.expand))

    async def _change(self, call: Call, id: str, tell: Tell, expand: tuple[str, ...]) -> Outcome:
        """A command about a refund that exists."""
        owner = (call.caller.account_id, call.caller.livemode)
        rows = await self._database.rows(SQL.payment_of_refund, *owner, id)
        if not rows:
            raise errors.no_such("refund", id)

        def answer(outcome: Outcome) -> Json | errors.WireError:
            if outcome.refusal is not None:
                return errors.unexpected_state(outcome.refusal.message, code=outcome.refusal.code)
            refund = outcome.payment.refund(id)
            assert refund is not None, "the refund that is meant is loaded"
            return objects.refund(refund)

        work = Work(
            key=(*owner, rows[0]["payment_intent"]),
            call=call,
            tell=tell,
            charges=(rows[0]["charge"],),
            refunds=(id,),
            answer=answer,
            expand=expand,
        )
        return await self._carrying.once(work)

    async def _create(self, call: Call, sent: CreateRefund) -> Outcome:
        at = self._clock.now()
        key = await self._payment(call.caller, sent)
        refund_id, request_id = new_id("re", at, self._entropy), new_id("acr", at, self._entropy)
        recovery = resuming.recovered(call)
        earlier = recovery.request if recovery is not None else None
        learnt = await self._inquiries.request((*key[:2], earlier)) if earlier is not None else None
        metadata = metadata_text("{}", sent.metadata)
        assert isinstance(metadata, str)

        def tell(payment: Payment) -> inputs.Input | None:
            request = payment.request(earlier) if earlier is not None else None
            if request is not None:
                return resuming.answer_of_request(request, learnt)
            if isinstance(sent, RefundAsSeen):
                _check_seen(payment, sent)
            return inputs.CreateRefund(
                refund_id=refund_id,
                request_id=request_id,
                charge_id=sent.charge,
                amount=sent.amount,
                reason=sent.reason,
                metadata=metadata,
            )

        def answer(outcome: Outcome) -> Json | errors.WireError:
            tried = outcome.payment.request(request_id)
            return answering.refund(outcome, request_id if tried is not None or earlier is None else earlier)

        work = Work(
            key=key,
            call=call,
            tell=tell,
            charges=(sent.charge,) if sent.charge is not None else (),
            requests=(earlier,) if earlier is not None else (),
            answer=answer,
            expand=tuple(sent.expand),
            recovery=resuming.noted(Recovery(key[2], request=request_id)),
        )
        try:
            return await self._carrying.carry(work)
        except errors.InvalidRequest as error:
            if error.status == 404:
                raise errors.no_such("payment_intent", key[2], param="payment_intent") from None
            raise

    async def _payment(self, caller: Caller, sent: CreateRefund) -> Key:
        """The payment that is meant. Raises InvalidRequest where the account has no such charge."""
        if sent.payment_intent is not None:
            return caller.account_id, caller.livemode, sent.payment_intent
        assert sent.charge is not None, "checked with the parameters"
        rows = await self._database.rows(SQL.intent_of_charge, caller.account_id, caller.livemode, sent.charge)
        if not rows:
            raise errors.no_such_reference("charge", sent.charge, param="charge")
        return caller.account_id, caller.livemode, rows[0]["payment_intent"]


def _check_seen(payment: Payment, sent: RefundAsSeen) -> None:
    """Raises UnexpectedState where another amount could be given back than was seen. The payment is locked, so of two
    that saw the same the second is refused."""
    charge = payment.charge(sent.charge) if sent.charge is not None else payment.live
    left = charge.refundable if charge is not None else 0
    if left != sent.refundable:
        raise errors.unexpected_state(
            f"{left} could be given back by now, and not {sent.refundable}: somebody was faster. Look again.",
            code="refundable_changed",
        )
