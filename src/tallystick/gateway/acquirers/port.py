"""The acquirer port: the bank side behind the gateway. Batch first; nothing ends in a bare exception (DESIGN §2.8).

A card is accepted first (before anything is stored or logged) and known by a reference from then on; calls that move
money carry our own key, under which the acquirer does them at most once. Every call to it ends in one of

    Done / Approved     it did it
    Refused / Declined  it said no; nothing happened
    NotSent             the call never reached it; nothing happened
    Unknown             it may have done it: to be inquired under our key, never repeated under another

An inquiry names the request that it is about and ends as the request itself would have, or in

    Pending             it has the request and has not decided yet
    NotFound            it knows no such key, so far: the request may still be on its way to it
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct

from tallystick.gateway.cards.pan import CardEntry, Cvc, Pan
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown

CALL_DEADLINE_S = 20.0  # of every call to an acquirer; leases (60 s) are longer by a wide margin

CardField = Literal["cc-number", "cc-exp", "cc-csc"]
"""The inputs of a card form, by their standard autocomplete names."""

AuthenticationState = Literal["pending", "succeeded", "failed", "canceled"]


class AcceptedCard(Struct, frozen=True, kw_only=True):
    """A card that the acquirer takes, as we may keep it. Its `card_reference` is never derived from the number."""

    card_reference: str
    brand: str
    first6: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    authentication_required: bool


class CardRefused(Struct, frozen=True):
    """The acquirer does not take this card, or this cannot be one; nothing of it was kept."""

    field: CardField
    message: str


class Authentication(Struct, frozen=True):
    """Which 3DS challenge is meant."""

    account_id: str
    reference: str


class ChargeRequest(Struct, frozen=True, kw_only=True):
    """Authorise an amount, and capture it at once when `capture`. `authentication` is a 3DS challenge that was met.

    `number` is the card itself, where it was typed: just now, or out of the vault. Without it the acquirer knows the
    card by its reference alone, as it does that of a test token; an inquiry never carries it."""

    account_id: str
    key: str
    card_reference: str
    code: Cvc | None
    amount: int
    currency: str
    capture: bool
    authentication: Authentication | None = None
    number: Pan | None = None


class Approved(Struct, frozen=True):
    """The bank authorised an amount (and captured it, when asked to): `amount`, where it says which (minor units)."""

    reference: str
    amount: int | None = None


class Declined(Struct, frozen=True):
    """The bank said no. `code` and `decline_code` are Stripe's words, `message` its sentence for people."""

    code: str
    decline_code: str
    message: str


class CaptureRequest(Struct, frozen=True, kw_only=True):
    """Capture part or all of an authorised charge; `final` releases what is left of it."""

    account_id: str
    key: str
    charge_reference: str
    amount: int
    currency: str
    final: bool


class VoidRequest(Struct, frozen=True, kw_only=True):
    """Release what is left of an authorised charge, or return the whole of a captured one on the same day."""

    account_id: str
    key: str
    charge_reference: str
    amount: int
    currency: str


class RefundRequest(Struct, frozen=True, kw_only=True):
    """Return an amount of a captured charge to the cardholder. `card_reference` is the card that was charged."""

    account_id: str
    key: str
    charge_reference: str
    card_reference: str
    amount: int
    currency: str


class Reversal(Struct, frozen=True):
    """Undo the charge that may have been made under our key, and refuse it if it is yet to come."""

    account_id: str
    key: str


class Pending(Struct, frozen=True):
    """The bank has the request under this key and has not decided yet."""


class NotFound(Struct, frozen=True):
    """The bank knows no request under this key, so far."""


class Notice(Struct, frozen=True):
    """What the bank tells by itself about a request that had ended: `approved`, a charge that was taken for lost;
    `refunded`, a refund that was taken for failed; `refund_failed`, a refund that the cardholder's bank sent back;
    `disputed`, a charge that the cardholder's bank takes back; `dispute_won` and `dispute_lost`, how that ended.
    `reference` is the bank's own. `amount` is what it approved or takes back, where it says (minor units)."""

    account_id: str
    key: str
    kind: Literal["approved", "refunded", "refund_failed", "disputed", "dispute_won", "dispute_lost"]
    reference: str
    reason: str = ""
    amount: int | None = None


