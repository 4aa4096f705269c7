"""Loading payments under their lock and saving what was decided: a few set-based statements for any number of payments.

Whoever changes anything of a payment holds the lock of its intent's row, so what is read after the lock is what will
be saved over. The conditions on status and version say so a second time: a write that misses its row fails the whole.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from tallystick.gateway.cards.commands import find_methods, insert_methods
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.payments.payment import (
    AcquirerRequest,
    Charge,
    Dispute,
    Payment,
    PaymentIntent,
    PaymentMethod,
    Refund,
)
from tallystick.kernel.columns import columns
from tallystick.ports.database import Record, Statement, Statements, Transaction

SQL = Statements.beside(__file__)

Key = tuple[str, bool, str]
"""Account, livemode, id of the intent (or of what else is meant)."""

Keyed = PaymentIntent | CheckoutSession | Charge | AcquirerRequest | PaymentMethod | Refund | Dispute
Row = TypeVar("Row", bound=Keyed)


class StaleWrite(Exception):
    """A row was not as it had been loaded under its lock: somebody writes without the lock. Nothing is saved."""


class Wanted(Struct, frozen=True):
    """A payment to load, with the charges, acquirer requests, payment methods and refunds that a command names; with
    all its disputes where it is about one."""

    key: Key
    charges: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    disputes: bool = False
    refunds: tuple[str, ...] = ()


class Change(Struct, frozen=True):
    """A payment as it was loaded (None: it is new) and as it is to be saved. `kept`: cards that are stored already."""

    before: Payment | None
    after: Payment
    kept: frozenset[str] = frozenset()


_INTENT_CHANGES = (
    "status amount_capturable amount_received payment_method latest_charge description metadata last_payment_error "
    "next_action return_url cancellation_reason capture_before_at canceled_at"
).split()
_SESSION_CHANGES = "status payment_status decline_count completed_at".split()
_CHARGE_CHANGES = (
    "state amount_authorised amount_captured acquirer_reference authentication decline_code failure_code "
    "failure_message voided_at amount_refunded refund_pending dispute_withheld disputed"
).split()
_REQUEST_CHANGES = "state acquirer_reference refusal refund".split()
_REFUND_CHANGES = "status failure_reason reference metadata".split()
_DISPUTE_CHANGES = "status evidence submissions metadata contest_due_at".split()

SENT_LEASE_S = 60.0  # whoever sent something has that long to record what came of it; then others ask the acquirer
DUE_S: Mapping[str, float] = {"created": 10.0, "sent": SENT_LEASE_S, "unknown": 10.0}
"""State of a charge or acquirer request → when somebody has to look after it, from the moment it comes into it."""


async def load_locked(tx: Transaction, wanted: Sequence[Wanted]) -> dict[Key, Payment]:
    """The payments that exist, locked until the transaction ends. Locks are taken in the order of keys."""
    keys = sorted({one.key for one in wanted})
    if not keys:
        return {}
    intents = [PaymentIntent(**row) for row in await tx.rows(SQL.lock_intents, *_key_columns(keys))]
    sessions = await _sessions(tx, intents)
    charges = await tx.rows(
        SQL.charges_of_intents,
        *_key_columns([key_of(intent) for intent in intents]),
        [id for one in wanted for id in one.charges],
        [id for one in wanted for id in one.requests],
    )
    payments = {key_of(intent): Payment(intent=intent, session=sessions.get(key_of(intent))) for intent in intents}
    for row in charges:
        key = (row["account_id"], row["livemode"], row["payment_intent"])
        payments[key] = payments[key].having(*_charge_row(row))
    for refund in await _refunds(tx, charges, wanted):
        key = (refund.account_id, refund.livemode, refund.payment_intent)
        payments[key] = payments[key].having(refund)
    for dispute in await _disputes(tx, sorted({one.key for one in wanted if one.disputes})):
        key = (dispute.account_id, dispute.livemode, dispute.payment_intent)
        payments[key] = payments[key].having(dispute)
    return await _with_methods(tx, payments, wanted)


async def save(tx: Transaction, changes: Sequence[Change], at: datetime) -> None:
    """Write what differs between before and after. Raises StaleWrite."""
    fresh = [change.after for change in changes if change.before is None]
    await _insert(tx, SQL.insert_intents, [payment.intent for payment in fresh])
    await _insert(tx, SQL.insert_sessions, [payment.session for payment in fresh if payment.session is not None])
    known = [(change.before, change.after) for change in changes if change.before is not None]
    await _update(
        tx, SQL.update_intents, [(before.intent, after.intent) for before, after in known], "status", _INTENT_CHANGES
    )
    await _update(
        tx,
        SQL.update_sessions,
        [(before.session, after.session) for before, after in known if before.session and after.session],
        "status",
        _SESSION_CHANGES,
    )
    await insert_methods(tx, [method for change in changes for method in _new_methods(change)])
    await _attach(tx, changes)
    charges = [_paired(change.before.charges if change.before else (), change.after.charges) for change in changes]
    requests = [_paired(change.before.requests if change.before else (), change.after.requests) for change in changes]
    # Updates first: a charge that is given up makes room for the next live one.
    await _update(
        tx, SQL.update_charges, [pair for _, pairs in charges for pair in pairs], "state", _CHARGE_CHANGES, due=at
    )
    await _insert(tx, SQL.insert_charges, [charge for added, _ in charges for charge in added], due=at)
    await _update(
        tx, SQL.update_requests, [pair for _, pairs in requests for pair in pairs], "state", _REQUEST_CHANGES, due=at
    )
    await _insert(tx, SQL.insert_requests, [request for added, _ in requests for request in added], due=at)
    refunds = [_paired(change.before.refunds if change.before else (), change.after.refunds) for change in changes]
    await _update(tx, SQL.update_refunds, [pair for _, pairs in refunds for pair in pairs], "status", _REFUND_CHANGES)
    await _insert(tx, SQL.insert_refunds, [refund for added, _ in refunds for refund in added])
    disputes = [_paired(change.before.disputes if change.before else (), change.after.disputes) for change in changes]
    await _update(
        tx, SQL.update_disputes, [pair for _, pairs in disputes for pair in pairs], "status", _DISPUTE_CHANGES
    )
    await _insert(tx, SQL.insert_disputes, [dispute for added, _ in disputes for dispute in added])


async def _attach(tx: Transaction, changes: Sequence[Change]) -> None:
    """Cards that are saved for their customer by what was decided. One that was given up meanwhile is left alone."""
    pairs = [
        pair for change in changes if change.before for pair in _paired(change.before.methods, change.after.methods)[1]
    ]
    attached = [after for before, after in pairs if before != after]
    if attached:
        rows = [(*key_of(method), method.customer, method.attached_at) for method in attached]
        await tx.execute(SQL.attach_methods, *columns(5, rows))


def key_of(record: Keyed) -> Key:
    """The key under which a record is stored."""
    return record.account_id, record.livemode, record.id


async def _sessions(tx: Transaction, intents: Sequence[PaymentIntent]) -> dict[Key, CheckoutSession]:
    """By the key of their intent."""
    named = [
        (intent.account_id, intent.livemode, intent.checkout_session)
        for intent in intents
        if intent.checkout_session is not None
    ]
    if not named:
        return {}
    found = [CheckoutSession(**row) for row in await tx.rows(SQL.sessions_of_intents, *_key_columns(named))]
    return {(s.account_id, s.livemode, s.payment_intent): s for s in found if s.payment_intent is not None}


async def _with_methods(
    tx: Transaction, payments: Mapping[Key, Payment], wanted: Sequence[Wanted]
) -> dict[Key, Payment]:
    """The payments with the cards that are attached to their intents or named by the commands."""
    named: dict[Key, set[str]] = {key: set() for key in payments}
    for key, payment in payments.items():
        if payment.intent.payment_method is not None:
            named[key].add(payment.intent.payment_method)
    for one in wanted:
        if one.key in named:
            named[one.key].update(one.methods)
    missing = {
        key: [(key[0], key[1], id) for id in sorted(ids) if payments[key].method(id) is None]
        for key, ids in named.items()
    }
    found = await find_methods(tx, [method for methods in missing.values() for method in methods])
    return {
        key: payment.having(*(found[method] for method in missing[key] if method in found))
        for key, payment in payments.items()
    }


async def _refunds(tx: Transaction, charges: Sequence[Record], wanted: Sequence[Wanted]) -> list[Refund]:
    """The refunds that the requests in these rows carry out, and those that are named: nearly always none, and then
    nothing is asked."""
    named = {(*one.key[:2], refund) for one in wanted for refund in one.refunds}
    keys = sorted(named | {(row["account_id"], row["livemode"], row["r_refund"]) for row in charges if row["r_refund"]})
    if not keys:
        return []
    return [Refund(**row) for row in await tx.rows(SQL.refunds_of_requests, *_key_columns(keys))]


async def _disputes(tx: Transaction, keys: Sequence[Key]) -> list[Dispute]:
    if not keys:
        return []
    return [Dispute(**row) for row in await tx.rows(SQL.disputes_of_intents, *_key_columns(keys))]


def _charge_row(row: Record) -> list[Charge | AcquirerRequest | PaymentMethod]:
    charge = Charge(**{field: row[field] for field in Charge.__struct_fields__})
    owner: dict[str, Any] = {"account_id": charge.account_id, "livemode": charge.livemode}
    method = PaymentMethod(
        **owner,
        id=charge.payment_method,
        created_at=row["m_created_at"],
        metadata=row["m_metadata"],
        **{field: row[field] for field in _METHOD_FIELDS},
    )
    if row["r_id"] is None:
        return [charge, method]
    request = AcquirerRequest(
        **owner,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        **{field: row[f"r_{field}"] for field in _REQUEST_FIELDS},
    )
    return [charge, method, request]


_METHOD_FIELDS = (
    "card_reference brand first6 last4 exp_month exp_year fingerprint authentication_required customer attached_at "
    "vault_token single_use"
).split()
_REQUEST_FIELDS = "id kind state amount created_at final reason acquirer_reference refusal refund".split()


def _paired(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[Row], list[tuple[Row, Row]]]:
    """The records that are new, and those that are not with what they were."""
    known = {record.id: record for record in before}
    added = [record for record in after if record.id not in known]
    return added, [(known[record.id], record) for record in after if record.id in known]


def _new_methods(change: Change) -> list[PaymentMethod]:
    known = {method.id for method in change.before.methods} if change.before else change.kept
    return [method for method in change.after.methods if method.id not in known]


async def _insert(
    tx: Transaction, statement: Statement, records: Sequence[Any], *, due: datetime | None = None
) -> None:
    """The columns of the statement are the fields of the struct, in their order, and when the record is due."""
    if records:
        rows = [(*astuple(record), *_due(record.state, due)) if due else astuple(record) for record in records]
        await tx.execute(statement, *columns(len(rows[0]), rows))


async def _update(
    tx: Transaction,
    statement: Statement,
    pairs: Sequence[tuple[Any, Any]],
    state: str,
    fields: Sequence[str],
    *,
    due: datetime | None = None,
) -> None:
    changed = [(before, after) for before, after in pairs if before != after]
    if not changed:
        return
    versioned = hasattr(changed[0][0], "version")
    rows = [
        (
            *key_of(before),
            getattr(before, state),
            *((before.version,) if versioned else ()),
            *(getattr(after, field) for field in fields),
            *(_due(after.state, due) if due else ()),
        )
        for before, after in changed
    ]
    if await tx.execute(statement, *columns(len(rows[0]), rows)) != len(rows):
        raise StaleWrite(statement.name)


def _due(state: str, at: datetime) -> tuple[datetime | None]:
    seconds = DUE_S.get(state)
    return (at + timedelta(seconds=seconds) if seconds is not None else None,)


def _key_columns(keys: Sequence[Key]) -> tuple[list[str], list[bool], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]
