"""How a call about a payment is answered, by what the payment has become. Pure."""

import msgspec

from tallystick.gateway.payments.capturing import NOT_SENT
from tallystick.gateway.payments.changes import UNEXPECTED_STATE, Refusal
from tallystick.gateway.payments.charging import PARAMS
from tallystick.gateway.payments.payment import Charge, Payment
from tallystick.gateway.payments.work import Outcome
from tallystick.gateway.stripe_wire import errors, objects
from tallystick.gateway.stripe_wire.objects import Json

NOT_REACHED = "The acquirer could not be reached. Nothing was done; please try again."
OUTCOME_OPEN = "The acquirer has not answered yet. What becomes of it is told by webhook; repeat the call to learn it."


def intent(outcome: Outcome) -> Json | errors.WireError:
    """The payment intent, or why the command was refused."""
    if outcome.refusal is not None:
        return refused(outcome.payment, outcome.refusal)
    return objects.payment_intent(outcome.payment.intent)


def confirmed(outcome: Outcome, charge_id: str) -> Json | errors.WireError:
    """The payment intent after a charge was tried: a decline is an error with the intent inside (402)."""
    if outcome.refusal is not None:
        return refused(outcome.payment, outcome.refusal)
    payment = outcome.payment
    charge = payment.charge(charge_id)
    if charge is not None and charge.state == "declined":
        return declined(payment, charge)
    if charge is None or charge.state in ("abandoned", "reversing", "reversed"):
        if payment.intent.status == "requires_confirmation":
            return errors.Unavailable(NOT_REACHED)
        if payment.intent.status == "requires_payment_method" and payment.intent.last_payment_error is not None:
            return failed(payment)
    return objects.payment_intent(payment.intent)


def requested(outcome: Outcome, request_id: str) -> Json | errors.WireError:
    """The payment intent after a capture or void was tried."""
    if outcome.refusal is not None:
        return refused(outcome.payment, outcome.refusal)
    request = outcome.payment.request(request_id)
    if request is not None and request.state == "refused":
        if request.refusal == NOT_SENT:
            return errors.Unavailable(NOT_REACHED)
        return errors.unexpected_state(
            f"The acquirer refused the {request.kind}: {request.refusal}.",
            code=None,
            intent=objects.payment_intent(outcome.payment.intent),
        )
    if request is not None and request.state != "done":
        return errors.Unavailable(OUTCOME_OPEN)
    return objects.payment_intent(outcome.payment.intent)


def refund(outcome: Outcome, request_id: str) -> Json | errors.WireError:
    """The refund that a request carries out, whatever became of it."""
    if outcome.refusal is not None:
        return refused(outcome.payment, outcome.refusal)
    request = outcome.payment.request(request_id)
    record = outcome.payment.refund(request.refund) if request is not None else None
    assert record is not None, "a request's refund is loaded with it"
    return objects.refund(record)


def refused(payment: Payment, refusal: Refusal) -> errors.WireError:
    """A command that the payment's state forbids (RULES §3)."""
    shaped = objects.payment_intent(payment.intent) if refusal.code == UNEXPECTED_STATE else None
    return errors.unexpected_state(refusal.message, code=refusal.code, intent=shaped, param=refusal.param)


def declined(payment: Payment, charge: Charge) -> errors.WireError:
    """The bank said no to this charge."""
    method = payment.method(charge.payment_method)
    assert method is not None, "a charge's card is loaded with it"
    assert charge.failure_code is not None
    error = errors.card_declined(
        charge.failure_code,
        charge.decline_code,
        charge.failure_message or "Your card was declined.",
        intent=objects.payment_intent(payment.intent),
        charge=charge.id,
        payment_method=objects.payment_method(method),
    )
    error.param = PARAMS.get(charge.failure_code)
    return error


def failed(payment: Payment) -> errors.WireError:
    """The payment failed before the bank was asked to charge: 3DS was needed, or was not passed."""
    assert payment.intent.last_payment_error is not None
    last: Json = msgspec.json.decode(payment.intent.last_payment_error)
    return errors.card_declined(
        last["code"],
        last.get("decline_code"),
        last["message"],
        intent=objects.payment_intent(payment.intent),
        payment_method=last.get("payment_method"),
    )
