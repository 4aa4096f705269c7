"""Requests as they come in."""

from typing import Any

import pytest
from litestar import Litestar, Request, post

from tallystick.merchant.refusals import exception_handlers
from tallystick.merchant.requests import body
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy


@post("/")
async def take(request: Request[Any, Any, Any]) -> None:
    await body(request, dict)


async def test_a_body_that_breaks_off_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever hangs up again and again would else have people called, by the alert on our errors."""
    parts = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    handlers = exception_handlers(SystemClock(), SystemEntropy())
    application = Litestar([take], exception_handlers=handlers, openapi_config=None, logging_config=None)
    headers = [(b"content-type", b"application/json")]
    scope: Any = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    await application(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
