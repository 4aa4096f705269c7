"""What deciding gives: the payment as it becomes, with what is posted, told and sent; or a refusal. Pure."""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from tallystick.gateway.cases.concerns import CaseKind, Concern
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.ledger.postings import Cause, Entry
from tallystick.gateway.payments.payment import (
    AcquirerRequest,
    Charge,
    Dispute,
    Payment,
    PaymentIntent,
    PaymentMethod,
    Refund,
)
from tallystick.gateway.webhooks.event_types import EVENT_TYPES

UNEXPECTED_STATE = "payment_intent_unexpected_state"

ABANDONED = "abandoned"  # the cancellation reason where a session is closed
AUTOMATIC = "automatic"  # and where we decide it ourselves (RULES §3)


class Told(Struct, frozen=True):
    """An event to record, with the object as it is at that moment."""

    type: str
    about: PaymentIntent | Charge | CheckoutSession | Refund | Dispute | PaymentMethod

    def __post_init__(self) -> None:
        assert self.type in EVENT_TYPES, self.type


class Decision(Struct, frozen=True, kw_only=True):
    """What a command or answer does. `send` is asked of the acquirer once all of this is committed: a charge that was
    `sent`, a charge that is `authenticating`, a capture, a void or a refund. `concerns` are for a person to see.
    `declined` is the charge to which the bank says no, to its card or to who holds it: that is counted (RULES §12)."""

    payment: Payment
    entries: tuple[Entry, ...] = ()
    events: tuple[Told, ...] = ()
    concerns: tuple[Concern, ...] = ()
    send: Charge | AcquirerRequest | None = None
    declined: Charge | None = None


class Refusal(Struct, frozen=True, kw_only=True):
    """The payment's state forbids it; nothing changes. Words for the wire (RULES §3)."""

    message: str
    code: str | None = UNEXPECTED_STATE
    param: str | None = None


def cause_of(charge: Charge) -> Cause:
    """Whose money a charge moves, for the ledger."""
    return Cause(charge.account_id, charge.livemode, charge.payment_intent, charge.id, charge.currency)


def concern_about(charge: Charge, kind: CaseKind, subject: str, amount: int, **details: str) -> Concern:
    """What a person must see about a charge."""
    return Concern(
        account_id=charge.account_id,
        livemode=charge.livemode,
        kind=kind,
        subject=subject,
        payment_intent=charge.payment_intent,
        charge=charge.id,
        amount=amount,
        currency=charge.currency,
        details=details,
    )


def void_of(charge: Charge, request_id: str, amount: int, at: datetime, reason: str | None = None) -> AcquirerRequest:
    """The request that gives an authorised (or wrongly captured) amount back."""
    return AcquirerRequest(
        account_id=charge.account_id,
        livemode=charge.livemode,
        id=request_id,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        kind="void",
        state="sent",
        amount=amount,
        created_at=at,
        reason=reason,
    )


def canceled(payment: Payment, reason: str | None, at: datetime, *before: Told) -> Decision:
    """The intent is canceled, and its open session expires in the same commit. Nothing may be authorised any more."""
    live = payment.live
    if live is not None and live.state == "authenticating":
        payment = payment.having(replace(live, state="abandoned"))
    intent = replace(
        payment.intent,
        status="canceled",
        cancellation_reason=reason,
        canceled_at=at,
        amount_capturable=0,
        next_action=None,
    )
    events = [*before, Told("payment_intent.canceled", intent)]
    session = payment.open_session
    if session is not None:
        session = replace(session, status="expired")
        events.append(Told("checkout.session.expired", session))
        payment = replace(payment, session=session)
    return Decision(payment=replace(payment, intent=intent), events=tuple(events))
