"""Charges that were captured beside a payment's own are given back, each by itself (RULES §11, captured_twice).

A payment is meant to have one. Where the gateway has captured two, the return of an attempt, which asks for all that is
left of its payment, cannot tell them apart; so the surplus is asked for by charge, under `return:{order}:{attempt}:
{charge}`. The charges are looked at before each try: the one that the payment calls its own is never given back, nor is
one that the gateway has given back by itself meanwhile.
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel.outcomes import Done, Refused
from tallystick.merchant.gateways.port import KEY_LIFE_S, Answer, CapturedCharge, Connection, Gateway, Refunding
from tallystick.merchant.gateways.stripe import MISCONFIGURED
from tallystick.merchant.orders.facts import AnyFact, AttemptFacts, ChargeReturned, RefundSeen

BY_THE_GATEWAY: Final = ""  # in place of a refund: the gateway gave it back by itself
ALREADY_GIVEN_BACK: Final = "charge_already_refunded"


class Returning(Struct, frozen=True):
    """What is to be given back of: an attempt with its payment, and since when."""

    order_id: str
    attempt: int
    intent: str
    currency: str
    since: datetime


class ChargeOutcome(Struct, frozen=True):
    """What came of one charge: facts, whether that was all, and a refusal for a person."""

    facts: tuple[AnyFact, ...] = ()
    done: bool = True
    refused: Refused | None = None


def charges_owed(attempt: AttemptFacts) -> list[str]:
    """The surplus charges of an attempt that nobody has given back yet. Pure."""
    return sorted(charge for charge in attempt.surplus if charge not in attempt.charges_returned)


def key_of(returning: Returning, charge: str) -> str:
    """Under which a charge is given back, ever; our reference of the refund, too."""
    return f"return:{returning.order_id}:{returning.attempt}:{charge}"


async def give_back_charge(
    gateway: Gateway, connection: Connection, returning: Returning, charge: str, at: datetime
) -> ChargeOutcome:
    """Give one surplus charge back: what is left of it, after a look at how the payment's charges stand."""
    looked = await gateway.captured_charges(connection, returning.intent)
    if not isinstance(looked, Done):
        return ChargeOutcome(done=False)
    found = next((each for each in looked.value if each.charge == charge), None)
    if found is None or found.own:
        why = "is the payment's own" if found is not None else "is not known at the gateway"
        return ChargeOutcome(refused=Refused("surplus_differs", f"The charge {charge} {why}."))
    return await _give_back(gateway, connection, returning, found, at)


async def _give_back(
    gateway: Gateway, connection: Connection, returning: Returning, found: CapturedCharge, at: datetime
) -> ChargeOutcome:
    key = key_of(returning, found.charge)
    too_old = at >= returning.since + timedelta(seconds=KEY_LIFE_S)
    if found.refundable_minor == 0 or too_old:
        earlier = await gateway.find_refund(connection, returning.intent, key)
        if not isinstance(earlier, Done):
            return ChargeOutcome(done=False)
        if earlier.value.facts or found.refundable_minor == 0:
            return ChargeOutcome(_returned(found.charge, earlier.value.facts))
    answer: Answer = await gateway.refund(
        connection,
        gateway.plan_refund(
            Refunding(
                returning.order_id,
                returning.attempt,
                returning.intent,
                returning.currency,
                key,
                charge=found.charge,
            )
        ),
        key,
    )
    match answer:
        case Done(made):
            return ChargeOutcome(_returned(found.charge, made.facts))
        case Refused(code=code) if code == ALREADY_GIVEN_BACK and not too_old:
            return ChargeOutcome(done=False)  # the gateway is at it by itself: seen when it is done
        case Refused(code=code) if code != MISCONFIGURED:
            return ChargeOutcome(refused=answer)
    return ChargeOutcome(done=False)


def _returned(charge: str, facts: tuple[AnyFact, ...]) -> tuple[AnyFact, ...]:
    """What was learnt of the refund, and that the charge has gone back by it."""
    refunds = [fact.refund for fact in facts if isinstance(fact, RefundSeen)]
    return (*facts, ChargeReturned(charge, max(refunds, default=BY_THE_GATEWAY)))
