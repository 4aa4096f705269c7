"""What the pages say to a shopper, in plain words. That a card is reported lost or stolen is not ours to tell."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

MISTAKES_HEADING = "Please check your card details"

NUMBER = "Enter a valid card number."
EXPIRY = "Enter an expiry date that has not passed."
CODE = "Enter the card’s security code."
ADVICE: Mapping[str, str] = {"cc-number": NUMBER, "cc-exp": EXPIRY, "cc-csc": CODE, "heading": MISTAKES_HEADING}
"""By input: what is said when its content cannot be right. The page's script says the same."""


BRANDS: Mapping[str, str] = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "discover": "Discover",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
}
"""Card brands as people write them."""


class Problem(Struct, frozen=True):
    """What went wrong, above the form."""

    heading: str
    text: str = ""


MISTAKES = Problem(MISTAKES_HEADING)
TRY_LATER = Problem("We cannot take this card just now", "Nothing was charged. Please try again in a moment.")

TOO_MANY = Problem(
    "There were too many tries", "Nothing was charged. Please wait a while, or ask the shop how else you can pay."
)

_NOTHING_CHARGED = "Nothing was charged."
_GENERIC = Problem(
    "Your card was declined",
    f"Your bank did not say why. {_NOTHING_CHARGED} Please try another card, or ask your bank.",
)
_NOT_CONFIRMED = Problem(
    "Your bank could not confirm this payment", f"{_NOTHING_CHARGED} Please try again, or pay with another card."
)
_DECLINES: Mapping[str, Problem] = {
    "insufficient_funds": Problem(
        "Your card was declined",
        f"There is not enough money on this card at the moment. {_NOTHING_CHARGED} Please try another card.",
    ),
    "expired_card": Problem(
        "Your card has expired", f"{_NOTHING_CHARGED} Please check the expiry date, or try another card."
    ),
    "incorrect_cvc": Problem(
        "The security code is not right", f"{_NOTHING_CHARGED} Please enter your card again with care."
    ),
    "processing_error": Problem(
        "Something went wrong at the bank", f"{_NOTHING_CHARGED} Please try again in a moment, or use another card."
    ),
    "authentication_required": _NOT_CONFIRMED,
    "payment_intent_authentication_failure": _NOT_CONFIRMED,
}


def decline_problem(error: Mapping[str, Any]) -> Problem:
    """What to say about a payment intent's `last_payment_error`. A decline code that is not listed stays unsaid."""
    for key in ("decline_code", "code"):
        known = _DECLINES.get(str(error.get(key)))
        if known is not None:
            return known
    return _GENERIC
