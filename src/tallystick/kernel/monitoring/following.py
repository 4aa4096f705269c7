"""Follows what an application is asked: each call of an API is a step of its caller's trace, or begins one."""

from collections.abc import MutableMapping
from typing import Any, Final

from tallystick.kernel.service import Asgi
from tallystick.ports.tracing import Tracer, read_bytes

API: Final = "/v1/"
STRANGERS: Final = frozenset({401, 403, 404, 405, 429})
"""Whoever is answered so gives us nothing to follow: most likely nobody we know."""


def followed(application: Asgi, tracer: Tracer) -> Asgi:
    """The application, the calls of its API followed. A step bears the route, not the address that was called."""
    if not tracer.on:
        return application

    async def following(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await application(scope, receive, send)
            return
        method = scope["method"]
        above = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        span = tracer.span(f"{method} {API}", "server", read_bytes(above), begins=method == "POST")

        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.answered(status)
                if status in STRANGERS:
                    span.forget()
            await send(message)

        with span:
            await application(scope, receive, sent)
            route = scope.get("path_template") or API
            span.name_as(f"{method} {route}")
            span.note(method=method, route=route)

    return following
