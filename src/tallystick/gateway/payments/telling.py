"""What a change tells the world: an event's object in the wire's shape, as it is at that moment. Pure."""

from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.payments.changes import Told
from tallystick.gateway.payments.payment import Charge, Dispute, Payment, PaymentIntent, PaymentMethod, Refund
from tallystick.gateway.stripe_wire import balance_objects, checkout_objects, objects
from tallystick.gateway.stripe_wire.call import Call
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.gateway.webhooks.events import Happening


def happening(call: Call | None, payment: Payment, told: Told, pages_url: str, trace: str | None = None) -> Happening:
    """What is written of an event; `call` is the one that caused it, None when it happened by itself. It belongs to
    `trace`, or else to the step that opened its payment."""
    about = told.about
    return Happening(
        account_id=about.account_id,
        livemode=about.livemode,
        type=told.type,
        object_id=about.id,
        object=_shaped(payment, about, pages_url),
        request_id=call.request_id if call is not None else None,
        idempotency_key=call.idempotency_key if call is not None else None,
        trace=trace or payment.intent.trace,
    )


def _shaped(
    payment: Payment,
    about: PaymentIntent | Charge | CheckoutSession | Refund | Dispute | PaymentMethod,
    pages_url: str,
) -> Json:
    match about:
        case PaymentIntent():
            return objects.payment_intent(about)
        case PaymentMethod():
            return objects.payment_method(about)
        case Refund():
            return objects.refund(about)
        case Dispute():
            return balance_objects.dispute(about)
        case CheckoutSession():
            return checkout_objects.checkout_session(about, pages_url)
        case Charge():
            method = payment.method(about.payment_method)
            assert method is not None, "a charge's card is loaded with it"
            return objects.charge(about, method, payment.intent)
