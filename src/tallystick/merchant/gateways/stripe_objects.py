"""Stripe's objects and events read as facts. Pure. Only the members that we need are decoded, in one pass.

A charge tells how the charge stands and no more: a charge that is being reversed reads as succeeded too. That the
money is ours is told by the payment intent, or by a session that is complete and paid.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tallystick.merchant.gateways.port import AmountRefused, CapturedCharge, EventMalformed, EventRead, Payment, Told
from tallystick.merchant.gateways.stripe_currencies import from_wire
from tallystick.merchant.orders.facts import (
    AnyFact,
    Authorised,
    ChargeSeen,
    ChargeStatus,
    Closed,
    CloseReason,
    DisputeOutcome,
    DisputeSeen,
    DisputeStatus,
    RefundSeen,
    RefundStatus,
    SessionOpened,
    Succeeded,
)

ID_CHARACTERS_MAX = 255  # the longest id that we store
ATTEMPT_DIGITS_MAX = 6  # no order is tried a million times; protects the integer column
AMOUNT_WIRE_MAX = 10**14  # our largest amount, on the wire that adds two decimals; protects the bigint columns

# Why the gateway says a payment was canceled, in our words; what we asked for ourselves is known better (RULES §4).
CLOSE_REASONS: dict[str | None, CloseReason] = {
    "abandoned": "expired",
    "automatic": "expired",
    "expired": "expired",
    "requested_by_customer": "canceled",
    "duplicate": "canceled",
    "fraudulent": "canceled",
}
CHARGE_STATUSES: dict[str | None, ChargeStatus] = {"pending": "pending", "failed": "failed", "succeeded": "succeeded"}
REFUND_STATUSES: dict[str | None, RefundStatus] = {
    "pending": "pending",
    "requires_action": "requires_action",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "canceled",
}
DISPUTE_STATUSES: dict[str | None, tuple[DisputeStatus, DisputeOutcome | None]] = {
    "warning_needs_response": ("needs_response", None),
    "warning_under_review": ("under_review", None),
    "warning_closed": ("closed", None),
    "needs_response": ("needs_response", None),
    "under_review": ("under_review", None),
    "appeal_needs_response": ("needs_response", None),
    "appeal_under_review": ("under_review", None),
    "won": ("closed", "won"),
    "lost": ("closed", "lost"),
    "prevented": ("closed", None),
}


class _Reference(Struct, frozen=True):
    """A charge where it was expanded; an id alone otherwise."""

    id: str
    amount_captured: int | None = None
    amount_refunded: int | None = None


class _PaymentError(Struct, frozen=True):
    charge: str | None = None
    code: str | None = None
    decline_code: str | None = None


class _Transaction(Struct, frozen=True):
    id: str
    amount: int


class Object(Struct, frozen=True):
    """A session, payment intent, charge, refund or dispute: the members of all of them that we read."""

    id: str
    object: str = ""
    status: str | None = None
    amount: int | None = None
    currency: str | None = None
    metadata: dict[str, str] | None = None
    payment_intent: "str | Object | None" = None
    client_reference_id: str | None = None
    payment_status: str | None = None
    amount_total: int | None = None
    url: str | None = None
    client_secret: str | None = None
    amount_received: int | None = None
    cancellation_reason: str | None = None
    last_payment_error: _PaymentError | None = None
    latest_charge: str | _Reference | None = None
    failure_code: str | None = None
    balance_transactions: list[_Transaction] | None = None
    captured: bool | None = None
    amount_captured: int | None = None
    amount_refunded: int | None = None


class ObjectPage(Struct, frozen=True):
    """A page of a listing of sessions, charges, refunds or disputes, the newest first."""

    data: list[Object]
    has_more: bool = False


class _Data(Struct, frozen=True):
    object: Object


class _Event(Struct, frozen=True):
    id: str
    type: str
    data: _Data
    created: int = 0


class _Envelope(Struct, frozen=True):
    id: str
    type: str
    created: int = 0


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
decode_object = msgspec.json.Decoder(Object).decode
decode_page = msgspec.json.Decoder(ObjectPage).decode


def read_event(raw: bytes) -> EventRead:
    """What a verified event says. Raises EventMalformed for what is no event at all."""
    try:
        event = _decode_event(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _unreadable(raw)
    if not (_storable(event.id) and _storable(event.type)):
        raise EventMalformed("the event has no usable id or type")
    thing = event.data.object
    read = _READERS.get(thing.object)
    if read is None:
        return EventRead(event.id, event.type, event.created, None, None, None, ())
    try:
        facts = read(thing)
        error = None
    except AmountRefused as refused:
        facts, error = (), f"{refused.code}: {refused}"
    if b"\\u0000" in raw:
        facts, error = (), "the event holds a NUL character, which no column can store"
    order_id, attempt = _our_reference(thing)
    return EventRead(event.id, event.type, event.created, order_id, attempt, _intent_of(thing), facts, error)


def told_by_session(session: Object) -> Told:
    """Everything that a retrieved session says; its payment intent says more where it was expanded. Raises
    AmountRefused.
    """
    intent = session.payment_intent
    opened = SessionOpened(session.id, _intent_of(session), session.url, session.client_secret)
    if not isinstance(intent, Object):
        return Told((opened, *_session(session)))
    closed = tuple(fact for fact in _session(session) if isinstance(fact, Closed))
    return Told((opened, *_payment_intent(intent), *closed))


def payment_of(intent: Object) -> Payment:
    """How a retrieved payment intent stands, its latest charge expanded. Raises AmountRefused."""
    charge = intent.latest_charge
    if intent.status != "succeeded" or not isinstance(charge, _Reference):
        return Payment(_payment_intent(intent), 0)
    captured = _minor(charge.amount_captured, intent.currency)
    return Payment(_payment_intent(intent), max(captured - _minor(charge.amount_refunded, intent.currency), 0))


def captured_by(charges: Sequence[Object], facts: Sequence[AnyFact]) -> tuple[CapturedCharge, ...]:
    """The charges of a payment by which money was taken, `facts` being what the payment itself says. Raises
    AmountRefused.
    """
    own = {fact.charge for fact in facts if isinstance(fact, Succeeded)}
    return tuple(
        CapturedCharge(
            charge.id,
            captured := _minor(charge.amount_captured, charge.currency),
            max(captured - _minor(charge.amount_refunded, charge.currency), 0),
            _currency(charge),
            charge.id in own,
        )
        for charge in charges
        if charge.object == "charge" and charge.status == "succeeded" and charge.captured
    )


def told_by_refund(refund: Object) -> tuple[AnyFact, ...]:
    """What an answered refund says; nothing where it is none. Raises AmountRefused."""
    return _refund(refund) if refund.object == "refund" else ()


def is_of(session: Object, order_id: str, attempt: int) -> bool:
    """Whether a session is that of our attempt, by the reference that we gave the gateway."""
    return session.client_reference_id == order_id and (session.metadata or {}).get("attempt") == str(attempt)


def is_refund_of(refund: Object, reference: str) -> bool:
    """Whether a refund is the one that we asked for under this reference."""
    return refund.object == "refund" and (refund.metadata or {}).get("reference") == reference


def as_paid(intent: Object) -> tuple[str | None, int | None, tuple[AnyFact, ...]]:
    """Whose a retrieved payment intent is, by the reference that we gave the gateway, and how it stands. Raises
    AmountRefused.
    """
    return (*_our_reference(intent), _payment_intent(intent))


def read_object(thing: Object) -> tuple[AnyFact, ...]:
    """What a retrieved refund, dispute or charge says. Raises AmountRefused."""
    read = _READERS.get(thing.object)
    return read(thing) if read else ()


# --- one reader for each kind of object ------------------------------------------------------------------------------


def _session(session: Object) -> tuple[AnyFact, ...]:
    if session.status == "expired":
        return (Closed("expired", _intent_of(session)),)
    if session.status == "complete" and session.payment_status == "paid" and session.amount_total is not None:
        # What the shopper agreed to. How much of it was captured the payment tells (RULES §4).
        agreed = _minor(session.amount_total, session.currency)
        return (Succeeded(agreed, None, _currency(session), intent=_intent_of(session)),)
    return ()


def _payment_intent(intent: Object) -> tuple[AnyFact, ...]:
    charge = _latest_charge(intent)
    failed = _failed_charge(intent)
    match intent.status:
        case "succeeded":
            authorised = _minor(intent.amount, intent.currency)
            captured = _minor(intent.amount_received, intent.currency)
            return (*failed, Succeeded(authorised, captured, _currency(intent), intent=intent.id, charge=charge))
        case "requires_capture":
            return (
                *failed,
                Authorised(_minor(intent.amount, intent.currency), _currency(intent), intent=intent.id, charge=charge),
            )
        case "canceled":
            return (*failed, Closed(CLOSE_REASONS.get(intent.cancellation_reason, "canceled"), intent=intent.id))
        case "processing" if charge is not None:
            return (*failed, ChargeSeen(charge, "pending", intent=intent.id))
        case _:
            return failed


def _failed_charge(intent: Object) -> tuple[AnyFact, ...]:
    error = intent.last_payment_error
    if error is None or error.charge is None:
        return ()
    return (ChargeSeen(error.charge, "failed", error.decline_code or error.code, intent=intent.id),)


def _charge(charge: Object) -> tuple[AnyFact, ...]:
    status = CHARGE_STATUSES.get(charge.status)
    return (ChargeSeen(charge.id, status, charge.failure_code, intent=_intent_of(charge)),) if status else ()


def _refund(refund: Object) -> tuple[AnyFact, ...]:
    status = REFUND_STATUSES.get(refund.status)
    return (RefundSeen(refund.id, status, _minor(refund.amount, refund.currency), _currency(refund)),) if status else ()


def _dispute(dispute: Object) -> tuple[AnyFact, ...]:
    if dispute.status not in DISPUTE_STATUSES:
        return ()
    status, outcome = DISPUTE_STATUSES[dispute.status]
    # Balance transactions are in the currency of the gateway's account, which need not be the dispute's: kept as the
    # wire tells them.
    transactions = {transaction.id: transaction.amount for transaction in dispute.balance_transactions or ()}
    return (DisputeSeen(dispute.id, status, _currency(dispute), transactions, outcome),)


_READERS: dict[str, Callable[[Object], tuple[AnyFact, ...]]] = {
    "checkout.session": _session,
    "payment_intent": _payment_intent,
    "charge": _charge,
    "refund": _refund,
    "dispute": _dispute,
}


# --- members ---------------------------------------------------------------------------------------------------------


def _our_reference(thing: Object) -> tuple[str | None, int | None]:
    """The order id and attempt number that we gave the gateway, where the object carries both in a usable form."""
    metadata: dict[str, Any] = thing.metadata or {}
    order_id = thing.client_reference_id or metadata.get("order_id")
    attempt = metadata.get("attempt", "")
    if not order_id or not _storable(order_id):
        return None, None
    if not (attempt.isascii() and attempt.isdigit() and len(attempt) <= ATTEMPT_DIGITS_MAX):
        return order_id, None
    return order_id, int(attempt)


def _intent_of(thing: Object) -> str | None:
    if thing.object == "payment_intent":
        return thing.id
    intent = thing.payment_intent
    return intent.id if isinstance(intent, Object) else intent


def _latest_charge(intent: Object) -> str | None:
    charge = intent.latest_charge
    return charge.id if isinstance(charge, _Reference) else charge


def _currency(thing: Object) -> str:
    return (thing.currency or "").upper()


def _minor(amount: int | None, currency: str | None) -> int:
    if amount is None or not 0 <= amount <= AMOUNT_WIRE_MAX:
        raise AmountRefused("amount_out_of_range", "An amount is missing or out of range.")
    return from_wire(amount, (currency or "").upper())


def _storable(text: str) -> bool:
    return 0 < len(text) <= ID_CHARACTERS_MAX and text.isascii() and text.isprintable()


def _unreadable(raw: bytes) -> EventRead:
    """An event whose object is not shaped as ours are: of no kind that we know, or of another version of the wire."""
    try:
        event = _decode_envelope(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise EventMalformed("the body is no event") from None
    if not (_storable(event.id) and _storable(event.type)):
        raise EventMalformed("the event has no usable id or type")
    concerns_us = event.type.startswith(("checkout.session.", "payment_intent.", "charge.", "refund."))
    error = "the event's object is not shaped as this version of the wire says" if concerns_us else None
    return EventRead(event.id, event.type, event.created, None, None, None, (), error)
