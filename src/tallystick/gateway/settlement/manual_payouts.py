"""Payouts that merchants ask for: what is available goes to their bank at once, and is called off while it is pending.

Each is one transaction under the lock of the balance, like the closing of a day: of many at once, and of one beside a
day that is being closed, none takes what another has taken. The database itself refuses more than there is.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from tallystick.gateway.balance.payout import Payout
from tallystick.gateway.ledger import postings
from tallystick.gateway.ledger.commands import Books, Cause, transactions_of
from tallystick.gateway.ledger.terms import Terms
from tallystick.gateway.settlement.parameters import CancelPayout, CreatePayout
from tallystick.gateway.settlement.payouts import PAYOUT_ARRIVES, SQL, cause_of, told
from tallystick.gateway.stripe_wire import balance_objects, errors
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.gateway.stripe_wire.parameters import merged_metadata
from tallystick.gateway.stripe_wire.reading import Reading
from tallystick.gateway.webhooks import events
from tallystick.gateway.webhooks.events import Happening
from tallystick.kernel.idempotency import Idempotency
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import stored

Answer = Reply | Exception

INSUFFICIENT: Final = "balance_insufficient"


class ManualPayouts:
    """The commands of payouts. `woken` is told when webhooks are due."""

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        reading: Reading,
        clock: Clock,
        entropy: Entropy,
        woken: Callable[[], None],
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._reading = reading
        self._clock = clock
        self._entropy = entropy
        self._woken = woken
        self._books = Books()

    async def create(self, items: Sequence[tuple[Call, CreatePayout]]) -> list[Answer]:
        """Pay out of what is available."""
        return [await self._alone(partial(self._create, call, sent)) for call, sent in items]

    async def cancel(self, items: Sequence[tuple[Call, str, CancelPayout]]) -> list[Answer]:
        """Call off what is still pending: the amount is available again."""
        return [await self._alone(partial(self._cancel, call, id, sent)) for call, id, sent in items]

    async def _alone(self, work: Callable[[Transaction], Awaitable[tuple[Reply, bool]]]) -> Answer:
        """A transaction for each: it waits for the balance alone."""
        try:
            async with self._database.transaction() as tx:
                reply, due = await work(tx)
        except errors.WireError as error:
            return error
        if due:
            self._woken()
        return reply

    async def _create(self, call: Call, sent: CreatePayout, tx: Transaction) -> tuple[Reply, bool]:
        at = self._clock.now()
        account_id, livemode, currency = call.caller.account_id, call.caller.livemode, sent.currency.upper()
        rows = await tx.rows(SQL.lock_balance, account_id, livemode, currency)
        if not rows or rows[0]["next_day"] is None:
            raise _insufficient(sent)
        terms = Terms(**{field: rows[0][field] for field in Terms.__struct_fields__})
        payout = Payout(
            account_id=account_id,
            livemode=livemode,
            id=new_id("po", at, self._entropy),
            currency=currency,
            day=terms.day_of(at),
            amount=sent.amount,
            status="pending",
            arrival_at=at + PAYOUT_ARRIVES,
            created_at=at,
            automatic=False,
            description=sent.description,
            statement_descriptor=sent.statement_descriptor,
            metadata=msgspec.json.encode(merged_metadata({}, sent.metadata)).decode(),
            trace=stored(),
        )
        if not await tx.execute(SQL.insert_payout_within, *msgspec.structs.astuple(payout)):
            raise _insufficient(sent)
        entry = postings.paid_out(cause_of(payout), payout.id, payout.amount, at)
        posted = await self._books.post(tx, [entry], at=at, entropy=self._entropy)
        made = posted[_cause("payout", payout)]
        shaped = balance_objects.payout(payout, made)
        return await self._end(tx, call, told("payout.created", payout, made), shaped, sent.expand)

    async def _cancel(self, call: Call, id: str, sent: CancelPayout, tx: Transaction) -> tuple[Reply, bool]:
        at = self._clock.now()
        key = (call.caller.account_id, call.caller.livemode, id)
        found = await tx.rows(SQL.find_payout, *key)
        if not found:
            raise errors.no_such("payout", id)
        await tx.rows(SQL.lock_balance, *key[:2], found[0]["currency"])
        called_off = await tx.execute(SQL.cancel_payout, *key)
        [row] = await tx.rows(SQL.find_payout, *key)
        payout = Payout(**row)
        if not called_off:
            raise _not_pending(payout)
        entry = postings.payout_canceled(cause_of(payout), payout.id, payout.amount, at)
        posted = await self._books.post(tx, [entry], at=at, entropy=self._entropy)
        made = (await transactions_of(tx, [_cause("payout", payout)]))[_cause("payout", payout)]
        moved = (made, posted[_cause("payout_cancel", payout)])
        shaped = balance_objects.payout(payout, *moved)
        return await self._end(tx, call, told("payout.canceled", payout, *moved, trace=stored()), shaped, sent.expand)

    async def _end(
        self, tx: Transaction, call: Call, happening: Happening, shaped: Json, expand: Sequence[str]
    ) -> tuple[Reply, bool]:
        """The event, and the answer under the call's key; whether webhooks are due."""
        recorded = await events.record(tx, [happening], at=self._clock.now(), entropy=self._entropy)
        if expand:
            await self._reading.expand(tx, call.caller, [shaped], expand)
        reply = Reply(200, msgspec.json.encode(shaped))
        await self._idempotency.finish(tx, [(call.claim, reply.status, reply.body)])
        return reply, recorded.due


def _cause(kind: str, payout: Payout) -> Cause:
    return payout.account_id, payout.livemode, f"{kind}:{payout.id}"


def _insufficient(sent: CreatePayout) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"You have insufficient funds for a payout of {sent.amount} in {sent.currency.lower()}: what is available, "
        "less what refunds and disputes have taken since, does not suffice.",
        code=INSUFFICIENT,
        param="amount",
    )


def _not_pending(payout: Payout) -> errors.InvalidRequest:
    if payout.automatic:
        return errors.unexpected_state("Automatic payouts cannot be canceled.", code=None)
    return errors.unexpected_state(
        f"Payouts can be canceled while they are pending; this one is {payout.status}.", code=None
    )
