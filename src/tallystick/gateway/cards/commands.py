"""Payment methods: a card that the acquirer accepted, as we may keep it (RULES §9)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import astuple, replace

from tallystick.gateway.acquirers.port import AcceptedCard, Acquirer
from tallystick.gateway.cards.pan import fingerprint_for
from tallystick.gateway.cards.parameters import CreatePaymentMethod
from tallystick.gateway.payments.payment import PaymentMethod
from tallystick.gateway.stripe_wire import errors, objects
from tallystick.gateway.stripe_wire.call import Call, Caller, Reply
from tallystick.gateway.stripe_wire.errors import WireError
from tallystick.gateway.stripe_wire.parameters import merged_metadata
from tallystick.kernel.columns import columns
from tallystick.kernel.idempotency import Idempotency
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

Key = tuple[str, bool, str]
"""Account, livemode, id."""


class Cards:
    """The commands of payment methods."""

    def __init__(
        self, database: Database, idempotency: Idempotency, acquirer: Acquirer, clock: Clock, entropy: Entropy
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._acquirer = acquirer
        self._clock = clock
        self._entropy = entropy

    async def create(self, items: Sequence[tuple[Call, CreatePaymentMethod]]) -> list[Reply | WireError]:
        """Payment methods from test tokens; card numbers are never taken here. One commit for all."""
        at = self._clock.now()
        made = [self._make(call.caller, parameters, at) for call, parameters in items]
        replies = [
            Reply(200, msgspec.json.encode(objects.payment_method(method)))
            if isinstance(method, PaymentMethod)
            else method
            for method in made
        ]
        async with self._database.transaction() as tx:
            await insert_methods(tx, [method for method in made if isinstance(method, PaymentMethod)])
            await self._idempotency.finish(
                tx,
                [
                    (call.claim, reply.status, reply.body)
                    for (call, _), reply in zip(items, replies, strict=True)
                    if isinstance(reply, Reply)
                ],
            )
        return replies

    def _make(self, caller: Caller, parameters: CreatePaymentMethod, at: datetime) -> PaymentMethod | WireError:
        token = parameters.card.token
        method = method_of_token(self._acquirer, caller, token, at=at, entropy=self._entropy)
        if method is None:
            return errors.no_such_reference("token", token, param="card[token]")
        metadata = merged_metadata({}, parameters.metadata)
        return replace(method, metadata=msgspec.json.encode(metadata).decode())


def method_of_token(
    acquirer: Acquirer, caller: Caller, token: str, *, at: datetime, entropy: Entropy
) -> PaymentMethod | None:
    """The payment method behind a test token such as `pm_card_visa` or `tok_visa`, not stored yet.

    None where there is no such token. In live mode there is none at all (DESIGN §5).
    """
    if caller.livemode:
        return None
    card = acquirer.accept_token(token, at)
    return method_of(card, caller.account_id, caller.livemode, at=at, entropy=entropy) if card is not None else None


def method_of(card: AcceptedCard, account_id: str, livemode: bool, *, at: datetime, entropy: Entropy) -> PaymentMethod:
    """The payment method of a card that the acquirer accepted, not stored yet."""
    return PaymentMethod(
        account_id=account_id,
        livemode=livemode,
        id=new_id("pm", at, entropy),
        card_reference=card.card_reference,
        brand=card.brand,
        first6=card.first6,
        last4=card.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        fingerprint=fingerprint_for(account_id, card.fingerprint),
        authentication_required=card.authentication_required,
        created_at=at,
    )


async def insert_methods(tx: Transaction, methods: Sequence[PaymentMethod]) -> None:
    """Store payment methods in the caller's transaction; the columns are the struct's fields, in their order."""
    if methods:
        await tx.execute(SQL.insert_methods, *columns(17, [astuple(method) for method in methods]))


async def find_methods(reader: Database | Transaction, keys: Sequence[Key]) -> dict[Key, PaymentMethod]:
    """Payment methods by account, mode and id."""
    if not keys:
        return {}
    rows = await reader.rows(SQL.find_methods, *columns(3, sorted(set(keys))))
    return {(row["account_id"], row["livemode"], row["id"]): PaymentMethod(**row) for row in rows}
