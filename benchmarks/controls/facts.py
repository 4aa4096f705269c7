"""What both webhook controls do with an event: merge it into what is known of the order and derive the state.

Much less than the merchant's own `merge` does; enough for the work to be of the same kind.
"""

from typing import Any

RANK = {"open": 0, "authorised": 1, "closed": 2, "succeeded": 3}


def learn(facts: dict[str, Any], event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The merged facts and the one new fact of a `checkout.session.…` event."""
    session = event["data"]["object"]
    attempt = session["metadata"].get("attempt", "1")
    state = (
        "succeeded" if session["payment_status"] == "paid" else "closed" if session["status"] == "expired" else "open"
    )
    fact = {
        "session": session["id"],
        "intent": session["payment_intent"],
        "state": state,
        "amount": session["amount_total"],
        "currency": session["currency"],
    }
    known = facts.get(attempt)
    if known is not None and RANK[known["state"]] >= RANK[state]:
        return facts, fact
    return {**facts, attempt: fact}, fact


def state_of(facts: dict[str, Any], amount: int, currency: str) -> str:
    """PENDING, PAID or EXPIRED, and the order's amount and currency must have been paid."""
    for fact in facts.values():
        if fact["state"] == "succeeded" and fact["amount"] == amount and fact["currency"] == currency:
            return "PAID"
    newest = facts.get(max(facts, default=""))
    return "EXPIRED" if newest is not None and newest["state"] == "closed" else "PENDING"
