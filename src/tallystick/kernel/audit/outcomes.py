"""An application whose acts are noted with how they ended, before the caller learns it."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tallystick.kernel.audit.trail import Act, Trail
from tallystick.ports.database import DatabaseError

log = logging.getLogger(__name__)

ENTRY: Final = "tallystick.audit_entry"  # in the scope of a request that the audit trail keeps

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[..., Awaitable[Any]]


async def begin(scope: Message, trail: Trail, act: Act) -> None:
    """Note what a request is about to do; how it ends is noted by the application that `noting_outcomes` gives. Raises
    DatabaseError: then it must not be done."""
    scope[ENTRY] = await trail.begin(act)


def noting_outcomes(application: Asgi, trail: Trail) -> Asgi:
    """The application, noting how the acts end that are begun in it."""

    async def watched(scope: Message, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and (entry := scope.get(ENTRY)) is not None:
                try:
                    await trail.end(entry, message["status"])
                except DatabaseError as error:  # it was done all the same; an entry without an outcome says: look
                    log.error("the outcome of %s is not noted: %s", entry, type(error).__name__)
            await send(message)

        await application(scope, receive, noted)

    return watched
