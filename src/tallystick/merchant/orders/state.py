"""What follows from an order's facts: its state, its money, whether the shop may ship. Pure. RULES §4."""

from typing import Literal

from msgspec import Struct

from tallystick.merchant.orders.facts import (
    AnyFact,
    AttemptFacts,
    CloseReason,
    CloseRequested,
    Dispute,
    Facts,
    FulfilmentDecided,
    HoldReason,
    Kept,
    Released,
    hold_key,
)

OrderState = Literal["PENDING", "PAID", "FAILED", "EXPIRED", "CANCELED"]
Fulfilment = Literal["none", "held", "allowed", "refused"]
Attention = Literal["amount_mismatch"] | HoldReason

STATE_OF_CLOSED: dict[CloseReason, OrderState] = {
    "expired": "EXPIRED",
    "declined_out": "FAILED",
    "canceled": "CANCELED",
}


class Owed(Struct, frozen=True):
    """What the order asks for: minor units and an upper-case currency."""

    amount_minor: int
    currency: str


class Standing(Struct, frozen=True):
    """How an order stands: everything that is derived from its facts and stored beside them."""

    state: OrderState
    fulfilment: Fulfilment
    attention: Attention | None
    late: bool
    overpaid: bool
    keeper: int | None
    released: int | None
    attempt_newest: int
    amount_captured_minor: int
    amount_refunded_minor: int


def state_of(facts: Facts, owed: Owed) -> OrderState:
    """The order's state.

    PAID when any attempt succeeded and was authorised for exactly what is owed; this never goes back. Otherwise the
    newest attempt decides: closed → EXPIRED, FAILED or CANCELED by its reason, anything else PENDING. An order whose
    only attempt has number 0 was closed before it was ever attempted.
    """
    if not facts.attempts:
        return "PENDING"
    for attempt in facts.attempts.values():
        if pays(attempt, owed):
            return "PAID"
    newest = facts.attempts[max(facts.attempts)]
    return STATE_OF_CLOSED[close_reason(newest)] if newest.state == "closed" else "PENDING"


def close_reason(attempt: AttemptFacts) -> CloseReason:
    """Why the attempt was closed: our own stored reason, or else the gateway's, which may report a cancelled checkout
    as expired.
    """
    reason = attempt.close_asked or attempt.close_told
    assert reason is not None, "an attempt is closed for a reason"
    return reason


def standing(facts: Facts, owed: Owed) -> Standing:
    """Everything that follows from `facts`.

    Late means: the payment that the order keeps belongs to an attempt whose end had been stored before (the goods
    were let go). Overpaid means: two attempts succeeded, or two charges of one. PAID waits as `held` until somebody
    decided (see `conclude`), and is `held` again while something speaks against shipping (`held_for`).
    """
    # One walk over the attempts: this runs for every webhook.
    agreed = (owed.currency, owed.amount_minor)
    paying = []
    succeeded = captured_minor = refunded_minor = 0
    differs = doubled = False
    for number, attempt in facts.attempts.items():
        succeeded += attempt.state == "succeeded"
        captured_minor += captured_of(attempt, owed.currency)
        doubled = doubled or bool(attempt.surplus)
        refunded_minor += _refunded(attempt, owed.currency) if attempt.refunds or attempt.charges_returned else 0
        differs = differs or attempt.authorised not in ((), (agreed,))
        if pays(attempt, owed):
            paying.append(number)
    state = "PAID" if paying else state_of(facts, owed)
    keeper = (facts.keeper or min(paying)) if paying else None
    holding = held_for(facts)
    return Standing(
        state=state,
        fulfilment=_fulfilment(facts, holding) if state == "PAID" else "none",
        attention="amount_mismatch" if differs else holding,
        late=keeper is not None and keeper <= facts.released,
        overpaid=succeeded > 1 or doubled,
        keeper=keeper,
        released=facts.released or None,
        attempt_newest=max(facts.attempts) if facts.attempts else 0,
        amount_captured_minor=captured_minor,
        amount_refunded_minor=refunded_minor,
    )


