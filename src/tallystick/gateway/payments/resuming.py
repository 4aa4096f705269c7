"""Where a call goes on that broke off between its commits: what it noted under its key, and what that means. Pure.

Nobody repeats a charge whose card data is gone (RULES §5): what was `sent` may have happened, so it is looked up at the
acquirer, and becomes `unknown` where that cannot tell; only what certainly never left is tried again, as a new charge.
"""

import msgspec
from msgspec import Struct

from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.charging import UNDECIDED
from tallystick.gateway.payments.payment import OPEN_REQUEST_STATES, AcquirerRequest, Charge
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


def answer_of(charge: Charge, learnt: inputs.Answer | None) -> inputs.Answer | None:
    """What resuming says of a charge: what was `learnt` by asking the acquirer. Without that, whoever sent it is gone,
    and it may have happened."""
    if charge.state not in UNDECIDED:
        return None
    if learnt is not None:
        return learnt
    return inputs.OutcomeUnknown(charge_id=charge.id) if charge.state in ("created", "sent") else None


def answer_of_request(request: AcquirerRequest, learnt: inputs.Answer | None) -> inputs.Answer | None:
    """The same of a capture, void or refund."""
    if request.state not in OPEN_REQUEST_STATES:
        return None
    if learnt is not None:
        return learnt
    return inputs.RequestUnknown(request_id=request.id) if request.state == "sent" else None
