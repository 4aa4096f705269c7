"""Where a call goes on that broke off between its commits: what it noted under its key, and what that means. Pure.

Nobody repeats a charge whose card data is gone (RULES §5): what was `sent` may have happened, so it becomes `unknown`;
only what certainly never left is tried again, as a new charge.
"""

import msgspec
from msgspec import Struct

from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.payment import Charge
from tallystick.gateway.stripe_wire.call import Call


class Recovery(Struct, frozen=True, omit_defaults=True):
    """What a call noted under its key before it reached outside."""

    intent: str
    charge: str | None = None
    request: str | None = None


def recovered(call: Call) -> Recovery | None:
    """What an earlier holder of the call's key had begun."""
    if call.claim is None or call.claim.recovery is None:
        return None
    return msgspec.json.decode(call.claim.recovery, type=Recovery)


def noted(recovery: Recovery) -> str:
    """The text that is kept under the key."""
    return msgspec.json.encode(recovery).decode()


def came_to_nothing(charge: Charge) -> bool:
    """Whether a charge never left: it was given up, or its 3DS challenge was never begun."""
    return charge.state in ("abandoned", "authenticating") and charge.authentication is None


def answer_of(charge: Charge) -> inputs.Answer | None:
    """What resuming says of a charge: while it is `sent`, whoever sent it is gone, and it may have happened."""
    return inputs.OutcomeUnknown(charge_id=charge.id) if charge.state in ("created", "sent") else None