def captured_of(attempt: AttemptFacts, currency: str) -> int:
    """All that was captured of an attempt: by its payment, and by charges beside the payment's own."""
    captured_minor = attempt.captured.get(currency, 0)
    if not attempt.surplus:
        return captured_minor
    return captured_minor + sum(each.get(currency, 0) for each in attempt.surplus.values())


def held_for(facts: Facts) -> HoldReason | None:
    """Why the goods must not leave now, whatever was decided before (RULES §11, hold): what reconciliation found, or a
    dispute that is open or lost. None once two people lifted it, or the dispute was won.
    """
    reasons = {_reason_of(key) for key, state in facts.holds.items() if state == "held"}
    for attempt in facts.attempts.values():
        for id, dispute in attempt.disputes.items() if attempt.disputes else ():
            if _takes_money(dispute) and facts.holds.get(hold_key("disputed", id)) != "lifted":
                reasons.add("disputed")
    return min(reasons) if reasons else None


def conclude(facts: Facts, owed: Owed, declines_max: int) -> list[tuple[int, AnyFact]]:
    """What we ourselves now do about the order, as (attempt, fact) to be merged and stored in the same commit.

    `Kept` when it is PAID for the first time (two candidates: the lower number), `Released` when its end is stored,
    `CloseRequested(declined_out)` when an attempt has had its failed charges, `CloseRequested(canceled)` when the order
    is paid by another one, and the decision to ship where nothing speaks against it; what is late, overpaid or needs
    attention stays held until a policy decides.
    """
    how = standing(facts, owed)
    concluded: list[tuple[int, AnyFact]] = []
    if how.state == "PAID":
        assert how.keeper is not None
        if not facts.keeper:
            concluded.append((how.keeper, Kept()))
        if facts.decision is None and not (how.late or how.overpaid or how.attention):
            concluded.append((how.keeper, FulfilmentDecided("allowed")))
        newest = facts.attempts[how.attempt_newest]
        if how.attempt_newest != how.keeper and newest.state == "open" and newest.close_asked is None:
            concluded.append((how.attempt_newest, CloseRequested("canceled")))
    elif how.state != "PENDING":
        if facts.released < how.attempt_newest:
            concluded.append((how.attempt_newest, Released()))
    elif how.attempt_newest and declined_out(facts.attempts[how.attempt_newest], declines_max):
        concluded.append((how.attempt_newest, CloseRequested("declined_out")))
    return concluded


def declined_out(attempt: AttemptFacts, declines_max: int) -> bool:
    """Whether an open attempt has had all the failed charges that it may have and nobody has asked to close it yet."""
    if attempt.state != "open" or attempt.close_asked is not None:
        return False
    return sum(charge.status == "failed" for charge in attempt.charges.values()) >= declines_max


def pays(attempt: AttemptFacts, owed: Owed) -> bool:
    """Whether the attempt's money is ours, and for what is owed."""
    return attempt.state == "succeeded" and (owed.currency, owed.amount_minor) in attempt.authorised


def _fulfilment(facts: Facts, holding: HoldReason | None) -> Fulfilment:
    if facts.decision == "refused":
        return "refused"
    return "held" if holding is not None or facts.decision is None else "allowed"


def _takes_money(dispute: Dispute) -> bool:
    return dispute.status != "closed" or dispute.outcome == "lost"


def _reason_of(key: str) -> HoldReason:
    reason: HoldReason = key.partition(":")[0]  # type: ignore[assignment]  # keys are made by hold_key
    return reason


def _refunded(attempt: AttemptFacts, currency: str) -> int:
    """What went back: by refunds, and of charges beside the payment's own by the gateway itself."""
    by_the_gateway = [charge for charge, refund in attempt.charges_returned.items() if not refund]
    return sum(
        refund.amount_minor
        for refund in attempt.refunds.values()
        if refund.currency == currency and refund.status not in ("failed", "canceled")
    ) + sum(attempt.surplus[charge].get(currency, 0) for charge in by_the_gateway if charge in attempt.surplus)
