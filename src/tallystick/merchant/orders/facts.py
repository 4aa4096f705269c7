"""Facts about an order's attempts: what can be learnt, and what is kept of it. Pure. RULES §4.

The merchant never handles a transition. It learns facts, from whatever source, in whatever order, some twice and some
late, and `merge.py` joins them: commutative, associative and idempotent, because every field joins by maximum or by
union. What the order's state is follows from the merged facts (`state.py`), never from the order of arrival.

What we did ourselves are facts too (`CloseRequested`, `Released`, `Kept`, `Returned`, `ChargeReturned`,
`FulfilmentDecided`, `Held`, `HoldLifted`), stored under the order's lock.
"""

from typing import Literal

import msgspec
from msgspec import Struct

AttemptState = Literal["open", "authorised", "closed", "succeeded"]
CloseReason = Literal["expired", "declined_out", "canceled"]
ChargeStatus = Literal["pending", "failed", "succeeded"]
RefundStatus = Literal["pending", "requires_action", "succeeded", "failed", "canceled"]
DisputeStatus = Literal["needs_response", "under_review", "closed"]
DisputeOutcome = Literal["won", "lost"]
Decision = Literal["allowed", "refused"]
HoldReason = Literal["paid_but_missing", "authorised_there", "voided_there", "disputed"]
HoldState = Literal["held", "lifted"]


# --- what can be learnt ----------------------------------------------------------------------------------------------


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Fact(Struct, frozen=True, tag_field="fact", tag=_snake, omit_defaults=True):
    """Something learnt about one attempt of one order. Amounts are minor units, currencies upper case."""


class Attempted(Fact, frozen=True):
    """We began this attempt: it exists, whatever the gateway knows of it."""


class SessionOpened(Fact, frozen=True):
    """The gateway has a checkout session for the attempt."""

    session: str
    intent: str | None = None
    redirect_url: str | None = None
    client_secret: str | None = None


class SessionRefused(Fact, frozen=True):
    """The gateway refused to open a session, for good: nothing can be paid by this attempt. `code` is the gateway's
    word.
    """

    code: str


class ChargeSeen(Fact, frozen=True):
    """How one charge of the attempt stands. Shown, and counted when failed; never ranked."""

    charge: str
    status: ChargeStatus
    code: str | None = None
    intent: str | None = None


class Authorised(Fact, frozen=True):
    """The money is reserved for us and not captured yet."""

    authorised_minor: int
    currency: str
    intent: str | None = None
    charge: str | None = None


class Succeeded(Fact, frozen=True):
    """The money is ours. `authorised_minor` is what the shopper agreed to, `captured_minor` what was taken of it; None
    where the teller does not say: amounts join by maximum, so a guess that is too high would never be mended."""

    authorised_minor: int
    captured_minor: int | None
    currency: str
    intent: str | None = None
    charge: str | None = None


class SurplusSeen(Fact, frozen=True):
    """The gateway captured a charge beside the one that the attempt's payment calls its own (RULES §11,
    captured_twice).
    """

    charge: str
    captured_minor: int
    currency: str


class Closed(Fact, frozen=True):
    """The gateway will take no more payment for the attempt; `reason` as the gateway tells it."""

    reason: CloseReason
    intent: str | None = None


class CloseRequested(Fact, frozen=True):
    """We decided to close the attempt, for our own reason; the gateway is asked afterwards."""

    reason: CloseReason


class RefundSeen(Fact, frozen=True):
    """How one refund of the attempt stands."""

    refund: str
    status: RefundStatus
    amount_minor: int
    currency: str


class DisputeSeen(Fact, frozen=True):
    """How one dispute of the attempt stands; `transactions` maps its balance transactions to their amounts (signed)."""

    dispute: str
    status: DisputeStatus
    currency: str
    transactions: dict[str, int] = {}
    outcome: DisputeOutcome | None = None


class Released(Fact, frozen=True):
    """The order was stored EXPIRED, FAILED or CANCELED with this attempt as its newest: the goods were let go."""


class Kept(Fact, frozen=True):
    """The order was first stored PAID by this attempt: its payment is the order's, any other is surplus."""


class Returned(Fact, frozen=True):
    """We gave the attempt's money back, by this refund (RULES §4)."""

    refund: str


class ChargeReturned(Fact, frozen=True):
    """A surplus charge has gone back: by this refund of ours, or where that is empty by the gateway itself."""

    charge: str
    refund: str


class FulfilmentDecided(Fact, frozen=True):
    """Whether the shop may ship was decided, once (RULES §4, fulfilment)."""

    decision: Decision


class Held(Fact, frozen=True):
    """Reconciliation found why the goods must not leave (RULES §11, hold). `subject` is what it is about: a payment, a
    dispute.
    """

    reason: HoldReason
    subject: str


class HoldLifted(Fact, frozen=True):
    """Two people decided that this reason holds the goods no longer."""

    reason: HoldReason
    subject: str


AnyFact = (
    Attempted
    | SessionOpened
    | SessionRefused
    | ChargeSeen
    | Authorised
    | Succeeded
    | SurplusSeen
    | Closed
    | CloseRequested
    | RefundSeen
    | DisputeSeen
    | Released
    | Kept
    | Returned
    | ChargeReturned
    | FulfilmentDecided
    | Held
    | HoldLifted
)


# --- what is kept of it ----------------------------------------------------------------------------------------------

# An older version of the service must not drop what a newer one stored: unknown fields are an error, not ignored.


class Charge(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a charge stands; `code` says why it failed."""

    status: ChargeStatus
    code: str | None = None


class Refund(Struct, frozen=True, forbid_unknown_fields=True):
    """How a refund stands."""

    status: RefundStatus
    amount_minor: int
    currency: str


class Dispute(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a dispute stands; `transactions` maps its balance transactions to their signed amounts."""

    status: DisputeStatus
    currency: str
    transactions: dict[str, int] = {}
    outcome: DisputeOutcome | None = None


class AttemptFacts(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything learnt about one attempt.

    `authorised` is the set of (currency, amount) that were reported as authorised: a set and not its maximum, so that
    an amount that equals the order's stays one whatever else is reported, and PAID never goes back. `surplus` are
    charges beside the payment's own with what each captured by currency, `charges_returned` the refunds by which they
    went back.
    """

    state: AttemptState = "open"
    session: str | None = None
    intent: str | None = None
    authorised: tuple[tuple[str, int], ...] = ()
    captured: dict[str, int] = {}
    charges: dict[str, Charge] = {}
    close_asked: CloseReason | None = None
    close_told: CloseReason | None = None
    refunds: dict[str, Refund] = {}
    disputes: dict[str, Dispute] = {}
    returned: str | None = None
    surplus: dict[str, dict[str, int]] = {}
    charges_returned: dict[str, str] = {}


class Facts(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything learnt about one order. `released` and `keeper` are attempt numbers, 0 for none; `holds` are named by
    `hold_key`.
    """

    attempts: dict[int, AttemptFacts] = {}
    released: int = 0
    keeper: int = 0
    decision: Decision | None = None
    holds: dict[str, HoldState] = {}


NO_FACTS = Facts()


def hold_key(reason: HoldReason, subject: str) -> str:
    """Names a hold: there may be several of one reason, each lifted by itself."""
    return f"{reason}:{subject}"


decode_facts = msgspec.json.Decoder(Facts).decode
_encoder = msgspec.json.Encoder()


def encode(value: Facts | AnyFact) -> str:
    """The JSON text of facts or of one fact."""
    return _encoder.encode(value).decode()
