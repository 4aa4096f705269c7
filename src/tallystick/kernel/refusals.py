"""What a JSON API answers when a handler or the framework raises: every error leaves as a problem (RFC 9457)."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from tallystick.kernel.identifiers import new_id
from tallystick.kernel.problems import Malformed, MethodNotAllowed, Problem, TooLarge
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

Handler = Callable[[Request[Any, Any, Any], Any], Response[bytes]]
Handlers = dict[Any, Handler]


def exception_handlers(
    told: Callable[[Problem], Response[bytes]],
    clock: Clock,
    entropy: Entropy,
    *,
    body_bytes_max: int,
    not_found: type[Problem],
    internal: type[Problem],
    foreseen: Mapping[type[Exception], Problem],
) -> Handlers:
    """The handlers of an API that answers with `told`. What it does not foresee gets a reference and a log line."""

    def unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        reference = new_id("err", clock.now(), entropy)
        log.error("%s %s failed, reference %s", request.method, request.url.path, reference, exc_info=error)
        return told(internal(reference=reference))

    def refused(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        """The framework's own refusals in our words."""
        match error.status_code:
            case 404:
                return told(not_found())
            case 405:
                return told(MethodNotAllowed(headers=error.headers))
            case 413:
                return told(TooLarge(f"A body has at most {body_bytes_max} bytes."))
            case status:
                return unforeseen(request, error) if status >= 500 else told(Malformed(error.detail))

    def telling(problem: Problem) -> Handler:
        return lambda _, _error: told(problem)

    return {
        Problem: lambda _, problem: told(problem),
        HTTPException: refused,
        **{kind: telling(problem) for kind, problem in foreseen.items()},
        Exception: unforeseen,
    }
