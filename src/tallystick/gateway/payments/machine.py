"""The life of a payment as one table: what each command or answer does in each status (RULES §3). Pure.

A pair that is not in the table is illegal and changes nothing. The steps stand in `charging.py` (from confirm to the
acquirer's answer), `capturing.py` (what becomes of an authorisation), `refunding.py` (what is given back) and
`bouncing.py` (what comes back of that); those that need no acquirer stand here.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from tallystick.gateway.payments import bouncing, capturing, charging, disputing, inputs, refunding
from tallystick.gateway.payments.changes import ABANDONED, Decision, Refusal, Told, canceled
from tallystick.gateway.payments.inputs import (
    Approved,
    Authenticated,
    Cancel,
    CancelRefund,
    Capture,
    Captured,
    CaptureWindowPassed,
    ChallengeBegun,
    ChargeNotSent,
    CloseDispute,
    Confirm,
    CreateRefund,
    Declined,
    DisputeEnded,
    DisputeOpened,
    ExpireSession,
    NotAuthenticated,
    OutcomeUnknown,
    Refunded,
    RefundReturned,
    RequestNotSent,
    RequestRefused,
    RequestUnknown,
    Resend,
    ReversalBegun,
    Update,
    UpdateDispute,
    UpdateRefund,
    Voided,
)
from tallystick.gateway.payments.payment import Payment

REQUIRES_PAYMENT_METHOD = "requires_payment_method"
REQUIRES_CONFIRMATION = "requires_confirmation"
REQUIRES_ACTION = "requires_action"
PROCESSING = "processing"
REQUIRES_CAPTURE = "requires_capture"
SUCCEEDED = "succeeded"
CANCELED = "canceled"

STATUSES = (
    REQUIRES_PAYMENT_METHOD,
    REQUIRES_CONFIRMATION,
    REQUIRES_ACTION,
    PROCESSING,
    REQUIRES_CAPTURE,
    SUCCEEDED,
    CANCELED,
)
TERMINAL = frozenset({SUCCEEDED, CANCELED})

Step = Callable[[Payment, Any, datetime], Decision | Refusal]


def opened(payment: Payment) -> Decision:
    """A payment begins, with or without a card, with or without a checkout session."""
    status = REQUIRES_CONFIRMATION if payment.intent.payment_method is not None else REQUIRES_PAYMENT_METHOD
    intent = replace(payment.intent, status=status)
    return Decision(payment=replace(payment, intent=intent), events=(Told("payment_intent.created", intent),))


def decide(payment: Payment, command: inputs.Input, at: datetime) -> Decision | Refusal:
    """What `command` does to `payment` at `at`: the new records, ledger entries, events, and what to send. RULES §3."""
    step = TRANSITIONS.get((payment.intent.status, type(command)))
    if step is None:
        return _illegal(payment, command)
    if isinstance(command, MONEY_COMMANDS) and payment.open_request is not None:
        return Refusal(
            message="Another operation on this PaymentIntent is under way, and its outcome is not known yet. "
            "Please wait for it before you send the next one."
        )
    decision = step(payment, command, at)
    if isinstance(decision, Decision):
        _check(payment, decision)
    return decision


def _update(payment: Payment, command: Update, at: datetime) -> Decision:
    intent = payment.intent
    if command.description is not UNSET:
        intent = replace(intent, description=command.description)
    if command.metadata is not UNSET:
        intent = replace(intent, metadata=command.metadata)
    return Decision(payment=replace(payment, intent=intent))


def _update_unconfirmed(payment: Payment, command: Update, at: datetime) -> Decision:
    """Before anything was sent, the card may change too; a 3DS challenge for the old card is over then."""
    payment = _update(payment, command, at).payment
    if command.method is None:
        return Decision(payment=payment)
    live = payment.live
    if live is not None:
        payment = payment.having(replace(live, state="abandoned"))
    intent = replace(payment.intent, status=REQUIRES_CONFIRMATION, payment_method=command.method.id, next_action=None)
    return Decision(payment=replace(payment, intent=intent).having(command.method))


def _update_fixed(payment: Payment, command: Update, at: datetime) -> Decision | Refusal:
    if command.method is not None:
        return Refusal(
            message=f"The payment method of this PaymentIntent cannot be changed because it has a status of "
            f"{payment.intent.status}."
        )
    return _update(payment, command, at)


def _cancel(payment: Payment, command: Cancel, at: datetime) -> Decision:
    return canceled(payment, command.reason, at)


def _expire_session(payment: Payment, command: ExpireSession, at: datetime) -> Decision | Refusal:
    if payment.open_session is None:
        return _session_not_open(payment)
    return canceled(payment, ABANDONED, at)


_ANSWERS_ABOUT_CHARGES: Mapping[type, Step] = {Approved: charging.approved, Declined: charging.declined}
_ANSWERS_ABOUT_REQUESTS: Mapping[type, Step] = {
    Voided: capturing.voided,
    Refunded: capturing.refunded,
    RefundReturned: bouncing.returned,
    RequestRefused: capturing.request_refused,
    RequestNotSent: capturing.request_not_sent,
    RequestUnknown: capturing.request_unknown,
    Resend: capturing.resend,
}

# Disputes and what befalls refunds change no status; what the bank tells of disputes is always recorded.
_AFTERWARDS: Mapping[type, Step] = {
    DisputeOpened: disputing.opened,
    DisputeEnded: disputing.ended,
    UpdateDispute: disputing.update,
    CloseDispute: disputing.close,
    UpdateRefund: refunding.update,
    CancelRefund: refunding.cancel,
}

TRANSITIONS: Mapping[tuple[str, type], Step] = MappingProxyType(
    {
        (REQUIRES_PAYMENT_METHOD, Update): _update_unconfirmed,
        (REQUIRES_PAYMENT_METHOD, Confirm): charging.start_charge,
        (REQUIRES_PAYMENT_METHOD, Cancel): _cancel,
        (REQUIRES_PAYMENT_METHOD, ExpireSession): _expire_session,
        (REQUIRES_CONFIRMATION, Update): _update_unconfirmed,
        (REQUIRES_CONFIRMATION, Confirm): charging.start_charge,
        (REQUIRES_CONFIRMATION, Cancel): _cancel,
        (REQUIRES_CONFIRMATION, ExpireSession): _expire_session,
        (REQUIRES_ACTION, Update): _update_unconfirmed,
        (REQUIRES_ACTION, Confirm): charging.start_charge,
        (REQUIRES_ACTION, ChallengeBegun): charging.challenge_begun,
        (REQUIRES_ACTION, Authenticated): charging.authenticated,
        (REQUIRES_ACTION, NotAuthenticated): charging.not_authenticated,
        (REQUIRES_ACTION, ChargeNotSent): charging.charge_not_sent,
        (REQUIRES_ACTION, Cancel): _cancel,
        (REQUIRES_ACTION, ExpireSession): _expire_session,
        (PROCESSING, Update): _update_fixed,
        (PROCESSING, OutcomeUnknown): charging.outcome_unknown,
        (PROCESSING, ReversalBegun): charging.reversal_begun,
        (PROCESSING, ChargeNotSent): charging.charge_not_sent,
        (REQUIRES_CAPTURE, Update): _update_fixed,
        (REQUIRES_CAPTURE, Capture): capturing.capture,
        (REQUIRES_CAPTURE, Captured): capturing.captured,
        (REQUIRES_CAPTURE, Cancel): capturing.cancel_authorised,
        (REQUIRES_CAPTURE, CaptureWindowPassed): capturing.window_passed,
        # What was captured in part may be given back while the rest waits.
        (REQUIRES_CAPTURE, CreateRefund): refunding.create,
        (SUCCEEDED, Update): _update_fixed,
        (SUCCEEDED, CreateRefund): refunding.create,
        (CANCELED, Update): _update_fixed,
        # What the bank says is always recorded: an approval that comes too late is returned, whatever the intent is.
        **{(status, answer): step for status in STATUSES for answer, step in _ANSWERS_ABOUT_CHARGES.items()},
        **{(status, answer): step for status in STATUSES for answer, step in _ANSWERS_ABOUT_REQUESTS.items()},
        **{(status, told): step for status in STATUSES for told, step in _AFTERWARDS.items()},
    }
)

MONEY_COMMANDS = (Confirm, Capture, Cancel, CreateRefund, ExpireSession, CaptureWindowPassed)
"""What is refused while a capture, void or refund has no known outcome (RULES §3, unknown outcomes)."""

_VERBS: Mapping[type, tuple[str, str]] = {
    Confirm: ("confirm", "confirmed"),
    Capture: ("capture", "captured"),
    Cancel: ("cancel", "canceled"),
    CreateRefund: ("refund", "refunded"),
}


def _illegal(payment: Payment, command: inputs.Input) -> Refusal:
    if isinstance(command, ExpireSession) and payment.open_session is None:
        return _session_not_open(payment)
    status = payment.intent.status
    if type(command) not in _VERBS:
        return Refusal(message=f"{type(command).__name__} is not possible while the PaymentIntent is {status}.")
    verb, done = _VERBS[type(command)]
    possible = ", ".join(one for one in STATUSES if (one, type(command)) in TRANSITIONS)
    return Refusal(
        message=f"You cannot {verb} this PaymentIntent because it has a status of {status}. Only a PaymentIntent with "
        f"one of the following statuses may be {done}: {possible}."
    )


def _session_not_open(payment: Payment) -> Refusal:
    status = payment.session.status if payment.session is not None else "none"
    return Refusal(
        message='Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status '
        f"of `{status}`.",
        code=None,
    )


def _check(before: Payment, decision: Decision) -> None:
    """What must never happen, asserted before anything is written."""
    old, new, session = before.intent, decision.payment.intent, decision.payment.session
    assert old.status not in TERMINAL or new.status == old.status, "a terminal status stays"
    assert (new.amount, new.currency, new.account_id, new.livemode, new.id) == (
        old.amount,
        old.currency,
        old.account_id,
        old.livemode,
        old.id,
    ), "amount, currency and account never change"
    assert new.amount_received >= old.amount_received, "what was received stays received"
    assert new.amount_received + new.amount_capturable <= new.amount
    assert (new.amount_capturable > 0) == (new.status == REQUIRES_CAPTURE)
    assert (new.amount_received > 0) or new.status != SUCCEEDED
    assert (new.status == CANCELED) == (new.canceled_at is not None)
    assert (new.status == PROCESSING) == (
        decision.payment.live is not None and decision.payment.live.state in charging.UNDECIDED
    )
    for charge in decision.payment.charges:
        assert min(charge.amount_refunded, charge.refund_pending) >= 0
        known = before.charge(charge.id)
        newly = charge.state == "declined" and (known is None or known.state != "declined")
        given_up = known is not None and known.failure_code is not None
        assert not newly or given_up or decision.declined == charge, "what the bank says no to is counted"
    assert session is None or session.status != "open" or new.status not in (*TERMINAL, REQUIRES_CAPTURE)
