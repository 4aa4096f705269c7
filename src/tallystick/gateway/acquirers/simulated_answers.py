"""What the simulated bank answers, and what it remembers of a request: by the script of the card alone. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from tallystick.gateway.acquirers.port import (
    Approved,
    Authentication,
    AuthenticationState,
    CaptureRequest,
    ChargeOutcome,
    ChargeRequest,
    Declined,
    MoneyRequest,
    NotFound,
    Pending,
    RefundRequest,
    VoidRequest,
)
from tallystick.gateway.acquirers.simulated_cards import BY_ALIAS, NOT_AUTHENTICATED, SimulatedCard
from tallystick.gateway.acquirers.simulated_memory import (
    LATE_S,
    Key,
    Operation,
    charge_answer,
    charge_reference,
    closed,
)
from tallystick.kernel.outcomes import Unknown
from tallystick.ports.database import Record

NO_SUCH_CARD: Final = Declined("card_declined", "invalid_account", "Your card was declined.")
VERDICTS: Final = {"winning_evidence": True, "losing_evidence": False}
ANSWERED: Final = (None, "refund_bounces", "disputed")  # scripts of cards whose charge is answered at once


def answer_of_card(request: ChargeRequest, states: Mapping[Authentication, AuthenticationState]) -> Approved | Declined:
    """What the card says."""
    card = card_behind(request.card_reference)
    if card is None:
        return NO_SUCH_CARD
    met = request.authentication is not None and states.get(request.authentication) == "succeeded"
    if card.authentication and not met:
        return NOT_AUTHENTICATED
    return card.decline or Approved(charge_reference(request.key), amount_approved(request))


def amount_approved(request: ChargeRequest) -> int | None:
    """What the card's bank approves, where that is not what was asked."""
    card = card_behind(request.card_reference)
    return request.amount + card.approves_more if card is not None and card.approves_more else None


def card_behind(reference: str) -> SimulatedCard | None:
    """The card that a reference of ours names."""
    return BY_ALIAS.get(reference.removeprefix("sim_"))


def charge_operation(request: ChargeRequest, answer: Approved | Declined, at: datetime) -> Operation:
    """A charge as the bank remembers it, by the script of its card."""
    card = card_behind(request.card_reference)
    script = card.script if card is not None else None
    return Operation(
        account_id=request.account_id,
        key=request.key,
        kind="charge",
        reference=charge_reference(request.key),
        known_at=at + timedelta(seconds=LATE_S) if script == "approves_late" else at,
        declined=answer if isinstance(answer, Declined) else None,
        lost=script == "approves_after_cancel",
        comes_late=script == "approves_after_cancel",
        tells="disputed" if script == "disputed" else None,
        tells_at=at if script == "disputed" and request.capture else None,  # else once it is captured
    )


def charge_outcome(request: ChargeRequest, row: Record, new: bool, at: datetime) -> ChargeOutcome:
    """How the call ends: scripted cards let their first call time out; a key that was closed takes no charge."""
    card = card_behind(request.card_reference)
    if new and card is not None and card.script not in ANSWERED:
        return Unknown("the bank did not answer")
    if closed(row):
        return Declined("processing_error", "processing_error", "This key was reversed.")
    answer = charge_answer(row, at, amount_approved(request))
    return Unknown("the bank has not decided") if isinstance(answer, Pending | NotFound) else answer


def request_operation(request: MoneyRequest, at: datetime) -> Operation:
    """Another request for money as the bank remembers it."""
    card = card_behind(request.card_reference) if isinstance(request, RefundRequest) else None
    bounces = card is not None and card.script == "refund_bounces"
    return Operation(
        account_id=request.account_id,
        key=request.key,
        kind=_KINDS[type(request)],
        reference=reference_of(request),
        known_at=at,
        tells="refund_failed" if bounces else None,
        tells_at=at + timedelta(seconds=LATE_S) if bounces else None,
    )


def verdict(evidence: Mapping[str, str]) -> bool | None:
    """What this bank decides at once, by Stripe's two words; of other evidence it is not convinced, in the end."""
    return VERDICTS.get(evidence.get("uncategorized_text", "").strip())


_KINDS = {CaptureRequest: "capture", VoidRequest: "void", RefundRequest: "refund"}
_PREFIXES = {CaptureRequest: "simcap", VoidRequest: "simvoid", RefundRequest: "simre"}


def reference_of(request: MoneyRequest) -> str:
    """The bank's own reference of a request."""
    return f"{_PREFIXES[type(request)]}_{request.key}"


def key_of(request: ChargeRequest | MoneyRequest) -> Key:
    """Under which the bank remembers a request."""
    return request.account_id, request.key
