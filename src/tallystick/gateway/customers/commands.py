"""The commands of customers and of the cards that they saved. Load, decide, save; one commit for all of a batch.

What is told of a card says nothing of who its owner is; of customers themselves no event is written, because events
are kept and sent, and a name that is to be forgotten must not stand in them (RULES §12).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from tallystick.gateway.cards.commands import find_methods
from tallystick.gateway.customers.customer import KIND, Customer, shaped
from tallystick.gateway.customers.known import SQL, Key
from tallystick.gateway.customers.parameters import AttachMethod, CreateCustomer, DetachMethod, UpdateCustomer
from tallystick.gateway.payments.opening import USED_UP, metadata_text
from tallystick.gateway.payments.payment import PaymentMethod
from tallystick.gateway.people.records import Known, Records
from tallystick.gateway.people.tables import FIELDS
from tallystick.gateway.stripe_wire import errors, objects
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.errors import WireError
from tallystick.gateway.stripe_wire.parameters import Parameters, merged_metadata
from tallystick.gateway.vault.vault import Vault
from tallystick.gateway.webhooks import events
from tallystick.gateway.webhooks.events import Happening
from tallystick.kernel.columns import columns
from tallystick.kernel.idempotency import Idempotency
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Transaction
from tallystick.ports.entropy import Entropy

Answers = list[Reply | WireError]
METHOD_NOUN = "PaymentMethod"
NOT_ATTACHED = "The payment method you provided is not attached to a customer so detachment is impossible."


class Customers:
    """Creates, changes and deletes customers; saves cards for them and gives cards up."""

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        records: Records,
        vault: Vault | None,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self._records = records
        self._idempotency = idempotency
        self._vault = vault
        self._clock = clock
        self._entropy = entropy

    async def create(self, items: Sequence[tuple[Call, CreateCustomer]]) -> Answers:
        """New customers. Who they are is stored before (`people/records.py`). Raises KeysUnavailable."""
        at = self._clock.now()
        made = [self._made(call, sent, at) for call, sent in items]
        told = [{str(field): getattr(sent, field) for field in FIELDS} for _, sent in items]
        known = await self._records.keep(list(zip(map(_key_of, made), told, strict=True)))
        answers: Answers = [self._reply(one, who) for one, who in zip(made, known, strict=True)]
        async with self._database.transaction() as tx:
            await tx.execute(SQL.insert_customers, *columns(6, [_row(customer) for customer in made]))
            await self._finish(tx, [call for call, _ in items], answers)
        return answers

    async def update(self, items: Sequence[tuple[Call, str, UpdateCustomer]]) -> Answers:
        """Change customers. Raises KeysUnavailable."""
        known = await self._changed(items)
        answers: Answers = []
        async with self._database.transaction() as tx:
            present = await _locked(tx, list(known))
            changed: set[Key] = set()
            for call, id, sent in items:
                key = _key(call, id)
                if key not in present:
                    answers.append(errors.no_such(KIND, id))
                    continue
                present[key] = _updated(present[key], sent)
                changed.add(key)
                answers.append(self._reply(present[key], known[key].pop(0)))
            after = [present[key] for key in sorted(changed)]
            await tx.execute(SQL.save_customers, *columns(5, [_row(one)[:5] for one in after]))
            await self._finish(tx, [call for call, _, _ in items], answers)
        await self._records.forget(sorted(known.keys() - present.keys()))  # deleted meanwhile, and just written anew
        return answers

    async def _changed(self, items: Sequence[tuple[Call, str, UpdateCustomer]]) -> dict[Key, list[Known]]:
        """Store what is told of those customers that there are; what is known of each after each of the calls."""
        rows = await self._database.rows(
            SQL.known_customers, *columns(3, sorted({_key(call, id) for call, id, _ in items}))
        )
        there: dict[Key, list[Known]] = {(row["account_id"], row["livemode"], row["customer_id"]): [] for row in rows}
        changes = [(_key(call, id), _told(sent)) for call, id, sent in items if _key(call, id) in there]
        for (key, _), one in zip(changes, await self._records.change(changes), strict=True):
            there[key].append(one)
        return there

    async def delete(self, items: Sequence[tuple[Call, str, Parameters]]) -> Answers:
        """Forget customers: the key of who they are is shredded, their cards are given up and the numbers shredded.
        The person goes first: whoever dies before the customer is deleted has forgotten nobody too few."""
        at = self._clock.now()
        answers: Answers = []
        keys = sorted({_key(call, id) for call, id, _ in items})
        there = await self._database.rows(SQL.known_customers, *columns(3, keys))
        await self._records.forget([(row["account_id"], row["livemode"], row["customer_id"]) for row in there])
        async with self._database.transaction() as tx:
            present = await _locked(tx, keys)
            keys = sorted(present)
            for call, id, _ in items:
                found = present.pop(_key(call, id), None)  # of two calls that delete it, one finds it
                reply = Reply(200, msgspec.json.encode(objects.deleted(KIND, id)))
                answers.append(reply if found is not None else errors.no_such(KIND, id))
            await tx.execute(SQL.delete_customers, *columns(3, keys), at)
            given_up = await tx.rows(SQL.methods_of_customers, *columns(3, keys))
            methods = await self._give_up(tx, [(row["account_id"], row["livemode"], row["id"]) for row in given_up])
            await self._finish(tx, [call for call, _, _ in items], answers)
        await self._release(methods, at)
        return answers

    async def attach(self, items: Sequence[tuple[Call, str, AttachMethod]]) -> Answers:
        """Save cards for customers; a card that is saved for one stays with that one."""
        at = self._clock.now()
        answers: Answers = []
        attached: dict[Key, PaymentMethod] = {}
        async with self._database.transaction() as tx:
            owners = await _locked(tx, [_key(call, sent.customer) for call, _, sent in items])
            methods = await self._locked_methods(tx, [_key(call, id) for call, id, _ in items])
            told: list[tuple[Call, PaymentMethod]] = []
            for call, id, sent in items:
                method = methods.get(_key(call, id))
                refusal = _not_attachable(method, id, sent.customer, _key(call, sent.customer) in owners)
                if refusal is not None:
                    answers.append(refusal)
                    continue
                assert method is not None, "refused otherwise"
                if method.attached_at is None:
                    method = replace(method, customer=sent.customer, attached_at=at)
                    methods[_key(call, id)] = attached[_key(call, id)] = method
                    told.append((call, method))
                answers.append(_method_reply(method))
            rows = [(*key, method.customer, method.attached_at) for key, method in sorted(attached.items())]
            await tx.execute(SQL.attach_named, *columns(5, rows))
            await self._tell(tx, "payment_method.attached", told, at)
            await self._finish(tx, [call for call, _, _ in items], answers)
        return answers

    async def detach(self, items: Sequence[tuple[Call, str, DetachMethod]]) -> Answers:
        """Give cards up: they can be charged no more, and their numbers are shredded."""
        at = self._clock.now()
        answers: Answers = []
        async with self._database.transaction() as tx:
            methods = await self._locked_methods(tx, [_key(call, id) for call, id, _ in items])
            saved = {key: method for key, method in methods.items() if method.attached_at is not None}
            given_up = {_method_key(method): method for method in await self._give_up(tx, sorted(saved))}
            told: list[tuple[Call, PaymentMethod]] = []
            for call, id, _ in items:
                key = _key(call, id)
                if key not in methods:
                    answers.append(errors.no_such(METHOD_NOUN, id))
                elif key not in given_up:
                    answers.append(errors.InvalidRequest(NOT_ATTACHED))
                else:
                    if saved.pop(key, None) is not None:
                        told.append((call, given_up[key]))
                    answers.append(_method_reply(given_up[key]))
            await self._tell(tx, "payment_method.detached", told, at)
            await self._finish(tx, [call for call, _, _ in items], answers)
        await self._release(list(given_up.values()), at)
        return answers

    async def _locked_methods(self, tx: Transaction, keys: Sequence[Key]) -> dict[Key, PaymentMethod]:
        await tx.rows(SQL.lock_methods, *columns(3, sorted(set(keys))))
        return await find_methods(tx, keys)

    async def _give_up(self, tx: Transaction, keys: Sequence[Key]) -> list[PaymentMethod]:
        """Cards that are nobody's any more, as they are now."""
        await tx.execute(SQL.give_up_methods, *columns(3, keys))
        found = await find_methods(tx, keys)
        return [found[key] for key in sorted(found)]

    async def _release(self, methods: Sequence[PaymentMethod], at: datetime) -> None:
        """After the commit: their numbers are due. Without this they are within a day (`cards/retention.py`)."""
        places = [(m.account_id, m.livemode, m.vault_token) for m in methods if m.vault_token is not None]
        if places and self._vault is not None:
            await self._vault.release(sorted(places), at)

    async def _tell(self, tx: Transaction, type: str, told: Sequence[tuple[Call, PaymentMethod]], at: datetime) -> None:
        happenings = [
            Happening(
                account_id=method.account_id,
                livemode=method.livemode,
                type=type,
                object_id=method.id,
                object=objects.payment_method(method),
                request_id=call.request_id,
                idempotency_key=call.idempotency_key,
            )
            for call, method in told
        ]
        await events.record(tx, happenings, at=at, entropy=self._entropy)

    async def _finish(self, tx: Transaction, calls: Sequence[Call], answers: Answers) -> None:
        await self._idempotency.finish(
            tx,
            [
                (call.claim, answer.status, answer.kept or answer.body)
                for call, answer in zip(calls, answers, strict=True)
                if isinstance(answer, Reply)
            ],
        )

    def _made(self, call: Call, sent: CreateCustomer, at: datetime) -> Customer:
        return Customer(
            account_id=call.caller.account_id,
            livemode=call.caller.livemode,
            id=new_id("cus", at, self._entropy),
            created_at=at,
            description=sent.description,
            metadata=msgspec.json.encode(merged_metadata({}, sent.metadata)).decode(),
        )

    def _reply(self, customer: Customer, known: Known) -> Reply:
        """A customer with who it is; that is kept under the person's key alone."""
        body = msgspec.json.encode(shaped(customer, known.details))
        return Reply(200, body, self._records.kept(_key_of(customer), known, body))


