"""How facts merge: a join, commutative, associative and idempotent. Pure. RULES §4.

Every field joins by maximum or by union, so that order, loss and repetition of facts never change what is known in
the end.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from tallystick.merchant.orders.facts import (
    AnyFact,
    Attempted,
    AttemptFacts,
    AttemptState,
    Authorised,
    Charge,
    ChargeReturned,
    ChargeSeen,
    ChargeStatus,
    Closed,
    CloseReason,
    CloseRequested,
    Decision,
    Dispute,
    DisputeOutcome,
    DisputeSeen,
    DisputeStatus,
    Facts,
    FulfilmentDecided,
    Held,
    HoldLifted,
    HoldState,
    Kept,
    Refund,
    RefundSeen,
    RefundStatus,
    Released,
    Returned,
    SessionOpened,
    SessionRefused,
    Succeeded,
    SurplusSeen,
    hold_key,
)

# A higher rank is later knowledge; the maximum wins. `closed < succeeded`: money that came after the close is money
# all the same.
ATTEMPT_RANK: dict[AttemptState, int] = {"open": 0, "authorised": 1, "closed": 2, "succeeded": 3}
CLOSE_RANK: dict[CloseReason | None, int] = {None: 0, "expired": 1, "declined_out": 2, "canceled": 3}
CHARGE_RANK: dict[ChargeStatus, int] = {"pending": 0, "failed": 1, "succeeded": 2}
# Within one rank the alphabet decides, so that the join stays commutative; the two mean the same for money.
REFUND_RANK: dict[RefundStatus, tuple[int, str]] = {
    "pending": (0, "pending"),
    "requires_action": (0, "requires_action"),
    "succeeded": (1, "succeeded"),
    "canceled": (2, "canceled"),
    "failed": (2, "failed"),
}
DISPUTE_RANK: dict[DisputeStatus, int] = {"needs_response": 0, "under_review": 1, "closed": 2}
OUTCOME_RANK: dict[DisputeOutcome | None, int] = {None: 0, "won": 1, "lost": 2}
DECISION_RANK: dict[Decision | None, int] = {None: 0, "allowed": 1, "refused": 2}
HOLD_RANK: dict[HoldState, int] = {"held": 0, "lifted": 1}

_NEW_ATTEMPT = AttemptFacts()


def merge(facts: Facts, attempt: int, fact: AnyFact) -> Facts:
    """What is known once `fact` about attempt number `attempt` is known too. Returns `facts` itself when it says
    nothing new.
    """
    merged = (
        _ORDER_JOINS[type(fact)](facts, attempt, fact)
        if type(fact) in _ORDER_JOINS
        else _merge_attempt(facts, attempt, fact)
    )
    return facts if merged == facts else merged


def merge_all(facts: Facts, learnt: "list[tuple[int, AnyFact]]") -> Facts:
    """Merge several (attempt, fact), in any order."""
    for attempt, fact in learnt:
        facts = merge(facts, attempt, fact)
    return facts


def _merge_attempt(facts: Facts, number: int, fact: AnyFact) -> Facts:
    known = facts.attempts.get(number, _NEW_ATTEMPT)
    joined = _ATTEMPT_JOINS[type(fact)](known, fact)
    return msgspec.structs.replace(facts, attempts={**facts.attempts, number: joined})


def _session_opened(known: AttemptFacts, fact: SessionOpened) -> AttemptFacts:
    return _with(known, session=_highest(known.session, fact.session), intent=_highest(known.intent, fact.intent))


def _session_refused(known: AttemptFacts, fact: SessionRefused) -> AttemptFacts:
    return _closed(known, Closed("declined_out"))


def _charge_seen(known: AttemptFacts, fact: ChargeSeen) -> AttemptFacts:
    return _with(
        known,
        charges=_charge(known, fact.charge, Charge(fact.status, fact.code)),
        intent=_highest(known.intent, fact.intent),
    )


def _authorised(known: AttemptFacts, fact: Authorised) -> AttemptFacts:
    return _with(
        known,
        state=_later(known.state, "authorised"),
        authorised=_united(known.authorised, (fact.currency, fact.authorised_minor)),
        intent=_highest(known.intent, fact.intent),
        charges=_charge(known, fact.charge, Charge("succeeded")),
    )


def _succeeded(known: AttemptFacts, fact: Succeeded) -> AttemptFacts:
    captured = known.captured
    if fact.captured_minor is not None:
        captured = {**captured, fact.currency: max(fact.captured_minor, captured.get(fact.currency, 0))}
    return _with(
        known,
        state="succeeded",
        authorised=_united(known.authorised, (fact.currency, fact.authorised_minor)),
        captured=captured,
        intent=_highest(known.intent, fact.intent),
        charges=_charge(known, fact.charge, Charge("succeeded")),
    )


def _surplus_seen(known: AttemptFacts, fact: SurplusSeen) -> AttemptFacts:
    captured = known.surplus.get(fact.charge, {})
    most = max(captured.get(fact.currency, 0), fact.captured_minor)
    return _with(known, surplus={**known.surplus, fact.charge: {**captured, fact.currency: most}})


def _charge_returned(known: AttemptFacts, fact: ChargeReturned) -> AttemptFacts:
    refund = max(known.charges_returned.get(fact.charge, fact.refund), fact.refund)
    return _with(known, charges_returned={**known.charges_returned, fact.charge: refund})


def _closed(known: AttemptFacts, fact: Closed) -> AttemptFacts:
    return _with(
        known,
        state=_later(known.state, "closed"),
        close_told=max(known.close_told, fact.reason, key=CLOSE_RANK.__getitem__),
        intent=_highest(known.intent, fact.intent),
    )


def _close_requested(known: AttemptFacts, fact: CloseRequested) -> AttemptFacts:
    return _with(known, close_asked=max(known.close_asked, fact.reason, key=CLOSE_RANK.__getitem__))


def _refund_seen(known: AttemptFacts, fact: RefundSeen) -> AttemptFacts:
    new = Refund(fact.status, fact.amount_minor, fact.currency)
    best = max(known.refunds.get(fact.refund, new), new, key=_refund_order)
    return _with(known, refunds={**known.refunds, fact.refund: best})


def _refund_order(refund: Refund) -> tuple[Any, ...]:
    return (REFUND_RANK[refund.status], refund.amount_minor, refund.currency)


def _dispute_seen(known: AttemptFacts, fact: DisputeSeen) -> AttemptFacts:
    old = known.disputes.get(fact.dispute, Dispute(fact.status, fact.currency))
    joined = Dispute(
        status=max(old.status, fact.status, key=DISPUTE_RANK.__getitem__),
        currency=max(old.currency, fact.currency),
        transactions={
            id: max(old.transactions.get(id, amount), amount)
            for id, amount in {**old.transactions, **fact.transactions}.items()
        },
        outcome=max(old.outcome, fact.outcome, key=OUTCOME_RANK.__getitem__),
    )
    return _with(known, disputes={**known.disputes, fact.dispute: joined})


def _returned(known: AttemptFacts, fact: Returned) -> AttemptFacts:
    return _with(known, returned=_highest(known.returned, fact.refund))


def _released(facts: Facts, attempt: int, fact: Released) -> Facts:
    return msgspec.structs.replace(facts, released=max(facts.released, attempt))


def _kept(facts: Facts, attempt: int, fact: Kept) -> Facts:
    # Under the order's lock there is one keeper only; the lower number makes the join commutative all the same.
    return msgspec.structs.replace(facts, keeper=min(facts.keeper or attempt, attempt))


def _fulfilment_decided(facts: Facts, attempt: int, fact: FulfilmentDecided) -> Facts:
    return msgspec.structs.replace(facts, decision=max(facts.decision, fact.decision, key=DECISION_RANK.__getitem__))


def _held(facts: Facts, attempt: int, fact: Held) -> Facts:
    return _holding(facts, hold_key(fact.reason, fact.subject), "held")


def _hold_lifted(facts: Facts, attempt: int, fact: HoldLifted) -> Facts:
    return _holding(facts, hold_key(fact.reason, fact.subject), "lifted")


def _holding(facts: Facts, key: str, told: HoldState) -> Facts:
    state = max(facts.holds.get(key, told), told, key=HOLD_RANK.__getitem__)
    return msgspec.structs.replace(facts, holds={**facts.holds, key: state})


_ATTEMPT_JOINS: dict[type, Callable[[AttemptFacts, Any], AttemptFacts]] = {
    Attempted: lambda known, fact: known,
    SessionOpened: _session_opened,
    SessionRefused: _session_refused,
    ChargeSeen: _charge_seen,
    Authorised: _authorised,
    Succeeded: _succeeded,
    SurplusSeen: _surplus_seen,
    ChargeReturned: _charge_returned,
    Closed: _closed,
    CloseRequested: _close_requested,
    RefundSeen: _refund_seen,
    DisputeSeen: _dispute_seen,
    Returned: _returned,
}

_ORDER_JOINS: dict[type, Callable[[Facts, int, Any], Facts]] = {
    Released: _released,
    Kept: _kept,
    FulfilmentDecided: _fulfilment_decided,
    Held: _held,
    HoldLifted: _hold_lifted,
}


# --- the small joins -------------------------------------------------------------------------------------------------


def _with(known: AttemptFacts, **changes: Any) -> AttemptFacts:
    return msgspec.structs.replace(known, **changes)


def _later(known: AttemptState, told: AttemptState) -> AttemptState:
    return max(known, told, key=ATTEMPT_RANK.__getitem__)


def _highest(known: str | None, told: str | None) -> str | None:
    """An id is told once and stays; should two be told, the greater one, so that the join stays commutative."""
    return max(known or "", told or "") or None


def _united(known: tuple[tuple[str, int], ...], told: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    return known if told in known else tuple(sorted((*known, told)))


def _charge(known: AttemptFacts, id: str | None, told: Charge) -> dict[str, Charge]:
    if id is None:
        return known.charges
    return {**known.charges, id: max(known.charges.get(id, told), told, key=_charge_order)}


def _charge_order(charge: Charge) -> tuple[int, str]:
    return (CHARGE_RANK[charge.status], charge.code or "")
