"""The records of a payment as they stand in the database: plain frozen data, columns by name."""

from datetime import datetime
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tallystick.gateway.checkout.session import CheckoutSession

LIVE_CHARGE_STATES = frozenset({"authenticating", "created", "sent", "unknown", "approved"})
OPEN_REQUEST_STATES = frozenset({"created", "sent", "unknown"})


class PaymentIntent(Struct, frozen=True, kw_only=True):
    """One payment (RULES §1, §3), in minor units; `metadata`, `last_payment_error`, `next_action` are JSON text.
    `trace` is the step that opened it, where somebody follows that."""

    account_id: str
    livemode: bool
    id: str
    version: int
    status: str
    amount: int
    currency: str
    capture_method: str
    client_secret: str
    created_at: datetime
    amount_capturable: int = 0
    amount_received: int = 0
    payment_method: str | None = None
    latest_charge: str | None = None
    checkout_session: str | None = None
    description: str | None = None
    metadata: str = "{}"
    last_payment_error: str | None = None
    next_action: str | None = None
    return_url: str | None = None
    cancellation_reason: str | None = None
    capture_before_at: datetime | None = None
    canceled_at: datetime | None = None
    customer: str | None = None
    setup_future_usage: str | None = None
    trace: str | None = None


class Charge(Struct, frozen=True, kw_only=True):
    """One authorisation and capture at the acquirer (RULES §1, §3)."""

    account_id: str
    livemode: bool
    id: str
    version: int
    payment_intent: str
    payment_method: str
    state: str
    amount: int
    currency: str
    capture_method: str
    acquirer_key: str
    created_at: datetime
    amount_authorised: int = 0
    amount_captured: int = 0
    acquirer_reference: str | None = None
    authentication: str | None = None
    decline_code: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    voided_at: datetime | None = None
    amount_refunded: int = 0
    refund_pending: int = 0
    dispute_withheld: int = 0
    disputed: bool = False

    @property
    def refundable(self) -> int:
        """What a refund may still give back (RULES §3)."""
        return self.amount_captured - self.amount_refunded - self.refund_pending - self.dispute_withheld


class PaymentMethod(Struct, frozen=True, kw_only=True):
    """A card as we may keep it: the acquirer's reference and what may be shown, never a number (RULES §9).

    `customer` with `attached_at`: a saved card; without: it will be theirs once a payment with it succeeds.
    `vault_token` says where its number stands, where it was typed and has to be used once more; `single_use` that it is
    kept nowhere (any more)."""

    account_id: str
    livemode: bool
    id: str
    card_reference: str
    brand: str
    first6: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    authentication_required: bool
    created_at: datetime
    metadata: str = "{}"
    customer: str | None = None
    attached_at: datetime | None = None
    vault_token: str | None = None
    single_use: bool = False


class AcquirerRequest(Struct, frozen=True, kw_only=True):
    """A capture, a void or a refund at the acquirer; its id is the key there. `reason` is that of the cancellation,
    `refund` the refund that it carries out."""

    account_id: str
    livemode: bool
    id: str
    charge: str
    payment_intent: str
    kind: str
    state: str
    amount: int
    created_at: datetime
    final: bool = True
    reason: str | None = None
    acquirer_reference: str | None = None
    refusal: str | None = None
    refund: str | None = None


class Refund(Struct, frozen=True, kw_only=True):
    """Money that a merchant gives back (RULES §1, §3): `pending`, `succeeded`, `failed` or `canceled`. `metadata` is
    JSON text.

    `over_refunded`: no command of ours stands behind it any more, the acquirer told of it all the same."""

    account_id: str
    livemode: bool
    id: str
    version: int
    payment_intent: str
    charge: str
    status: str
    amount: int
    currency: str
    created_at: datetime
    reason: str | None = None
    metadata: str = "{}"
    failure_reason: str | None = None
    reference: str | None = None
    over_refunded: bool = False


class Dispute(Struct, frozen=True, kw_only=True):
    """Money that a cardholder's bank takes back (RULES §1, §3): `needs_response`, `under_review`, `won` or `lost`.

    `reference` is the bank's own; `evidence` and `metadata` are JSON text."""

    account_id: str
    livemode: bool
    id: str
    version: int
    payment_intent: str
    charge: str
    reference: str
    status: str
    amount: int
    currency: str
    reason: str
    brand: str
    created_at: datetime
    evidence_due_at: datetime
    evidence: str = "{}"
    submissions: int = 0
    metadata: str = "{}"
    contest_due_at: datetime | None = None


class Payment(Struct, frozen=True, kw_only=True):
    """A payment intent with what belongs to it, as far as a decision needs it: its live charge and those that a
    command names, its open acquirer requests and the refunds that those carry out, the cards of those charges, its
    checkout session, and where they were asked for its disputes."""

    intent: PaymentIntent
    session: CheckoutSession | None = None
    charges: tuple[Charge, ...] = ()
    requests: tuple[AcquirerRequest, ...] = ()
    methods: tuple[PaymentMethod, ...] = ()
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()

    @property
    def live(self) -> Charge | None:
        """The one charge that may still turn out, or has turned out, to hold the shopper's money."""
        found = [charge for charge in self.charges if charge.state in LIVE_CHARGE_STATES]
        assert len(found) <= 1, "at most one live charge per intent (RULES §3)"
        return found[0] if found else None

    @property
    def open_request(self) -> AcquirerRequest | None:
        """A capture, void or refund whose outcome is not known yet."""
        return next((request for request in self.requests if request.state in OPEN_REQUEST_STATES), None)

    @property
    def open_session(self) -> CheckoutSession | None:
        return self.session if self.session is not None and self.session.status == "open" else None

    def charge(self, id: str | None) -> Charge | None:
        return next((charge for charge in self.charges if charge.id == id), None)

    def request(self, id: str) -> AcquirerRequest | None:
        return next((request for request in self.requests if request.id == id), None)

    def refund(self, id: str | None) -> Refund | None:
        return next((refund for refund in self.refunds if refund.id == id), None)

    def dispute(self, id: str | None) -> Dispute | None:
        return next((dispute for dispute in self.disputes if dispute.id == id), None)

    def method(self, id: str | None) -> PaymentMethod | None:
        return next((method for method in self.methods if method.id == id), None)

    def having(self, *records: Charge | AcquirerRequest | PaymentMethod | Refund | Dispute) -> "Payment":
        """The payment with these records, each in the place of the one with its id or added."""
        payment = self
        for record in records:
            match record:
                case Charge():
                    payment = replace(payment, charges=_put(payment.charges, record))
                case AcquirerRequest():
                    payment = replace(payment, requests=_put(payment.requests, record))
                case PaymentMethod():
                    payment = replace(payment, methods=_put(payment.methods, record))
                case Refund():
                    payment = replace(payment, refunds=_put(payment.refunds, record))
                case Dispute():
                    payment = replace(payment, disputes=_put(payment.disputes, record))
        return payment


Record = TypeVar("Record", bound=Charge | AcquirerRequest | PaymentMethod | Refund | Dispute)


def _put(records: tuple[Record, ...], record: Record) -> tuple[Record, ...]:
    return (*(one for one in records if one.id != record.id), record)
