"""What the API answers when a handler or the framework raises: every error leaves as a problem (RFC 9457)."""

from typing import Final

from tallystick.kernel import refusals
from tallystick.kernel.batching import QueueFull
from tallystick.merchant import answers
from tallystick.merchant.errors import DatabaseDown, Internal, NotFound, Overloaded
from tallystick.merchant.requests import BODY_BYTES_MAX
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.entropy import Entropy

RETRY_AFTER_S: Final = 2  # for calls that find the database away or the queues full


def exception_handlers(clock: Clock, entropy: Entropy) -> refusals.Handlers:
    """Of the merchant's API."""
    overloaded = Overloaded(retry_after_s=RETRY_AFTER_S)
    return refusals.exception_handlers(
        answers.problem,
        clock,
        entropy,
        body_bytes_max=BODY_BYTES_MAX,
        not_found=NotFound,
        internal=Internal,
        foreseen={
            DatabaseUnavailable: DatabaseDown(retry_after_s=RETRY_AFTER_S),
            SerializationFailed: overloaded,
            QueueFull: overloaded,
        },
    )