def _not_attachable(method: PaymentMethod | None, id: str, customer: str, known: bool) -> WireError | None:
    if method is None:
        return errors.no_such(METHOD_NOUN, id)
    if not known:
        return errors.no_such_reference(KIND, customer, param="customer")
    if method.attached_at is not None:
        if method.customer == customer:
            return None
        return errors.InvalidRequest("The payment method you provided has already been attached to a customer.")
    if method.single_use or method.vault_token is not None:
        return errors.InvalidRequest(USED_UP)
    return None


def _told(sent: UpdateCustomer) -> dict[str, str | None]:
    """What an update says of the person; an empty text unsets."""
    return {field: getattr(sent, field) or None for field in FIELDS if isinstance(getattr(sent, field), str)}


def _updated(customer: Customer, sent: UpdateCustomer) -> Customer:
    description = {"description": sent.description or None} if isinstance(sent.description, str) else {}
    metadata = metadata_text(customer.metadata, sent.metadata)
    return replace(customer, **description, **({"metadata": metadata} if isinstance(metadata, str) else {}))


async def _locked(tx: Transaction, keys: Sequence[Key]) -> dict[Key, Customer]:
    rows = await tx.rows(SQL.lock_customers, *columns(3, sorted(set(keys))))
    return {(row["account_id"], row["livemode"], row["id"]): Customer(**row) for row in rows}


def _row(customer: Customer) -> tuple[Any, ...]:
    return (*_key_of(customer), customer.description, customer.metadata, customer.created_at)


def _key_of(customer: Customer) -> Key:
    return customer.account_id, customer.livemode, customer.id


def _method_key(method: PaymentMethod) -> Key:
    return method.account_id, method.livemode, method.id


def _key(call: Call, id: str) -> Key:
    return call.caller.account_id, call.caller.livemode, id


def _method_reply(method: PaymentMethod) -> Reply:
    return Reply(200, msgspec.json.encode(objects.payment_method(method)))
