"""The test cards of the simulated acquirer: Stripe's public numbers and tokens, so that people know them, and some of
our own. RULES §9.

A card is known by its alias from the moment it is accepted; the number stands here and nowhere else.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from tallystick.gateway.acquirers.port import Declined

Script = Literal[
    "approves_late", "timeout_approved", "timeout_declined", "approves_after_cancel", "refund_bounces", "disputed"
]
"""What cards do that need the bank's memory: the charge is not answered in time and is approved after 30 s; not
answered, but approved at once; not answered, but declined; not answered and not found, approved 30 s after it was
reversed; the refund succeeds and bounces 30 s later; what is captured is disputed at once."""


class SimulatedCard(Struct, frozen=True, kw_only=True):
    """What one test number does. `tokens` are the names under which SDK users know it."""

    alias: str
    number: str
    tokens: tuple[str, ...]
    decline: Declined | None = None
    authentication: bool = False
    script: Script | None = None
    approves_more: int = 0  # than was asked, in minor units


_GENERIC = Declined("card_declined", "generic_decline", "Your card was declined.")
_INSUFFICIENT_FUNDS = Declined("card_declined", "insufficient_funds", "Your card has insufficient funds.")
_LOST = Declined("card_declined", "lost_card", "Your card was declined.")
_STOLEN = Declined("card_declined", "stolen_card", "Your card was declined.")
_EXPIRED = Declined("expired_card", "expired_card", "Your card has expired.")
_INCORRECT_CVC = Declined("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")
_PROCESSING_ERROR = Declined(
    "processing_error", "processing_error", "An error occurred while processing your card. Try again in a little bit."
)
NOT_AUTHENTICATED = Declined(
    "card_declined", "authentication_required", "Your card was declined. This transaction requires authentication."
)


def _named(*names: str) -> tuple[str, ...]:
    """Every test card has a payment method and, from older times, a token of the same name."""
    return tuple(f"{prefix}_{name}" for name in names for prefix in ("pm_card", "tok"))


def _declining(alias: str, number: str, decline: Declined) -> SimulatedCard:
    return SimulatedCard(alias=alias, number=number, tokens=_named(alias, f"visa_{alias}"), decline=decline)


def _scripted(alias: str, number: str, script: Script, decline: Declined | None = None) -> SimulatedCard:
    return SimulatedCard(alias=alias, number=number, tokens=_named(alias), script=script, decline=decline)


SIMULATED_CARDS: tuple[SimulatedCard, ...] = (
    SimulatedCard(alias="visa", number="4242424242424242", tokens=_named("visa")),
    SimulatedCard(alias="mastercard", number="5555555555554444", tokens=_named("mastercard")),
    SimulatedCard(alias="amex", number="378282246310005", tokens=_named("amex")),
    SimulatedCard(alias="discover", number="6011111111111117", tokens=_named("discover")),
    SimulatedCard(alias="jcb", number="3566002020360505", tokens=_named("jcb")),
    _declining("chargeDeclined", "4000000000000002", _GENERIC),
    _declining("chargeDeclinedInsufficientFunds", "4000000000009995", _INSUFFICIENT_FUNDS),
    _declining("chargeDeclinedLostCard", "4000000000009987", _LOST),
    _declining("chargeDeclinedStolenCard", "4000000000009979", _STOLEN),
    _declining("chargeDeclinedExpiredCard", "4000000000000069", _EXPIRED),
    _declining("chargeDeclinedIncorrectCvc", "4000000000000127", _INCORRECT_CVC),
    _declining("chargeDeclinedProcessingError", "4000000000000119", _PROCESSING_ERROR),
    SimulatedCard(
        alias="authenticationRequiredOnSetup",
        number="4000002500003155",
        tokens=_named("authenticationRequiredOnSetup", "threeDSecure2Required"),
        authentication=True,
    ),
    SimulatedCard(
        alias="authenticationRequired",
        number="4000002760003184",
        tokens=_named("authenticationRequired", "threeDSecureRequired"),
        authentication=True,
    ),
    SimulatedCard(
        alias="threeDSecureRequiredChargeDeclined",
        number="4000008400001629",
        tokens=_named("threeDSecureRequiredChargeDeclined"),
        authentication=True,
        decline=_GENERIC,
    ),
    SimulatedCard(alias="createDispute", number="4000000000000259", tokens=_named("createDispute"), script="disputed"),
    SimulatedCard(alias="refundFail", number="4000000000005126", tokens=_named("refundFail"), script="refund_bounces"),
    # Ours, in a range that Stripe leaves free: what a bank does when the network is bad (docs/payment-page.md).
    _scripted("approvedLate", "4000000000007007", "approves_late"),
    _scripted("timeoutApproved", "4000000000007015", "timeout_approved"),
    _scripted("timeoutDeclined", "4000000000007023", "timeout_declined", _GENERIC),
    _scripted("approvedAfterCancel", "4000000000007031", "approves_after_cancel"),
    SimulatedCard(
        alias="approvedOtherAmount",
        number="4000000000007049",
        tokens=_named("approvedOtherAmount"),
        approves_more=100,
    ),
    # Approved like any other, and wrong in the settlement report (docs/settlement.md).
    SimulatedCard(alias="settlementMissing", number="4000000000007056", tokens=_named("settlementMissing")),
    SimulatedCard(alias="settlementOtherAmount", number="4000000000007064", tokens=_named("settlementOtherAmount")),
    SimulatedCard(alias="settlementTwice", number="4000000000007072", tokens=_named("settlementTwice")),
)

# What numbers of a private range do, by the digit that follows it. They have no number here, so that tests can use such
# as stand nowhere else, and look whether they do (docs/cards.md).
_PRIVATE_APPROVED = SimulatedCard(alias="privateApproved", number="", tokens=())
PRIVATE_CARDS: Mapping[str, SimulatedCard] = MappingProxyType(
    dict.fromkeys("01234", _PRIVATE_APPROVED)
    | {
        "5": SimulatedCard(alias="privateDeclined", number="", tokens=(), decline=_GENERIC),
        "6": SimulatedCard(alias="privateInsufficientFunds", number="", tokens=(), decline=_INSUFFICIENT_FUNDS),
        "7": SimulatedCard(alias="privateAuthenticated", number="", tokens=(), authentication=True),
        "8": SimulatedCard(
            alias="privateAuthenticatedDeclined", number="", tokens=(), authentication=True, decline=_GENERIC
        ),
        "9": SimulatedCard(alias="privateTimeoutApproved", number="", tokens=(), script="timeout_approved"),
    }
)
PRIVATE_DIGITS = 16

BY_NUMBER: Mapping[str, SimulatedCard] = MappingProxyType({card.number: card for card in SIMULATED_CARDS})
BY_ALIAS: Mapping[str, SimulatedCard] = MappingProxyType(
    {card.alias: card for card in (*SIMULATED_CARDS, *PRIVATE_CARDS.values())}
)
BY_TOKEN: Mapping[str, SimulatedCard] = MappingProxyType(
    {token: card for card in SIMULATED_CARDS for token in card.tokens}
)


def card_of_number(digits: str, private_range: str) -> SimulatedCard | None:
    """What the number does; `private_range` are the first digits of numbers of 16 that are taken beside the public
    ones, empty for none."""
    known = BY_NUMBER.get(digits)
    if known is None and private_range and digits.startswith(private_range) and len(digits) == PRIVATE_DIGITS:
        return PRIVATE_CARDS[digits[len(private_range)]]
    return known
