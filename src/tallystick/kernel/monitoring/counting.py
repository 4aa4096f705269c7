"""Counts what an application answers, by class (RULES §13, technical success)."""

from collections.abc import MutableMapping
from typing import Any

from tallystick.kernel.service import Asgi
from tallystick.ports.metrics import REQUESTS, status_class


def counted(area: str, application: Asgi) -> Asgi:
    """The application, its answers counted under `area`."""
    classes = {name: REQUESTS.labels(area, name) for name in ("2xx", "3xx", "4xx", "5xx")}

    async def counting(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                classes[status_class(message["status"])].inc()
            await send(message)

        await application(scope, receive, sent)

    return counting
