"""What the acquirer is asked, as a step of its payment's trace, and told in the log where it did not go well.

A line bears the payment's id, and the order's where the merchant's reference is one of our ids: a reference may be
anything, also a person's name.
"""

import structlog

from tallystick.gateway.cards.pan import CardEntry
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.calling import Calling
from tallystick.gateway.payments.payment import AcquirerRequest, Charge, Payment
from tallystick.kernel.identifiers import is_id
from tallystick.ports.tracing import Tracer, read

log = structlog.get_logger("tallystick.gateway.payments")

_AS_ASKED = (
    inputs.Approved,
    inputs.Captured,
    inputs.Voided,
    inputs.Refunded,
    inputs.ChallengeBegun,
    inputs.Authenticated,
)


async def ask(
    calling: Calling, tracer: Tracer, payment: Payment, send: Charge | AcquirerRequest, card: CardEntry | None
) -> inputs.Answer:
    """What the acquirer says to what was committed."""
    asked, charge_id = (send.kind, send.charge) if isinstance(send, AcquirerRequest) else (_step_of(send), send.id)
    with tracer.span(f"acquirer {asked}", "client", read(payment.intent.trace)) as span:
        answer = await calling.ask(payment, send, card)
        ids = {"payment_intent": payment.intent.id, "charge_id": charge_id, "order_id": order_of(payment)}
        codes = {}
        if isinstance(answer, inputs.Declined):
            codes = {"code": answer.code, "decline_code": answer.decline_code}
        outcome = type(answer).__name__
        span.note(outcome=outcome, **ids, **codes)
        if not isinstance(answer, _AS_ASKED):
            log.info(
                "acquirer_did_not", asked=asked, outcome=outcome, **{k: v for k, v in {**ids, **codes}.items() if v}
            )
        return answer


def _step_of(charge: Charge) -> str:
    return "authentication" if charge.state == "authenticating" else "charge"


def order_of(payment: Payment) -> str | None:
    """The merchant's own reference, where it is an id as we make them."""
    reference = payment.session.client_reference_id if payment.session is not None else None
    return reference if reference is not None and is_id(reference) else None