class Contest(Struct, frozen=True):
    """A merchant's evidence against a dispute of the charge under our key; sent twice, it is one answer to it."""

    account_id: str
    key: str
    reference: str
    evidence: Mapping[str, str]


class AuthenticationRequest(Struct, frozen=True, kw_only=True):
    """Ask the cardholder's bank for a 3DS challenge. `charge` is the id that the shopper's page will carry."""

    account_id: str
    charge: str
    card_reference: str
    amount: int
    currency: str


class Challenge(Struct, frozen=True):
    """Where the shopper's browser must go, and under which reference the bank tells us what came of it."""

    reference: str
    url: str


ChargeOutcome = Approved | Declined | NotSent | Unknown
RequestOutcome = Done[str] | Refused | NotSent | Unknown
MoneyRequest = CaptureRequest | VoidRequest | RefundRequest
ChargeInquiry = ChargeOutcome | Pending | NotFound
RequestInquiry = RequestOutcome | Pending | NotFound
ChallengeOutcome = Done[Challenge] | Refused | NotSent | Unknown
AuthenticationOutcome = Done[AuthenticationState] | NotSent | Unknown


class Acquirer(Protocol):
    """The bank side. `simulated` ones take test cards and nothing else, and serve test mode only (DESIGN §5)."""

    @property
    def simulated(self) -> bool: ...

    @property
    def processing_s_max(self) -> float:
        """The longest that a request may be on its way before the bank does it or never will, as it declares."""
        ...

    async def accept(self, entries: Sequence[CardEntry], at: datetime) -> list[AcceptedCard | CardRefused]:
        """Whether each card is taken. Refuses before anything is stored or logged (RULES §9)."""
        ...

    def accept_token(self, token: str, at: datetime) -> AcceptedCard | None:
        """The card behind a test token such as `pm_card_visa`; None where there is none."""
        ...

    async def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeOutcome]: ...

    async def capture(self, requests: Sequence[CaptureRequest]) -> list[RequestOutcome]: ...

    async def void(self, requests: Sequence[VoidRequest]) -> list[RequestOutcome]: ...

    async def refund(self, requests: Sequence[RefundRequest]) -> list[RequestOutcome]: ...

    async def inquire_charges(self, requests: Sequence[ChargeRequest]) -> list[ChargeInquiry]:
        """What became of charges, asked under their keys; nothing is done by asking."""
        ...

    async def inquire_requests(self, requests: Sequence[MoneyRequest]) -> list[RequestInquiry]:
        """What became of captures, voids and refunds, asked under their keys; nothing is done by asking."""
        ...

    async def reverse(self, reversals: Sequence[Reversal]) -> list[RequestOutcome]:
        """Undo charges that may or may not have been made. Done: whatever was charged under the key is given back, and
        the key is closed."""
        ...

    async def notices(self, at: datetime, items_max: int) -> list[Notice]:
        """What the bank has to tell and we have not acknowledged yet, oldest first. Raises DatabaseError."""
        ...

    async def acknowledge(self, notices: Sequence[Notice], at: datetime) -> None:
        """What these notices said is recorded; they are not told again."""
        ...

    async def contest(self, contests: Sequence[Contest]) -> list[RequestOutcome]:
        """Give the cardholder's bank evidence. Done: it has it, and tells by itself what it decides."""
        ...

    async def begin_authentication(self, requests: Sequence[AuthenticationRequest]) -> list[ChallengeOutcome]: ...

    async def authentication_results(self, wanted: Sequence[Authentication]) -> list[AuthenticationOutcome]:
        """What came of 3DS challenges, asked server to server: a browser's word counts for nothing (RULES §3)."""
        ...
