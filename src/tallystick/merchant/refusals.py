"""What the API answers when a handler or the framework raises: every error leaves as a problem (RFC 9457)."""

import logging
from collections.abc import Callable
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

from tallystick.kernel.batching import QueueFull
from tallystick.kernel.identifiers import new_id
from tallystick.merchant import answers
from tallystick.merchant.errors import (
    DatabaseDown,
    Internal,
    Malformed,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Problem,
    TooLarge,
)
from tallystick.merchant.requests import BODY_BYTES_MAX
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 2  # for calls that find the database away or the queues full


def exception_handlers(
    clock: Clock, entropy: Entropy
) -> dict[Any, Callable[[Request[Any, Any, Any], Any], Response[bytes]]]:
    """Every error leaves as a problem (RFC 9457); what nobody foresaw gets a reference and a log line."""

    def unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        reference = new_id("err", clock.now(), entropy)
        log.error("%s %s failed, reference %s", request.method, request.url.path, reference, exc_info=error)
        return answers.problem(Internal(reference=reference))

    return {
        Problem: lambda _, problem: answers.problem(problem),
        HTTPException: lambda request, error: (
            unforeseen(request, error) if error.status_code >= 500 else answers.problem(_of_framework(error))
        ),
        DatabaseUnavailable: lambda _, error: answers.problem(DatabaseDown(retry_after_s=RETRY_AFTER_S)),
        SerializationFailed: lambda _, error: answers.problem(Overloaded(retry_after_s=RETRY_AFTER_S)),
        QueueFull: lambda _, error: answers.problem(Overloaded(retry_after_s=RETRY_AFTER_S)),
        Exception: unforeseen,
    }


def _of_framework(error: HTTPException) -> Problem:
    """The framework's own refusals in our words."""
    match error.status_code:
        case 404:
            return NotFound()
        case 405:
            return MethodNotAllowed(more_headers=error.headers)
        case 413:
            return TooLarge(f"A body has at most {BODY_BYTES_MAX} bytes.")
        case _:
            return Malformed(error.detail)
