"""How a charge begins and ends: confirm, 3DS, and the acquirer's answer. Pure. RULES §3."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from tallystick.gateway.ledger import postings
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.changes import AUTOMATIC, Decision, Refusal, Told, canceled, cause_of, void_of
from tallystick.gateway.payments.payment import Charge, Payment, PaymentIntent, PaymentMethod
from tallystick.gateway.stripe_wire import objects

DECLINES_PER_SESSION_MAX = 10  # a shopper gives up long before; more is card testing (RULES §3)

UNDECIDED = ("created", "sent", "unknown")  # states of a charge that the acquirer has not answered for

AUTHENTICATION_FAILED = "payment_intent_authentication_failure"
_AUTHENTICATION_FAILED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)
_NOT_REACHED = "Your card's bank could not be reached. Try again in a little bit."
PROCESSING_ERROR = "processing_error"
NEVER_ARRIVED = "An error occurred while processing your card. Try again in a little bit."
_AUTHENTICATION_REQUIRED = "Your card was declined. This transaction requires authentication."
PARAMS = {"expired_card": "exp_month", "incorrect_cvc": "cvc"}


def start_charge(payment: Payment, command: inputs.Confirm, at: datetime) -> Decision | Refusal:
    """Confirm: the charge's row is committed before the acquirer, or the card's 3DS server, is called."""
    method = command.method or payment.method(payment.intent.payment_method)
    if method is None:
        return Refusal(
            message="You cannot confirm this PaymentIntent because it's missing a payment method. You can either "
            "update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly "
            "with a payment method."
        )
    session = payment.open_session
    if session is not None and session.expires_at <= at:
        return Refusal(message="The Checkout Session of this PaymentIntent has expired.")
    payment = _without_challenge(payment).having(method)
    intent = replace(
        payment.intent,
        payment_method=method.id,
        next_action=None,
        return_url=command.return_url or payment.intent.return_url,
    )
    if method.authentication_required and command.error_on_requires_action:
        error = _error("authentication_required", None, _AUTHENTICATION_REQUIRED, None, method)
        return _another_method(replace(payment, intent=intent), error)
    charge = _new_charge(intent, method, command.charge_id, at)
    if not method.authentication_required:
        return _sent(replace(payment, intent=intent), charge)
    payment = replace(payment, intent=replace(intent, status="requires_action")).having(charge)
    return Decision(payment=payment, send=charge)


def challenge_begun(payment: Payment, answer: inputs.ChallengeBegun, at: datetime) -> Decision | Refusal:
    """The shopper is to be sent to the bank."""
    charge = _authenticating(payment, answer.charge_id)
    if charge is None:
        return _over(answer)
    charge = replace(charge, authentication=answer.reference)
    action = {
        "type": "redirect_to_url",
        "redirect_to_url": {"return_url": answer.return_url, "url": answer.url},
    }
    intent = replace(payment.intent, next_action=msgspec.json.encode(action).decode())
    return Decision(
        payment=replace(payment, intent=intent).having(charge),
        events=(Told("payment_intent.requires_action", intent),),
    )


def authenticated(payment: Payment, answer: inputs.Authenticated, at: datetime) -> Decision | Refusal:
    """The bank knows its cardholder: now the charge is sent. Told twice, it is sent once."""
    charge = _authenticating(payment, answer.charge_id)
    if charge is None:
        return _over(answer)
    return _sent(payment, replace(charge, state="sent"))


def not_authenticated(payment: Payment, answer: inputs.NotAuthenticated, at: datetime) -> Decision | Refusal:
    """The bank does not know this cardholder: nothing was sent, another card is asked for."""
    charge = _authenticating(payment, answer.charge_id)
    if charge is None:
        return _over(answer)
    error = _error(AUTHENTICATION_FAILED, None, _AUTHENTICATION_FAILED, None, payment.method(charge.payment_method))
    charge = replace(charge, state="abandoned")
    return replace(_another_method(payment.having(charge), error), declined=charge)


def approved(payment: Payment, answer: inputs.Approved, at: datetime) -> Decision | Refusal:
    """The money is authorised, and captured where that is automatic. An approval that no longer may be is returned, and
    so is one for another amount than was asked: nobody agreed to that."""
    charge = payment.charge(answer.charge_id)
    if charge is None or charge.state in ("approved", "reversing", "reversed"):
        return _over(answer)
    automatic = charge.capture_method == "automatic"
    given_up = charge.failure_code is not None
    amount = charge.amount if answer.amount is None else answer.amount
    is_due = payment.intent.status == "processing" and charge.state in UNDECIDED and not given_up
    is_live = is_due and amount == charge.amount
    charge = replace(
        charge,
        state="approved" if is_live else "reversing",
        acquirer_reference=answer.reference,
        amount_authorised=amount,
        amount_captured=amount if automatic else 0,
    )
    entries = (postings.charged(cause_of(charge), amount, at, kept=is_live),) if automatic else ()
    if not is_live:
        void = void_of(charge, answer.request_id, amount, at)
        return replace(_returned(payment.having(charge, void), charge), entries=entries, send=void)
    intent = replace(
        payment.intent,
        status="succeeded" if automatic else "requires_capture",
        amount_received=charge.amount if automatic else 0,
        amount_capturable=0 if automatic else charge.amount,
        last_payment_error=None,
        capture_before_at=None if automatic else answer.capture_before_at,
    )
    events: tuple[Told, ...] = (
        Told("charge.succeeded", charge),
        Told("payment_intent.succeeded" if automatic else "payment_intent.amount_capturable_updated", intent),
    )
    session = payment.open_session
    if session is not None:
        paid = "paid" if automatic else "unpaid"
        session = replace(session, status="complete", payment_status=paid, completed_at=at)
        events = (*events, Told("checkout.session.completed", session))
        payment = replace(payment, session=session)
    saved = _saved(payment, charge, at)
    if saved is not None:
        payment, events = payment.having(saved), (*events, Told("payment_method.attached", saved))
    return Decision(payment=replace(payment, intent=intent).having(charge), entries=entries, events=events)


def _saved(payment: Payment, charge: Charge, at: datetime) -> PaymentMethod | None:
    """The card as it is now saved for the payment's customer; None where nobody wants that, or it is saved already.
    Wanted is what the shopper said on the page (the card names its customer) or the merchant (`setup_future_usage`)."""
    method, customer = payment.method(charge.payment_method), payment.intent.customer
    if method is None or customer is None or method.attached_at is not None or method.single_use:
        return None
    if method.customer != customer and payment.intent.setup_future_usage is None:
        return None
    return replace(method, customer=customer, attached_at=at)


def _returned(payment: Payment, charge: Charge) -> Decision:
    """An approval that comes too late is given back; a payment that still waited for it has failed."""
    told = Told("charge.reversing", charge)
    if payment.intent.status != "processing" or payment.live is not None:
        return Decision(payment=payment, events=(told,))
    method = payment.method(charge.payment_method)
    return _another_method(payment, _error(PROCESSING_ERROR, None, NEVER_ARRIVED, charge.id, method), told)


def declined(payment: Payment, answer: inputs.Declined, at: datetime) -> Decision | Refusal:
    """The bank said no: another card may be tried, until it looks like card testing."""
    charge = payment.charge(answer.charge_id)
    if charge is None or charge.state not in UNDECIDED:
        return _over(answer)
    given_up = charge.failure_code is not None  # and reversed: no bank has said no
    charge = replace(
        charge,
        state="declined",
        decline_code=answer.decline_code,
        failure_code=answer.code,
        failure_message=answer.message,
    )
    failed = Told("charge.failed", charge)
    payment = payment.having(charge)
    counted = None if given_up else charge
    if payment.intent.status != "processing":
        return Decision(payment=payment, events=(failed,), declined=counted)
    method = payment.method(charge.payment_method)
    error = _error(answer.code, answer.decline_code, answer.message, charge.id, method)
    decision = replace(_another_method(payment, error, failed), declined=counted)
    session = payment.open_session
    if session is None or given_up:
        return decision
    session = replace(session, decline_count=session.decline_count + 1)
    payment = replace(decision.payment, session=session)
    if session.decline_count >= DECLINES_PER_SESSION_MAX:
        return replace(canceled(payment, AUTOMATIC, at, *decision.events), declined=charge)
    return replace(decision, payment=payment)


def outcome_unknown(payment: Payment, answer: inputs.OutcomeUnknown, at: datetime) -> Decision | Refusal:
    """The charge may have happened: nothing else may until that is known."""
    charge = payment.charge(answer.charge_id)
    if charge is None or charge.state not in ("created", "sent"):
        return _over(answer)
    payment = payment.having(replace(charge, state="unknown"))
    return Decision(payment=payment, events=(Told("payment_intent.processing", payment.intent),))


def reversal_begun(payment: Payment, answer: inputs.ReversalBegun, at: datetime) -> Decision | Refusal:
    """The charge is given up before the acquirer is asked to reverse it; the payment waits until that is confirmed."""
    charge = payment.charge(answer.charge_id)
    if charge is None or charge.state != "unknown":
        return _over(answer)
    charge = replace(charge, failure_code=PROCESSING_ERROR, failure_message=NEVER_ARRIVED)
    return Decision(payment=payment.having(charge))


def never_arrived(charge_id: str) -> inputs.Declined:
    """What is told of a charge that the acquirer, or a person with evidence, says was never made."""
    return inputs.Declined(
        charge_id=charge_id, code=PROCESSING_ERROR, decline_code=PROCESSING_ERROR, message=NEVER_ARRIVED
    )


def charge_not_sent(payment: Payment, answer: inputs.ChargeNotSent, at: datetime) -> Decision | Refusal:
    """Nothing reached the bank: the charge is given up. The card stays, and the payment may be confirmed again, unless
    its number was only in the request that failed: then it is to be typed again."""
    charge = payment.charge(answer.charge_id)
    if charge is None or charge.state not in ("authenticating", "created", "sent"):
        return _over(answer)
    method = payment.method(charge.payment_method)
    error = _error("processing_error", None, _NOT_REACHED, None, method)
    if method is not None and method.single_use:
        given_up = replace(payment, intent=replace(payment.intent, latest_charge=None))
        return _another_method(given_up.having(replace(charge, state="abandoned")), error)
    intent = replace(
        payment.intent,
        status="requires_confirmation",
        latest_charge=None,
        next_action=None,
        last_payment_error=msgspec.json.encode(error).decode(),
    )
    return Decision(payment=replace(payment, intent=intent).having(replace(charge, state="abandoned")))


def _new_charge(intent: PaymentIntent, method: PaymentMethod, id: str, at: datetime) -> Charge:
    return Charge(
        account_id=intent.account_id,
        livemode=intent.livemode,
        id=id,
        version=0,
        payment_intent=intent.id,
        payment_method=method.id,
        state="authenticating" if method.authentication_required else "sent",
        amount=intent.amount,
        currency=intent.currency,
        capture_method=intent.capture_method,
        acquirer_key=id,
        created_at=at,
    )


def _sent(payment: Payment, charge: Charge) -> Decision:
    intent = replace(payment.intent, status="processing", latest_charge=charge.id, next_action=None)
    return Decision(payment=replace(payment, intent=intent).having(charge), send=charge)


def _another_method(payment: Payment, error: dict[str, Any], *before: Told) -> Decision:
    """The payment failed and asks for another card."""
    intent = replace(
        payment.intent,
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_payment_error=msgspec.json.encode(error).decode(),
    )
    events = (*before, Told("payment_intent.payment_failed", intent))
    return Decision(payment=replace(payment, intent=intent), events=events)


def _without_challenge(payment: Payment) -> Payment:
    live = payment.live
    return payment if live is None else payment.having(replace(live, state="abandoned"))


def _authenticating(payment: Payment, charge_id: str) -> Charge | None:
    charge = payment.charge(charge_id)
    return charge if charge is not None and charge.state == "authenticating" else None


def _over(answer: inputs.Answer) -> Refusal:
    """The answer is about something that is settled already: a repetition, or too late."""
    return Refusal(message=f"{type(answer).__name__} came after it was settled", code=None)


def _error(
    code: str, decline_code: str | None, message: str, charge_id: str | None, method: PaymentMethod | None
) -> dict[str, Any]:
    """`last_payment_error` as the wire shows it; members without a value are left out."""
    members = {
        "charge": charge_id,
        "code": code,
        "decline_code": decline_code,
        "message": message,
        "param": PARAMS.get(code),
        "payment_method": objects.payment_method(method) if method is not None else None,
        "type": "card_error",
    }
    return {name: value for name, value in members.items() if value is not None}
