"""The commands of payment intents: parameters in, answers out. Each takes a list and answers every item (DESIGN §2.2).

A command makes a `Work` of its call; `work.py` commits it, `carrying.py` speaks to the acquirer where it must. A call
that resumes after a crash (`resuming.py`) finds its charge or request and goes on from there (RULES §5).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from tallystick.gateway.accounts.origins import check_return_url
from tallystick.gateway.acquirers.port import Acquirer
from tallystick.gateway.card_testing.guard import CardTesting, Try
from tallystick.gateway.customers.known import KnownCustomers
from tallystick.gateway.payments import answering, inputs, resuming
from tallystick.gateway.payments.capturing import NOT_SENT
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.inquiring import Inquiries
from tallystick.gateway.payments.opening import NamedCard, NamedCards, metadata_text, new_intent
from tallystick.gateway.payments.parameters import (
    CancelIntent,
    CaptureIntent,
    ConfirmIntent,
    CreateIntent,
    UpdateIntent,
)
from tallystick.gateway.payments.payment import Payment
from tallystick.gateway.payments.records import SQL, Key
from tallystick.gateway.payments.resuming import Recovery
from tallystick.gateway.payments.work import Outcome, Work
from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Call, Caller, Reply
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.kernel.identifiers import new_id, owned_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy


class Payments:
    """The commands of payment intents."""

    def __init__(
        self,
        carrying: Carrying,
        inquiries: Inquiries,
        acquirer: Acquirer,
        database: Database,
        clock: Clock,
        entropy: Entropy,
        guard: CardTesting,
    ) -> None:
        self._guard = guard
        self._carrying = carrying
        self._inquiries = inquiries
        self._acquirer = acquirer
        self._cards = NamedCards(acquirer, entropy)
        self._customers = KnownCustomers(database)
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def create(self, items: Sequence[tuple[Call, CreateIntent]]) -> list[Reply | Exception]:
        """Open payments, and confirm those that ask for it."""
        return await answer_each(self._create, items)

    async def update(self, items: Sequence[tuple[Call, str, UpdateIntent]]) -> list[Reply | Exception]:
        """Change card, description or metadata."""
        return await answer_each(self._update, items)

    async def confirm(self, items: Sequence[tuple[Call, str, ConfirmIntent]]) -> list[Reply | Exception]:
        """Pay."""
        return await answer_each(self._confirm, items)

    async def capture(self, items: Sequence[tuple[Call, str, CaptureIntent]]) -> list[Reply | Exception]:
        """Take what was authorised."""
        return await answer_each(self._capture, items)

    async def cancel(self, items: Sequence[tuple[Call, str, CancelIntent]]) -> list[Reply | Exception]:
        """Give up, and void what was authorised."""
        return await answer_each(self._cancel, items)

    async def _create(self, call: Call, sent: CreateIntent) -> Outcome:
        recovery = resuming.recovered(call)
        if recovery is not None:
            confirm = ConfirmIntent(
                payment_method=sent.payment_method,
                return_url=sent.return_url,
                error_on_requires_action=sent.error_on_requires_action,
                off_session=sent.off_session,
                expand=sent.expand,
            )
            return await self._confirm(call, recovery.intent, confirm)
        at = self._clock.now()
        check_return_url("return_url", sent.return_url, call.caller.origins, call.caller.livemode)
        if sent.confirm and sent.payment_method is None:
            raise errors.missing("payment_method")
        if sent.confirm:
            self._check_mode(call.caller)
        if sent.customer is not None:
            await self._customers.check(call.caller, sent.customer)
        card = self._cards.named(call.caller, sent.payment_method, at)
        intent = new_intent(
            call.caller,
            amount=sent.amount,
            currency=sent.currency.upper(),
            capture_method=sent.capture_method,
            description=sent.description,
            metadata=sent.metadata,
            at=at,
            entropy=self._entropy,
            customer=sent.customer,
            setup_future_usage=sent.setup_future_usage,
        )
        opens = Payment(intent=intent)
        if card is not None and not sent.confirm:
            opens = replace(opens, intent=replace(intent, payment_method=card.id))
            opens = opens.having(card.made) if card.made is not None else opens
        charge_id = self._charge_id(call.caller, at) if sent.confirm else ""

        def tell(payment: Payment) -> inputs.Confirm | None:
            method = card.of(payment) if card is not None else None
            if not sent.confirm:
                return None
            return inputs.Confirm(
                charge_id=charge_id,
                method=method,
                return_url=sent.return_url,
                error_on_requires_action=sent.error_on_requires_action or sent.off_session,
            )

        work = Work(
            key=(intent.account_id, intent.livemode, intent.id),
            opens=opens,
            call=call,
            tell=tell,
            methods=card.stored if card is not None else (),
            answer=lambda outcome: (
                answering.confirmed(outcome, charge_id) if sent.confirm else answering.intent(outcome)
            ),
            expand=tuple(sent.expand),
            recovery=resuming.noted(Recovery(intent.id, charge=charge_id)),
        )
        if not sent.confirm:
            return await self._carrying.once(work)
        await self._admit(call.caller, card, intent.id)
        return await self._carrying.carry(work)

    async def _update(self, call: Call, id: str, sent: UpdateIntent) -> Outcome:
        at = self._clock.now()
        card = self._cards.named(call.caller, sent.payment_method, at) if isinstance(sent.payment_method, str) else None

        def tell(payment: Payment) -> inputs.Update:
            return inputs.Update(
                method=card.of(payment) if card is not None else None,
                description=(sent.description or None) if isinstance(sent.description, str) else UNSET,
                metadata=metadata_text(payment.intent.metadata, sent.metadata),
            )

        work = Work(
            key=_key(call.caller, id),
            call=call,
            tell=tell,
            methods=card.stored if card is not None else (),
            answer=answering.intent,
            expand=tuple(sent.expand),
        )
        return await self._carrying.once(work)

    async def _confirm(self, call: Call, id: str, sent: ConfirmIntent) -> Outcome:
        at = self._clock.now()
        check_return_url("return_url", sent.return_url, call.caller.origins, call.caller.livemode)
        self._check_mode(call.caller)
        card = self._cards.named(call.caller, sent.payment_method, at)
        charge_id = self._charge_id(call.caller, at)
        recovery = resuming.recovered(call)
        earlier = recovery.charge if recovery is not None else None
        learnt = await self._inquiries.charge(_key(call.caller, earlier)) if earlier is not None else None

        def confirm(payment: Payment) -> inputs.Confirm:
            if sent.amount_to_confirm not in (None, payment.intent.amount):
                raise errors.invalid(
                    "amount_to_confirm", "`amount_to_confirm` is not the amount of this PaymentIntent."
                )
            return inputs.Confirm(
                charge_id=charge_id,
                method=card.of(payment) if card is not None else None,
                return_url=sent.return_url,
                error_on_requires_action=sent.error_on_requires_action or sent.off_session,
            )

        def tell(payment: Payment) -> inputs.Input | None:
            charge = payment.charge(earlier)
            if charge is None or resuming.came_to_nothing(charge):
                return confirm(payment)
            return resuming.answer_of(charge, learnt)

        def answer(outcome: Outcome) -> Json | errors.WireError:
            tried = outcome.payment.charge(charge_id)
            return answering.confirmed(outcome, charge_id if tried is not None or earlier is None else earlier)

        work = Work(
            key=_key(call.caller, id),
            call=call,
            tell=tell,
            charges=(earlier,) if earlier is not None else (),
            methods=card.stored if card is not None else (),
            answer=answer,
            expand=tuple(sent.expand),
            recovery=resuming.noted(Recovery(id, charge=charge_id)),
        )
        if recovery is None:
            await self._admit(call.caller, card, id)
        return await self._carrying.carry(work)

    async def _capture(self, call: Call, id: str, sent: CaptureIntent) -> Outcome:
        several_allowed = sent.final_capture or await self._several_allowed(call.caller)

        def capture(payment: Payment, request_id: str) -> inputs.Capture:
            return inputs.Capture(
                request_id=request_id,
                amount=sent.amount_to_capture,
                final=sent.final_capture,
                several_allowed=several_allowed,
                metadata=metadata_text(payment.intent.metadata, sent.metadata),
            )

        return await self._request(call, id, capture, tuple(sent.expand))

    async def _cancel(self, call: Call, id: str, sent: CancelIntent) -> Outcome:
        def cancel(_payment: Payment, request_id: str) -> inputs.Cancel:
            return inputs.Cancel(request_id=request_id, reason=sent.cancellation_reason)

        return await self._request(call, id, cancel, tuple(sent.expand))

    async def _request(
        self, call: Call, id: str, command: Callable[[Payment, str], inputs.Command], expand: tuple[str, ...]
    ) -> Outcome:
        """A command that may ask the acquirer to capture or to void."""
        request_id = new_id("acr", self._clock.now(), self._entropy)
        recovery = resuming.recovered(call)
        earlier = recovery.request if recovery is not None else None
        learnt = await self._inquiries.request(_key(call.caller, earlier)) if earlier is not None else None

        def tell(payment: Payment) -> inputs.Input | None:
            request = payment.request(earlier) if earlier is not None else None
            if request is None or (request.state == "refused" and request.refusal == NOT_SENT):
                return command(payment, request_id)
            return resuming.answer_of_request(request, learnt)

        def answer(outcome: Outcome) -> Json | errors.WireError:
            tried = outcome.payment.request(request_id)
            return answering.requested(outcome, request_id if tried is not None or earlier is None else earlier)

        work = Work(
            key=_key(call.caller, id),
            call=call,
            tell=tell,
            requests=(earlier,) if earlier is not None else (),
            answer=answer,
            expand=expand,
            recovery=resuming.noted(Recovery(id, request=request_id)),
        )
        return await self._carrying.carry(work)

    async def _admit(self, caller: Caller, card: NamedCard | None, intent_id: str) -> None:
        """Count a call that confirms. Raises TooMany where its card was tried too often."""
        if card is not None and card.made is not None:
            tried: Try | None = Try(caller.account_id, caller.livemode, card.made.fingerprint)
        else:
            method = card.id if card is not None else None
            tried = await self._guard.tried_by_call(caller.account_id, caller.livemode, method=method, intent=intent_id)
        wait_s = await self._guard.admit(tried) if tried is not None else 0
        if wait_s:
            raise errors.card_tried_too_often(wait_s)

    async def _several_allowed(self, caller: Caller) -> bool:
        return bool(await self._database.rows(SQL.accounts_with_several_captures, [caller.account_id]))

    def _check_mode(self, caller: Caller) -> None:
        if caller.livemode and self._acquirer.simulated:
            raise errors.NotPermitted("Live payments need an acquirer other than the simulated one.")

    def _charge_id(self, caller: Caller, at: datetime) -> str:
        return owned_id("ch", caller.account_id, at, self._entropy)


def _key(caller: Caller, id: str) -> Key:
    return caller.account_id, caller.livemode, id


async def answer_each(
    command: Callable[..., Awaitable[Outcome]], items: Sequence[tuple[Any, ...]]
) -> list[Reply | Exception]:
    """Run a command for every item side by side; what it raises belongs to that item alone."""
    if len(items) == 1:
        return [await _answer_one(command, items[0])]
    return list(await asyncio.gather(*(_answer_one(command, item) for item in items)))


async def _answer_one(command: Callable[..., Awaitable[Outcome]], item: tuple[Any, ...]) -> Reply | Exception:
    try:
        outcome = await command(*item)
    except Exception as error:  # handed to whoever waits for this item
        return error
    assert outcome.reply is not None, "every call is answered"
    return outcome.reply
