"""Whether late money is kept. Pure. RULES §4, fulfilment."""

from typing import Literal

from tallystick.merchant.orders.facts import Decision
from tallystick.merchant.orders.state import Standing

Policy = Literal["accept", "accept_if_available", "refund"]


def decision_of(policy: Policy, how: Standing, *, can_ask: bool) -> Decision | Literal["ask"]:
    """What `policy` says of a held order: allowed, refused, or that the stock hook must be asked.

    An order that is not late was never let go: only its surplus goes back. Where there is no stock to ask, nobody can
    say that the goods are still there.
    """
    if not how.late or policy == "accept":
        return "allowed"
    if policy == "accept_if_available" and can_ask:
        return "ask"
    return "refused"
