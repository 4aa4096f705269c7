"""How a call ends whose caller never came back (RULES §5): as a retry would have found it, but nothing is begun anew.

A charge that may have been sent is looked up at the acquirer, and left to the inquiries where that cannot tell; it is
never sent again, because its card data is gone. What certainly came to nothing ends as `processing_error`. The answer
is kept under the key.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from tallystick.gateway.payments import answering, charging, inputs, resuming
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.inquiring import Inquiries
from tallystick.gateway.payments.payment import Payment
from tallystick.gateway.payments.records import Key
from tallystick.gateway.payments.resuming import Recovery
from tallystick.gateway.payments.work import Answer, Outcome, Tell, Work
from tallystick.gateway.stripe_wire import errors, keyed, objects
from tallystick.gateway.stripe_wire.call import Call, Caller
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.kernel.idempotency import Claim, Idempotency, LeaseLost
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

_NOT_REACHED = "The acquirer could not be reached. Nothing was done."


class Completion:
    """Ends abandoned calls of the wire: the `resume` of the kernel's completer."""

    def __init__(
        self,
        carrying: Carrying,
        inquiries: Inquiries,
        idempotency: Idempotency,
        database: Database,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._carrying = carrying
        self._inquiries = inquiries
        self._idempotency = idempotency
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def resume(self, claims: Sequence[Claim]) -> None:
        """End these calls side by side. Raises DatabaseError; what else breaks one of them leaves it for next time."""
        results = await asyncio.gather(*(self._resume(claim) for claim in claims), return_exceptions=True)
        for result in results:
            if isinstance(result, DatabaseError):
                raise result
            if isinstance(result, BaseException) and not isinstance(result, LeaseLost):
                log.error("an abandoned call could not be ended: %s", type(result).__name__, exc_info=result)

    async def _resume(self, claim: Claim) -> None:
        assert claim.recovery is not None, "only what was begun is resumed"
        recovery = msgspec.json.decode(claim.recovery, type=Recovery)
        owner, livemode = claim.scope.owner_id, claim.scope.mode == "live"
        key = (owner, livemode, recovery.intent)
        request_id = new_id("req", self._clock.now(), self._entropy)
        call = Call(Caller(owner, livemode), request_id, keyed.shown(claim.scope.key), claim)
        tell, answer = (
            await self._of_charge(key, recovery.charge)
            if recovery.charge is not None
            else await self._of_request(key, recovery.request or "")
        )
        work = Work(
            key=key,
            call=call,
            tell=tell,
            answer=answer,
            charges=(recovery.charge,) if recovery.charge is not None else (),
            requests=(recovery.request,) if recovery.request is not None else (),
        )
        outcome = await self._carrying.carry(work)
        if isinstance(outcome.reply, errors.WireError):
            reply = outcome.reply.reply()
            async with self._database.transaction() as tx:
                await self._idempotency.finish(tx, [(claim, reply.status, reply.body)])

    async def _of_charge(self, key: Key, id: str) -> tuple[Tell, Answer]:
        learnt = await self._inquiries.charge((*key[:2], id))

        def tell(payment: Payment) -> inputs.Input | None:
            charge = payment.charge(id)
            if charge is None:
                return None
            if charge.state == "authenticating" and charge.authentication is None:
                return inputs.ChargeNotSent(charge_id=id)  # its challenge was never begun
            return resuming.answer_of(charge, learnt)

        def answer(outcome: Outcome) -> Json | errors.WireError:
            charge = outcome.payment.charge(id)
            if charge is not None and not resuming.came_to_nothing(charge):
                return answering.confirmed(outcome, id)
            return errors.card_declined(
                charging.PROCESSING_ERROR,
                None,
                charging.NEVER_ARRIVED,
                intent=objects.payment_intent(outcome.payment.intent),
            )

        return tell, answer

    async def _of_request(self, key: Key, id: str) -> tuple[Tell, Answer]:
        learnt = await self._inquiries.request((*key[:2], id))

        def tell(payment: Payment) -> inputs.Input | None:
            request = payment.request(id)
            return resuming.answer_of_request(request, learnt) if request is not None else None

        def answer(outcome: Outcome) -> Json | errors.WireError:
            request = outcome.payment.request(id)
            if request is not None and request.refund is not None:
                return answering.refund(outcome, id)
            answered = answering.requested(outcome, id)
            if not isinstance(answered, errors.Unavailable):
                return answered
            shaped = objects.payment_intent(outcome.payment.intent)
            if request is not None and request.state == "refused":
                return errors.unexpected_state(_NOT_REACHED, code=None, intent=shaped)
            return shaped  # still unknown: the intent says what is certain, and events tell the rest

        return tell, answer
