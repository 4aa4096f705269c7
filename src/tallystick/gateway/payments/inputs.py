"""What a payment can be told: our own commands, and the answers of the acquirer. `machine.py` says what each does.

Ids that a step may need for new rows come with the command, so that deciding stays pure; what is not needed is dropped.
"""

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from tallystick.gateway.payments.payment import PaymentMethod


class Update(Struct, frozen=True, kw_only=True):
    """Change what may change: card, description, metadata (JSON text). Amount and currency never do (RULES §3)."""

    method: PaymentMethod | None = None
    description: str | UnsetType | None = UNSET
    metadata: str | UnsetType = UNSET


class Confirm(Struct, frozen=True, kw_only=True):
    """Pay now, with this card or with the one that is attached. `charge_id` is for the charge that starts."""

    charge_id: str
    method: PaymentMethod | None = None
    return_url: str | None = None
    error_on_requires_action: bool = False


class Capture(Struct, frozen=True, kw_only=True):
    """Take an authorised amount, all that is left by default; the last capture releases the rest."""

    request_id: str
    amount: int | None = None
    final: bool = True
    several_allowed: bool = False
    metadata: str | UnsetType = UNSET


class Cancel(Struct, frozen=True, kw_only=True):
    """Give the payment up; what was authorised is voided first."""

    request_id: str
    reason: str | None = None


class CreateRefund(Struct, frozen=True, kw_only=True):
    """Give back an amount of a charge, all that is left of it by default; the live charge where none is named."""

    refund_id: str
    request_id: str
    charge_id: str | None = None
    amount: int | None = None
    reason: str | None = None
    metadata: str = "{}"


class UpdateRefund(Struct, frozen=True, kw_only=True):
    """Change a refund's metadata (JSON text)."""

    refund_id: str
    metadata: str | UnsetType = UNSET


class CancelRefund(Struct, frozen=True, kw_only=True):
    """Call a refund off that has not left yet."""

    refund_id: str


class UpdateDispute(Struct, frozen=True, kw_only=True):
    """Change a dispute's evidence and metadata (JSON texts, whole); `submit` sends what is there to the bank."""

    dispute_id: str
    evidence: str | UnsetType = UNSET
    metadata: str | UnsetType = UNSET
    submit: bool = False


class CloseDispute(Struct, frozen=True, kw_only=True):
    """Accept a dispute: the money is gone."""

    dispute_id: str


class ExpireSession(Struct, frozen=True, kw_only=True):
    """Close the checkout session, by its clock or by the merchant; its intent is canceled with it."""


class CaptureWindowPassed(Struct, frozen=True, kw_only=True):
    """Nobody captured in time: the authorisation is voided."""

    request_id: str


class ChallengeBegun(Struct, frozen=True, kw_only=True):
    """The bank waits for the shopper at `url` and sends the browser back to `return_url`."""

    charge_id: str
    reference: str
    url: str
    return_url: str | None


class Authenticated(Struct, frozen=True, kw_only=True):
    """The bank's server says that the shopper met the 3DS challenge."""

    charge_id: str


class NotAuthenticated(Struct, frozen=True, kw_only=True):
    """The bank's server says that the challenge failed or was cancelled."""

    charge_id: str


class Approved(Struct, frozen=True, kw_only=True):
    """The acquirer approved a charge. `capture_before_at` bounds a later capture; `request_id` is for a void, if the
    approval comes when it no longer may, or is for another `amount` (None: it did not say which)."""

    charge_id: str
    reference: str
    capture_before_at: datetime
    request_id: str
    amount: int | None = None


class Declined(Struct, frozen=True, kw_only=True):
    """The acquirer declined a charge, in Stripe's words."""

    charge_id: str
    code: str
    decline_code: str
    message: str


class OutcomeUnknown(Struct, frozen=True, kw_only=True):
    """The call broke off: the charge may have happened."""

    charge_id: str


class ReversalBegun(Struct, frozen=True, kw_only=True):
    """The acquirer does not know the charge and its processing time is over: it is given up, and about to be reversed.
    An approval that is learnt of after this comes too late."""

    charge_id: str


class ChargeNotSent(Struct, frozen=True, kw_only=True):
    """The call never reached the acquirer (or its 3DS server): nothing happened."""

    charge_id: str


class Captured(Struct, frozen=True, kw_only=True):
    """The acquirer did the capture of this request."""

    request_id: str
    reference: str


class Voided(Struct, frozen=True, kw_only=True):
    """The acquirer did the void of this request."""

    request_id: str
    reference: str


class Refunded(Struct, frozen=True, kw_only=True):
    """The acquirer did the refund of this request. `refund_id` is for what is booked where it was taken for failed."""

    request_id: str
    reference: str
    refund_id: str


class RefundReturned(Struct, frozen=True, kw_only=True):
    """The cardholder's bank sent back what the acquirer had given: the refund of this request has failed after all.
    `refund_id` is for what is booked where the request returned a late approval."""

    request_id: str
    reason: str
    reference: str
    refund_id: str


class RequestRefused(Struct, frozen=True, kw_only=True):
    """The acquirer said no to a capture, void or refund; nothing happened. `follow_id` is for what is asked instead."""

    request_id: str
    refusal: str
    follow_id: str


class RequestUnknown(Struct, frozen=True, kw_only=True):
    """The call of a capture, void or refund broke off: it may have happened."""

    request_id: str


class RequestNotSent(Struct, frozen=True, kw_only=True):
    """The call of a capture, void or refund never reached the acquirer."""

    request_id: str


class DisputeOpened(Struct, frozen=True, kw_only=True):
    """The cardholder's bank takes a charge back, the whole of it where no amount is told. `reference` is the bank's
    own, `dispute_id` is for the dispute that begins."""

    charge_id: str
    dispute_id: str
    reference: str
    reason: str
    amount: int | None = None


class DisputeEnded(Struct, frozen=True, kw_only=True):
    """The bank has decided about the dispute of this reference."""

    reference: str
    won: bool


class Resend(Struct, frozen=True, kw_only=True):
    """What must happen and never reached the acquirer is sent once more."""

    request_id: str


Command = (
    Update
    | Confirm
    | Capture
    | Cancel
    | CreateRefund
    | UpdateRefund
    | CancelRefund
    | UpdateDispute
    | CloseDispute
    | ExpireSession
    | CaptureWindowPassed
)
Answer = (
    ChallengeBegun
    | Authenticated
    | NotAuthenticated
    | Approved
    | Declined
    | OutcomeUnknown
    | ReversalBegun
    | ChargeNotSent
    | Captured
    | Voided
    | Refunded
    | RefundReturned
    | RequestRefused
    | RequestUnknown
    | RequestNotSent
    | DisputeOpened
    | DisputeEnded
    | Resend
)
Input = Command | Answer
