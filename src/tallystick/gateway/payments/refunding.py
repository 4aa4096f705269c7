"""How money is given back: from the command to the acquirer's answer, and what is sent back later. Pure. RULES §3.

A refund reserves its amount on the charge when it is asked for, so that many at once never give back more than was
captured; its request at the acquirer is committed before the call, like a capture. What the acquirer cannot be reached
for stays asked for and is sent again; the merchant sees it `pending` until it is known.
"""

from datetime import datetime

from msgspec import UNSET
from msgspec.structs import replace

from tallystick.gateway.ledger import postings
from tallystick.gateway.ledger.postings import Entry
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.changes import UNEXPECTED_STATE, Decision, Refusal, Told, cause_of, concern_about
from tallystick.gateway.payments.payment import AcquirerRequest, Charge, Payment, Refund

ALREADY_REFUNDED = "charge_already_refunded"
DISPUTED = "charge_disputed"
GIVEN_BACK_STATES = ("reversing", "reversed")


def create(payment: Payment, command: inputs.CreateRefund, at: datetime) -> Decision | Refusal:
    """Reserve the amount and ask the acquirer to give it back."""
    charge = payment.charge(command.charge_id) if command.charge_id is not None else payment.live
    refusal = _not_refundable(payment, charge, command.amount)
    if refusal is not None:
        return refusal
    assert charge is not None, "what is missing is refused"
    amount = command.amount if command.amount is not None else charge.refundable
    refund = Refund(
        account_id=charge.account_id,
        livemode=charge.livemode,
        id=command.refund_id,
        version=0,
        payment_intent=charge.payment_intent,
        charge=charge.id,
        status="pending",
        amount=amount,
        currency=charge.currency,
        created_at=at,
        reason=command.reason,
        metadata=command.metadata,
    )
    request = AcquirerRequest(
        account_id=charge.account_id,
        livemode=charge.livemode,
        id=command.request_id,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        kind="refund",
        state="sent",
        amount=amount,
        created_at=at,
        refund=refund.id,
    )
    charge = replace(charge, refund_pending=charge.refund_pending + amount)
    return Decision(
        payment=payment.having(charge, request, refund),
        entries=(postings.refund_asked(cause_of(charge), refund.id, amount, at),),
        events=(Told("refund.created", refund),),
        send=request,
    )


def paid(payment: Payment, request: AcquirerRequest, reference: str, at: datetime) -> Decision:
    """The acquirer gave the money back."""
    charge, refund = concerned(payment, request)
    charge = replace(
        charge,
        refund_pending=charge.refund_pending - refund.amount,
        amount_refunded=charge.amount_refunded + refund.amount,
    )
    refund = replace(refund, status="succeeded", reference=reference)
    return Decision(
        payment=payment.having(charge, refund, replace(request, state="done", acquirer_reference=reference)),
        entries=(postings.refund_paid(cause_of(charge), refund.id, refund.amount, at),),
        events=(Told("charge.refunded", charge), Told("refund.updated", refund)),
    )


def refused(payment: Payment, request: AcquirerRequest, refusal: str, at: datetime) -> Decision:
    """The acquirer said no: nothing was given back, and the amount may be refunded again."""
    charge, refund = concerned(payment, request)
    charge = replace(charge, refund_pending=charge.refund_pending - refund.amount)
    payment = payment.having(charge, replace(request, state="refused", refusal=refusal))
    entry = postings.refund_failed(cause_of(charge), refund.id, refund.amount, at, paid=False)
    return failed(payment, refund, refusal, entry)


