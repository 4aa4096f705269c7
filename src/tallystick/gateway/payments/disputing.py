"""What a cardholder's bank takes back, and how that ends: evidence, won, lost. Pure. RULES §3, §10.

The amount is withheld from the moment the bank tells of the dispute, whatever is left of the charge: what the bank
tells is always recordable. Disputes never change the payment's status.
"""

from datetime import datetime, timedelta

from msgspec import UNSET
from msgspec.structs import replace

from tallystick.gateway.ledger import postings
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.changes import Decision, Refusal, Told, cause_of, concern_about
from tallystick.gateway.payments.payment import Charge, Dispute, Payment

EVIDENCE_WINDOW = timedelta(days=7)  # what the simulated bank gives, and most card schemes at least
OPEN = ("needs_response", "under_review")


def opened(payment: Payment, answer: inputs.DisputeOpened, at: datetime) -> Decision | Refusal:
    """The bank has taken the money of a charge back, for now. More than is left of the charge is a case too."""
    charge = payment.charge(answer.charge_id)
    told = any(dispute.reference == answer.reference for dispute in payment.disputes)
    if charge is None or told or charge.amount_captured == 0:
        return _over(answer)
    method = payment.method(charge.payment_method)
    assert method is not None, "a charge's card is loaded with it"
    amount = answer.amount or charge.amount_captured
    dispute = Dispute(
        account_id=charge.account_id,
        livemode=charge.livemode,
        id=answer.dispute_id,
        version=0,
        payment_intent=charge.payment_intent,
        charge=charge.id,
        reference=answer.reference,
        status="needs_response",
        amount=amount,
        currency=charge.currency,
        reason=answer.reason,
        brand=method.brand,
        created_at=at,
        evidence_due_at=at + EVIDENCE_WINDOW,
    )
    excess = amount - max(charge.refundable, 0)
    concerns = (concern_about(charge, "over_disputed", dispute.id, excess),) if excess > 0 else ()
    charge = replace(charge, dispute_withheld=charge.dispute_withheld + amount, disputed=True)
    return Decision(
        payment=payment.having(charge, dispute),
        entries=(postings.dispute_opened(cause_of(charge), dispute.id, amount, at),),
        events=(Told("charge.dispute.created", dispute), Told("charge.dispute.funds_withdrawn", dispute)),
        concerns=concerns,
    )


def update(payment: Payment, command: inputs.UpdateDispute, at: datetime) -> Decision | Refusal:
    """Add evidence, and send it to the bank."""
    dispute = payment.dispute(command.dispute_id)
    if dispute is None:
        return _over(command)
    changed = replace(dispute, metadata=dispute.metadata if command.metadata is UNSET else command.metadata)
    if command.evidence is not UNSET or command.submit:
        if dispute.status != "needs_response":
            return _closed(dispute, "no evidence can be added to it")
        if command.evidence is not UNSET:
            changed = replace(changed, evidence=command.evidence)
        if command.submit:
            changed = replace(changed, status="under_review", submissions=dispute.submissions + 1, contest_due_at=at)
    if changed == dispute:
        return Decision(payment=payment)
    return Decision(payment=payment.having(changed), events=(Told("charge.dispute.updated", changed),))


def close(payment: Payment, command: inputs.CloseDispute, at: datetime) -> Decision | Refusal:
    """The merchant accepts the dispute: it is lost."""
    dispute = payment.dispute(command.dispute_id)
    if dispute is None:
        return _over(command)
    if dispute.status != "needs_response":
        return _closed(dispute, "it cannot be closed")
    return _lost(payment, dispute, at)


def ended(payment: Payment, answer: inputs.DisputeEnded, at: datetime) -> Decision | Refusal:
    """The bank has decided."""
    dispute = next((one for one in payment.disputes if one.reference == answer.reference), None)
    if dispute is None or dispute.status not in OPEN:
        return _over(answer)
    return _won(payment, dispute, at) if answer.won else _lost(payment, dispute, at)


def _won(payment: Payment, dispute: Dispute, at: datetime) -> Decision:
    charge = _charge_of(payment, dispute)
    charge = replace(charge, dispute_withheld=charge.dispute_withheld - dispute.amount)
    dispute = replace(dispute, status="won", contest_due_at=None)
    return Decision(
        payment=payment.having(charge, dispute),
        entries=(postings.dispute_won(cause_of(charge), dispute.id, dispute.amount, at),),
        events=(Told("charge.dispute.closed", dispute), Told("charge.dispute.funds_reinstated", dispute)),
    )


def _lost(payment: Payment, dispute: Dispute, at: datetime) -> Decision:
    charge = _charge_of(payment, dispute)
    dispute = replace(dispute, status="lost", contest_due_at=None)
    return Decision(
        payment=payment.having(dispute),
        entries=(postings.dispute_lost(cause_of(charge), dispute.id, dispute.amount, at),),
        events=(Told("charge.dispute.closed", dispute),),
    )


def _charge_of(payment: Payment, dispute: Dispute) -> Charge:
    charge = payment.charge(dispute.charge)
    assert charge is not None, "a dispute's charge is loaded with it"
    return charge


def _closed(dispute: Dispute, what: str) -> Refusal:
    return Refusal(message=f"The dispute {dispute.id} has a status of {dispute.status}: {what} any more.", code=None)


def _over(told: inputs.Input) -> Refusal:
    return Refusal(message=f"{type(told).__name__} is about nothing that is open", code=None)
