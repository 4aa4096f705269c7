"""What to do with an attempt whose time has come, and when to look at it again. Pure. RULES §7, §8.

nothing decided yet      before its end: look (at 2, 10 and 25 min), at its end: decide to close it
decided to close         its session is known: close it
                         not known: repeat the create (the same key gives the same session), then close it
                         not known, the key too old to be repeated or the repetition refused: look for it among the
                         gateway's sessions
authorised               never closed because time is over: looked at until its money was captured or let go
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from tallystick.merchant.gateways.port import KEY_LIFE_S
from tallystick.merchant.orders.facts import AttemptState, CloseReason

Step = Literal["wait", "look", "expire", "close", "open", "find"]

LOOKS_S: Final = (120, 600, 1500)
"""After an attempt's creation, for webhooks that never came (RULES §7)."""
AUTHORISED_EVERY_S: Final = 6 * 3600
"""An authorised payment lives for days; its webhook tells its end, a look is for the case that it does not."""
CLOCKS_DIFFER_S: Final = 600
"""By how much the gateway's clock may differ from ours, at worst."""
BACKOFF_MIN_S: Final = 2.0
BACKOFF_MAX_S: Final = 300.0
"""A gateway that is down for hours is asked every five minutes."""
STUCK_S: Final = 24 * 3600
"""An attempt that cannot be closed for so long is a person's business (RULES §8)."""


class Due(Struct, frozen=True):
    """An attempt whose time has come, held by a lease of ours. `expires_at` is when its time to live ends."""

    merchant_id: str
    order_id: str
    number: int
    generation: int
    tries: int
    connection_id: str
    state: AttemptState
    session: str | None
    open_key: str
    open_request: bytes | None
    close_reason: CloseReason | None
    close_number: int
    created_at: datetime
    expires_at: datetime
    gateway_expires_at: datetime
    trace: str | None = None

    @property
    def close_key(self) -> str:
        """The key of the decision to close it (RULES §5)."""
        return f"close:{self.order_id}:{self.number}:{self.close_number}"


def step_of(due: Due, at: datetime) -> Step:
    """What to do with `due` now."""
    if not to_be_closed(due):
        if due.state == "open" and at >= due.expires_at:
            return "expire"
        return "look" if due.session is not None else "wait"
    if due.session is not None:
        return "close"
    if due.open_request is not None and at < due.created_at + timedelta(seconds=KEY_LIFE_S):
        return "open"
    return "find"


def to_be_closed(due: Due) -> bool:
    """Whether it was decided to close the attempt, for a reason that still holds."""
    return due.close_reason is not None and not (due.close_reason == "expired" and due.state == "authorised")


def creation_window(due: Due) -> tuple[datetime, datetime]:
    """Between which times of the gateway's clock the attempt's session can have been made: not before we asked for it,
    and not after the end that we asked for."""
    differ = timedelta(seconds=CLOCKS_DIFFER_S)
    return due.created_at - differ, due.gateway_expires_at + differ


def next_look_at(created_at: datetime, expires_at: datetime, at: datetime) -> datetime:
    """When an attempt that waits for its shopper is looked at next; at its end at the latest."""
    looks = (created_at + timedelta(seconds=look_s) for look_s in LOOKS_S)
    return min((look_at for look_at in looks if at < look_at < expires_at), default=max(expires_at, at))


def again_at(due: Due, at: datetime, chance: float) -> datetime:
    """When to come back to an attempt that has not ended; `chance` in 0 … 1 spreads what failed together."""
    if to_be_closed(due):
        pause_s = min(BACKOFF_MIN_S * 2 ** min(due.tries - 1, 20), BACKOFF_MAX_S)
        return at + timedelta(seconds=pause_s * (1 + chance) / 2)
    if due.state == "authorised":
        return at + timedelta(seconds=AUTHORISED_EVERY_S * (1 + chance) / 2)
    return next_look_at(due.created_at, due.expires_at, at)


def is_stuck(due: Due, at: datetime) -> bool:
    """Whether it could not be closed for so long that somebody must know."""
    return to_be_closed(due) and at >= due.expires_at + timedelta(seconds=STUCK_S)
