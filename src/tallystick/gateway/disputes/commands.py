"""The commands of disputes: parameters in, answers out. Each takes a list and answers every item (DESIGN §2.2)."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from tallystick.gateway.disputes.parameters import CloseDispute, UpdateDispute
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.commands import answer_each
from tallystick.gateway.payments.opening import metadata_text
from tallystick.gateway.payments.payment import Payment
from tallystick.gateway.payments.work import Outcome, Tell, Work
from tallystick.gateway.stripe_wire import balance_objects, errors
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.gateway.stripe_wire.parameters import merged_metadata
from tallystick.ports.database import Database, Statements

SQL = Statements.beside(__file__)


class Disputes:
    """The commands of disputes."""

    def __init__(self, carrying: Carrying, database: Database) -> None:
        self._carrying = carrying
        self._database = database

    async def update(self, items: Sequence[tuple[Call, str, UpdateDispute]]) -> list[Reply | Exception]:
        """Add evidence and send it, change metadata."""
        return await answer_each(self._update, items)

    async def close(self, items: Sequence[tuple[Call, str, CloseDispute]]) -> list[Reply | Exception]:
        """Accept a dispute."""
        return await answer_each(self._close, items)

    async def _update(self, call: Call, id: str, sent: UpdateDispute) -> Outcome:
        def tell(payment: Payment) -> inputs.UpdateDispute:
            dispute = payment.dispute(id)
            assert dispute is not None, "a payment's disputes are loaded with it"
            evidence = None
            if sent.evidence is not None:
                # An empty text drops what is there.
                evidence = merged_metadata(msgspec.json.decode(dispute.evidence), sent.evidence)
            return inputs.UpdateDispute(
                dispute_id=id,
                evidence=UNSET if evidence is None else msgspec.json.encode(evidence).decode(),
                metadata=metadata_text(dispute.metadata, sent.metadata),
                submit=sent.submits,
            )

        return await self._carry(call, id, tell, tuple(sent.expand))

    async def _close(self, call: Call, id: str, sent: CloseDispute) -> Outcome:
        return await self._carry(call, id, lambda _: inputs.CloseDispute(dispute_id=id), tuple(sent.expand))

    async def _carry(self, call: Call, id: str, tell: Tell, expand: tuple[str, ...]) -> Outcome:
        owner = (call.caller.account_id, call.caller.livemode)
        rows = await self._database.rows(SQL.payment_of_dispute, *owner, id)
        if not rows:
            raise errors.no_such("dispute", id)

        def answer(outcome: Outcome) -> Json | errors.WireError:
            if outcome.refusal is not None:
                return errors.unexpected_state(outcome.refusal.message, code=outcome.refusal.code)
            dispute = outcome.payment.dispute(id)
            assert dispute is not None, "a payment's disputes are loaded with it"
            return balance_objects.dispute(dispute)

        work = Work(
            key=(*owner, rows[0]["payment_intent"]),
            call=call,
            tell=tell,
            charges=(rows[0]["charge"],),
            disputes=True,
            answer=answer,
            expand=expand,
        )
        return await self._carrying.once(work)
