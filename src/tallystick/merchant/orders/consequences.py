"""What follows from a change of an order, to be done outside or seen by a person. Pure. RULES §4, §8.

Each follows once: from the change after which it holds and before which it did not.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from tallystick.merchant.orders.facts import AttemptFacts, Facts, hold_key
from tallystick.merchant.orders.learning import Change
from tallystick.merchant.orders.state import Owed, pays, standing

ErrandKind = Literal["decide", "return", "return_charges", "release"]
CaseKind = Literal["amount_mismatch", "refund_returned", "disputed"]


class Errand(NamedTuple):
    """Something to be done outside about an attempt. `about` is what makes it due once more when it was done before: a
    further charge.
    """

    kind: ErrandKind
    attempt: int
    about: str = ""


class Concern(Struct, frozen=True):
    """Something about an attempt that a person must see. `about` tells apart what there may be several of."""

    kind: CaseKind
    attempt: int
    details: Mapping[str, Any]
    about: str = ""


class Consequences(Struct, frozen=True):
    """What follows from one change."""

    errands: tuple[Errand, ...]
    concerns: tuple[Concern, ...]


NOTHING = Consequences((), ())


def consequences_of(change: Change) -> Consequences:
    """What follows from `change`; `NOTHING` for nearly all of them, which is found out by a look at how it stands."""
    how = change.standing
    quiet = how.fulfilment in ("none", "allowed") and not how.overpaid and how.attention is None
    ended = change.facts.released != change.facts_before.released
    if quiet and not ended and not any(each.refunds or each.disputes for each in change.facts.attempts.values()):
        return NOTHING
    before = set(errands_of(change.facts_before, change.owed))
    errands = tuple(each for each in errands_of(change.facts, change.owed) if each not in before)
    known = {(each.kind, each.attempt, each.about) for each in concerns_of(change.facts_before, change.owed)}
    concerns = tuple(
        each for each in concerns_of(change.facts, change.owed) if (each.kind, each.attempt, each.about) not in known
    )
    return Consequences(errands, concerns)


def errands_of(facts: Facts, owed: Owed) -> Iterator[Errand]:
    """Everything that these facts ask us to do outside, whether it was done or not.

    A held order is decided by policy, unless amounts differ: that is a person's decision. Returned is what is not the
    keeper's, and the keeper's own once policy has refused it; money of another amount than the order's waits for a
    person too. A charge beside its payment's own is nobody's, whatever the order is.
    """
    how = standing(facts, owed)
    if facts.released:
        yield Errand("release", facts.released)
    for number, attempt in sorted(facts.attempts.items()):
        for charge in sorted(attempt.surplus):
            yield Errand("return_charges", number, charge)
    if how.state != "PAID":
        return
    assert how.keeper is not None
    if facts.decision is None and how.attention is None and (how.late or how.overpaid):
        yield Errand("decide", how.keeper)
    for number, attempt in sorted(facts.attempts.items()):
        if pays(attempt, owed) and (number != how.keeper or facts.decision == "refused"):
            yield Errand("return", number)


def concerns_of(facts: Facts, owed: Owed) -> Iterator[Concern]:
    """Everything in these facts that a person must see.

    A refund that failed is one: the money is with the gateway, and the shopper waits for it. What was canceled somebody
    knows of, but for a return of ours. A dispute is one: evidence is due, and the goods are held.
    """
    for number, attempt in sorted(facts.attempts.items()):
        differing = [given for given in attempt.authorised if given != (owed.currency, owed.amount_minor)]
        if differing:
            told = [{"currency": currency, "amount": amount} for currency, amount in differing]
            yield Concern("amount_mismatch", number, {"authorised": told, "intent": attempt.intent})
        for id, refund in sorted(attempt.refunds.items()):
            if refund.status == "failed" or (refund.status == "canceled" and _is_return(attempt, id)):
                yield Concern("refund_returned", number, {"refund": id, "amount": refund.amount_minor}, about=id)
        for id in sorted(attempt.disputes):
            details = {"dispute": id, "payment": attempt.intent, "hold": hold_key("disputed", id)}
            yield Concern("disputed", number, details, about=id)


def _is_return(attempt: AttemptFacts, refund: str) -> bool:
    """Whether a refund is a return of ours, of the attempt or of a charge beside its payment's own."""
    return refund == attempt.returned or refund in attempt.charges_returned.values()
