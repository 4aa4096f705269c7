"""What cardholders' banks send back: refunds that had been given fail after all. Pure. RULES §3, §10.

Whatever was given back comes back the same way: a merchant's refund, whose amount is the merchant's again; and the
return of an approval that came too late, which was never the merchant's to keep. Of the latter nobody knows a refund,
so one is made of it that has failed: the merchant learns of it as of every other, and a person decides.
"""

from datetime import datetime

from msgspec.structs import replace

from tallystick.gateway.ledger import postings
from tallystick.gateway.payments import capturing, inputs, refunding
from tallystick.gateway.payments.changes import Decision, Refusal, Told, cause_of, concern_about
from tallystick.gateway.payments.payment import OPEN_REQUEST_STATES, AcquirerRequest, Payment, Refund


def returned(payment: Payment, answer: inputs.RefundReturned, at: datetime) -> Decision | Refusal:
    """The amount came back from the cardholder's bank: the refund has failed, and the merchant has the money again."""
    request = payment.request(answer.request_id)
    if request is None or request.kind != "refund":
        return Refusal(message="There is no such refund.", code=None)
    if request.refund is None:
        return _return_came_back(payment, request, answer, at)
    charge, refund = refunding.concerned(payment, request)
    if refund.status in ("failed", "canceled"):
        return Refusal(message="The refund has failed already.", code=None)
    if refund.status == "pending":
        return refunding.refused(payment, request, answer.reason, at)
    charge = replace(charge, amount_refunded=charge.amount_refunded - refund.amount)
    entry = postings.refund_failed(cause_of(charge), refund.id, refund.amount, at, paid=True)
    return refunding.failed(payment.having(charge), refund, answer.reason, entry)


def _return_came_back(
    payment: Payment, request: AcquirerRequest, answer: inputs.RefundReturned, at: datetime
) -> Decision | Refusal:
    """A late approval was given back by refund, and the refund bounced: both legs stand in the books."""
    charge = payment.charge(request.charge)
    assert charge is not None, "a request's charge is loaded with it"
    done = Decision(payment=payment)
    if request.state in OPEN_REQUEST_STATES:  # the bank tells of both at once: it was given back before it came back
        payment = payment.having(replace(request, state="done", acquirer_reference=answer.reference))
        done = capturing.reversed_by(payment, charge, request, at)
    elif request.state != "done":
        return Refusal(message="Nothing was given back.", code=None)
    refund = Refund(
        account_id=charge.account_id,
        livemode=charge.livemode,
        id=answer.refund_id,
        version=0,
        payment_intent=charge.payment_intent,
        charge=charge.id,
        status="failed",
        amount=request.amount,
        currency=charge.currency,
        created_at=at,
        metadata=payment.intent.metadata,
        failure_reason=answer.reason or "unknown",
        reference=answer.reference,
    )
    now = done.payment
    told = now.request(request.id)
    assert told is not None
    return Decision(
        payment=now.having(refund, replace(told, refund=refund.id)),
        entries=(*done.entries, postings.refund_failed(cause_of(charge), refund.id, refund.amount, at, paid=True)),
        events=(*done.events, Told("refund.created", refund), Told("refund.failed", refund)),
        concerns=(concern_about(charge, "return_bounced", refund.id, refund.amount, reason=answer.reason),),
    )
