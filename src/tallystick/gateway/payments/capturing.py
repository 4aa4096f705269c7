"""What becomes of an authorised charge: captured, voided, or both in parts. Pure. RULES §3.

A capture or void is a row of its own, committed as `sent` before the acquirer is called; while it is open, no other
command on the payment's money is taken. The intent changes only when the acquirer has done it: `canceled` is never a
promise.
"""

from datetime import datetime

from msgspec import UNSET
from msgspec.structs import replace

from tallystick.gateway.ledger import postings
from tallystick.gateway.payments import inputs, refunding
from tallystick.gateway.payments.changes import AUTOMATIC, Decision, Refusal, Told, canceled, cause_of, void_of
from tallystick.gateway.payments.payment import OPEN_REQUEST_STATES, AcquirerRequest, Charge, Payment

NOT_SENT = "not_sent"


def capture(payment: Payment, command: inputs.Capture, at: datetime) -> Decision | Refusal:
    """Capture what is authorised, or a part of it; never more."""
    intent, charge = payment.intent, _held(payment)
    amount = intent.amount_capturable if command.amount is None else command.amount
    if amount > intent.amount_capturable:
        return Refusal(
            message=f"You cannot capture {amount}: only {intent.amount_capturable} of it can be captured.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    if not command.final and not command.several_allowed:
        return Refusal(
            message="This account does not capture a payment in parts: `final_capture` must be true.",
            code=None,
            param="final_capture",
        )
    if intent.capture_before_at is not None and intent.capture_before_at <= at:
        return Refusal(
            message="The charge cannot be captured: its authorization has expired.", code="charge_expired_for_capture"
        )
    if command.metadata is not UNSET:
        intent = replace(intent, metadata=command.metadata)
    request = AcquirerRequest(
        account_id=intent.account_id,
        livemode=intent.livemode,
        id=command.request_id,
        charge=charge.id,
        payment_intent=intent.id,
        kind="capture",
        state="sent",
        amount=amount,
        final=command.final or amount == intent.amount_capturable,
        created_at=at,
    )
    return Decision(payment=replace(payment, intent=intent).having(request), send=request)


def captured(payment: Payment, answer: inputs.Captured, at: datetime) -> Decision | Refusal:
    """The acquirer took the money; the last capture releases what is left."""
    request = _open(payment, answer.request_id, "capture")
    if request is None:
        return _over(answer)
    charge = _held(payment)
    charge = replace(charge, amount_captured=charge.amount_captured + request.amount)
    received = payment.intent.amount_received + request.amount
    payment = payment.having(charge, replace(request, state="done", acquirer_reference=answer.reference))
    entries = (postings.captured(cause_of(charge), request.id, request.amount, at),)
    told = Told("charge.captured", charge)
    if request.final:
        return replace(_succeeded(payment, received, told), entries=entries)
    left = payment.intent.amount_capturable - request.amount
    intent = replace(payment.intent, amount_received=received, amount_capturable=left)
    events = (told, Told("payment_intent.amount_capturable_updated", intent))
    return Decision(payment=replace(payment, intent=intent), entries=entries, events=events)


def cancel_authorised(payment: Payment, command: inputs.Cancel, at: datetime) -> Decision | Refusal:
    """Void first; the intent is canceled once the acquirer has released the money."""
    return _void(payment, command.request_id, command.reason, at)


def window_passed(payment: Payment, command: inputs.CaptureWindowPassed, at: datetime) -> Decision | Refusal:
    """`capture_before` has passed: the merchant's time is over."""
    before_at = payment.intent.capture_before_at
    if before_at is None or before_at > at:
        return Refusal(message="The capture window of this PaymentIntent is still open.")
    return _void(payment, command.request_id, AUTOMATIC, at)


def voided(payment: Payment, answer: inputs.Voided, at: datetime) -> Decision | Refusal:
    """The acquirer released (or returned) the money."""
    request = _open(payment, answer.request_id, "void")
    if request is None:
        return _over(answer)
    charge = payment.charge(request.charge)
    assert charge is not None, "a request's charge is loaded with it"
    payment = payment.having(replace(request, state="done", acquirer_reference=answer.reference))
    if charge.state == "reversing":
        return reversed_by(payment, charge, request, at)
    charge = replace(charge, voided_at=at)
    payment = payment.having(charge)
    expired = (Told("charge.expired", charge),) if request.reason == AUTOMATIC else ()
    if payment.intent.amount_received > 0:
        return _succeeded(payment, payment.intent.amount_received, *expired)
    return canceled(payment, request.reason, at, *expired)


def refunded(payment: Payment, answer: inputs.Refunded, at: datetime) -> Decision | Refusal:
    """The acquirer gave the money back: for a merchant's refund, or a late approval that it would not void."""
    request = payment.request(answer.request_id)
    if request is None or request.kind != "refund" or request.state == "done":
        return _over(answer)
    if request.state == "refused":
        assert request.refund is not None, "the return of a late approval is never given up"
        return refunding.paid_after_all(payment, request, answer, at)
    if request.refund is not None:
        return refunding.paid(payment, request, answer.reference, at)
    charge = payment.charge(request.charge)
    assert charge is not None, "a request's charge is loaded with it"
    payment = payment.having(replace(request, state="done", acquirer_reference=answer.reference))
    return reversed_by(payment, charge, request, at)


def reversed_by(payment: Payment, charge: Charge, request: AcquirerRequest, at: datetime) -> Decision:
    """The late approval is given back, by a void or a refund."""
    captured = charge.amount_captured > 0
    entries = (postings.voided(cause_of(charge), request.id, charge.amount_captured, at),) if captured else ()
    charge = replace(charge, state="reversed", voided_at=at)
    return Decision(payment=payment.having(charge), entries=entries, events=(Told("charge.reversed", charge),))


def request_refused(payment: Payment, answer: inputs.RequestRefused, at: datetime) -> Decision | Refusal:
    """The acquirer said no: nothing happened, the payment is where it was.

    What we owe all the same is asked for again: the return of a late approval that cannot be voided any more as a
    refund. What is refused even so stays open, asked about by schedule, until a person has looked at it."""
    request = payment.request(answer.request_id)
    if request is None or request.state not in OPEN_REQUEST_STATES:
        return _over(answer)
    if request.refund is not None:
        return refunding.refused(payment, request, answer.refusal, at)
    if not _owed(payment, request):
        return Decision(payment=payment.having(replace(request, state="refused", refusal=answer.refusal)))
    charge = payment.charge(request.charge)
    assert charge is not None, "a request's charge is loaded with it"
    if request.kind == "void" and charge.state == "reversing" and charge.amount_captured > 0:
        payment = payment.having(replace(request, state="refused", refusal=answer.refusal))
        refund = replace(void_of(charge, answer.follow_id, charge.amount_captured, at), kind="refund")
        return Decision(payment=payment.having(refund), send=refund)
    return Decision(payment=payment.having(replace(request, state="unknown", refusal=answer.refusal)))


def resend(payment: Payment, command: inputs.Resend, at: datetime) -> Decision | Refusal:
    """What never left is sent, under the same key."""
    request = payment.request(command.request_id)
    if request is None or request.state != "created":
        return _over(command)
    request = replace(request, state="sent")
    return Decision(payment=payment.having(request), send=request)


def request_not_sent(payment: Payment, answer: inputs.RequestNotSent, at: datetime) -> Decision | Refusal:
    """Nothing reached the acquirer. What must happen all the same stays to be sent."""
    request = payment.request(answer.request_id)
    if request is None or request.state != "sent":
        return _over(answer)  # that one try did not arrive says nothing of another
    if _owed(payment, request):
        return Decision(payment=payment.having(replace(request, state="created")))
    return Decision(payment=payment.having(replace(request, state="refused", refusal=NOT_SENT)))


def request_unknown(payment: Payment, answer: inputs.RequestUnknown, at: datetime) -> Decision | Refusal:
    """It may have happened: nothing else may until that is known."""
    request = payment.request(answer.request_id)
    if request is None or request.state not in ("created", "sent"):
        return _over(answer)
    return Decision(payment=payment.having(replace(request, state="unknown")))


def _owed(payment: Payment, request: AcquirerRequest) -> bool:
    """Whether a request must come about although nobody waits for its answer: a refund that was promised, the return of
    a late approval, the void of what nobody captured in time. A capture or void by a call may simply fail."""
    charge = payment.charge(request.charge)
    late = charge is not None and charge.state == "reversing"
    return request.refund is not None or late or (request.kind == "void" and request.reason == AUTOMATIC)


def _held(payment: Payment) -> Charge:
    charge = payment.live
    assert charge is not None, "an intent that requires capture has an approved charge"
    assert charge.state == "approved"
    return charge


def _void(payment: Payment, request_id: str, reason: str | None, at: datetime) -> Decision:
    void = void_of(_held(payment), request_id, payment.intent.amount_capturable, at, reason)
    return Decision(payment=payment.having(void), send=void)


def _succeeded(payment: Payment, received: int, *before: Told) -> Decision:
    """No more is to come: the payment ends with what was captured."""
    intent = replace(payment.intent, status="succeeded", amount_received=received, amount_capturable=0)
    session = payment.session
    if session is not None:
        session = replace(session, payment_status="paid")
    events = (*before, Told("payment_intent.succeeded", intent))
    return Decision(payment=replace(payment, intent=intent, session=session), events=events)


def _open(payment: Payment, id: str, kind: str) -> AcquirerRequest | None:
    request = payment.request(id)
    is_open = request is not None and request.kind == kind and request.state in OPEN_REQUEST_STATES
    return request if is_open else None


def _over(answer: inputs.Answer) -> Refusal:
    """The answer is about something that is settled already: a repetition, or too late."""
    return Refusal(message=f"{type(answer).__name__} came after it was settled", code=None)
