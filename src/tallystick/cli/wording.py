"""Facts of an order's timeline in words that a person can read. Pure. RULES §4."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tallystick.kernel import money

SOURCES = {
    "merchant": "the merchant service",
    "api": "the gateway's answer",
    "webhook": "a webhook",
    "return": "the shopper's return",
    "poll": "a look at the gateway",
    "expiry": "the final check",
    "settlement": "a settlement line",
}
STATE_STYLES = {
    "PENDING": "yellow",
    "PAID": "bold green",
    "FAILED": "red",
    "EXPIRED": "bright_black",
    "CANCELED": "bright_black",
}
CLOSE_REASONS = {
    "expired": "its time ran out",
    "declined_out": "too many cards were declined",
    "canceled": "it was canceled",
}


def in_words(fact: Mapping[str, Any]) -> str:
    """A fact as a sentence; one that is not known here by its name."""
    match fact.get("fact"):
        case "attempted":
            return "Payment was begun"
        case "session_opened":
            return "The gateway opened a checkout session"
        case "session_refused":
            return f"The gateway refused to open a session: {fact.get('code')}"
        case "charge_seen":
            return _charge(fact)
        case "authorised":
            return f"{_amount(fact, 'authorised_minor')} authorised"
        case "succeeded":
            known = fact.get("captured_minor") is not None
            return f"{_amount(fact, 'captured_minor' if known else 'authorised_minor')} paid"
        case "closed":
            return f"The gateway closed the attempt: {_reason(fact)}"
        case "close_requested":
            return f"We decided to close the attempt: {_reason(fact)}"
        case "refund_seen":
            return f"Refund of {_amount(fact, 'amount_minor')}: {str(fact.get('status')).replace('_', ' ')}"
        case "returned":
            return "We gave the money of this attempt back"
        case "surplus_seen":
            return f"A second charge of {_amount(fact, 'captured_minor')} was captured for the same payment"
        case "charge_returned":
            return f"The second charge has gone back{'' if fact.get('refund') else ', by the gateway itself'}"
        case "released":
            return "The goods were let go"
        case "kept":
            return "This payment is the order's"
        case "fulfilment_decided":
            return f"Shipping: {fact.get('decision')}"
        case "dispute_seen":
            return f"Dispute {fact.get('outcome') or str(fact.get('status')).replace('_', ' ')}"
        case "held":
            return f"The goods are held: {str(fact.get('reason')).replace('_', ' ')}"
        case "hold_lifted":
            return f"The goods may leave: {str(fact.get('reason')).replace('_', ' ')} was settled"
        case other:
            return str(other).replace("_", " ")


def source_in_words(source: str) -> str:
    """Who told a fact."""
    return SOURCES.get(source, source)


def clock_of(at: str) -> str:
    """The time of day of an ISO instant, in the reader's own time zone."""
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")


def amount(amount_minor: int, currency: str) -> str:
    """An amount with its currency, as the command line and the demo show it."""
    return money.display(amount_minor, currency, money.exponent(currency), "en_IE")


def _charge(fact: Mapping[str, Any]) -> str:
    match fact.get("status"):
        case "failed":
            return f"A card was declined: {str(fact.get('code') or 'no reason given').replace('_', ' ')}"
        case "succeeded":
            return "A charge succeeded"
        case _:
            return "A charge is under way"


def _reason(fact: Mapping[str, Any]) -> str:
    return CLOSE_REASONS.get(str(fact.get("reason")), str(fact.get("reason")))


def _amount(fact: Mapping[str, Any], field: str) -> str:
    return amount(int(fact.get(field, 0)), str(fact.get("currency", "EUR")))