def paid_after_all(payment: Payment, request: AcquirerRequest, answer: inputs.Refunded, at: datetime) -> Decision:
    """The acquirer did what was taken for failed, or was given up: it is booked, whatever was refunded meanwhile.

    A refund that failed has failed; those who were told so never hear otherwise (RULES §4: `failed` ranks above
    `succeeded`). So the money stands in a refund of its own, marked, and a person has a case."""
    charge, taken_for_failed = concerned(payment, request)
    refund = replace(
        taken_for_failed,
        id=answer.refund_id,
        version=0,
        status="succeeded",
        created_at=at,
        failure_reason=None,
        reference=answer.reference,
        over_refunded=True,
    )
    charge = replace(charge, amount_refunded=charge.amount_refunded + refund.amount)
    request = replace(request, state="done", acquirer_reference=answer.reference, refund=refund.id)
    cause = cause_of(charge)
    return Decision(
        payment=payment.having(charge, refund, request),
        entries=(
            postings.refund_asked(cause, refund.id, refund.amount, at),
            postings.refund_paid(cause, refund.id, refund.amount, at),
        ),
        events=(Told("refund.created", refund), Told("charge.refunded", charge)),
        concerns=(
            concern_about(charge, "over_refunded", refund.id, refund.amount, taken_for_failed=taken_for_failed.id),
        ),
    )


def failed(payment: Payment, refund: Refund, reason: str, entry: Entry) -> Decision:
    """The refund has failed, and that is told."""
    refund = replace(refund, status="failed", failure_reason=reason or "unknown")
    events = (Told("refund.updated", refund), Told("refund.failed", refund))
    return Decision(payment=payment.having(refund), entries=(entry,), events=events)


def update(payment: Payment, command: inputs.UpdateRefund, at: datetime) -> Decision | Refusal:
    """Change metadata."""
    refund = payment.refund(command.refund_id)
    if refund is None:
        return Refusal(message="There is no such refund.", code=None)
    changed = refund if command.metadata is UNSET else replace(refund, metadata=command.metadata)
    events = () if changed == refund else (Told("refund.updated", changed),)
    return Decision(payment=payment.having(changed), events=events)


def cancel(payment: Payment, command: inputs.CancelRefund, at: datetime) -> Decision | Refusal:
    """Call a refund off. What the acquirer may have is not in our hands any more."""
    refund = payment.refund(command.refund_id)
    if refund is None:
        return Refusal(message="There is no such refund.", code=None)
    request = next((one for one in payment.requests if one.refund == refund.id), None)
    if refund.status != "pending" or request is None or request.state != "created":
        under_way = refund.status == "pending"
        why = "is on its way to the bank" if under_way else f"has a status of {refund.status}"
        return Refusal(message=f"The refund {refund.id} {why}: it cannot be canceled.", code=None)
    charge, _ = concerned(payment, request)
    charge = replace(charge, refund_pending=charge.refund_pending - refund.amount)
    canceled = replace(refund, status="canceled")
    return Decision(
        payment=payment.having(charge, canceled, replace(request, state="refused", refusal="canceled")),
        entries=(postings.refund_failed(cause_of(charge), refund.id, refund.amount, at, paid=False),),
        events=(Told("refund.updated", canceled),),
    )


def concerned(payment: Payment, request: AcquirerRequest) -> tuple[Charge, Refund]:
    """The charge and the refund that a request is about."""
    charge, refund = payment.charge(request.charge), payment.refund(request.refund)
    assert charge is not None, "a request's charge is loaded with it"
    assert refund is not None, "a request's refund is loaded with it"
    return charge, refund


def _not_refundable(payment: Payment, charge: Charge | None, amount: int | None) -> Refusal | None:
    if charge is not None and charge.state in GIVEN_BACK_STATES:
        return Refusal(message=f"Charge {charge.id} has already been refunded.", code=ALREADY_REFUNDED)
    if charge is None or charge.state != "approved" or charge.amount_captured == 0:
        return Refusal(
            message=f"This PaymentIntent ({payment.intent.id}) does not have a successful charge to refund.",
            code=UNEXPECTED_STATE,
        )
    wanted = amount if amount is not None else max(charge.refundable, 1)
    if wanted <= charge.refundable:
        return None
    if wanted <= charge.refundable + charge.dispute_withheld:
        return Refusal(message=f"Charge {charge.id} has been charged back; cannot issue a refund.", code=DISPUTED)
    if charge.refundable <= 0:
        return Refusal(message=f"Charge {charge.id} has already been refunded.", code=ALREADY_REFUNDED)
    return Refusal(
        message=f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({charge.refundable}).",
        code=ALREADY_REFUNDED,
        param="amount",
    )
