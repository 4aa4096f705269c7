"""What the database refuses because two were at the same rows is no fault of ours, nor of the operator: call again."""

from collections.abc import MutableMapping
from typing import Any

from litestar import Response, get

from tallystick.kernel.operators.api import PREFIX, operator_api
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import EVERYBODY, Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, SerializationFailed
from tallystick.ports.entropy import SystemEntropy


async def test_a_conflict_is_answered_503_to_be_repeated(gateway_database: Database) -> None:
    clock, entropy = SystemClock(), SystemEntropy()
    made = await create_key(gateway_database, "ada", role=Role.ADMIN, at=clock.now(), entropy=entropy)

    @get("/conflict")
    async def conflict() -> Response[bytes]:
        raise SerializationFailed("SerializationError")

    access = {f"GET {PREFIX}": EVERYBODY, f"GET {PREFIX}/conflict": EVERYBODY}
    api = operator_api("gateway", access, [conflict], gateway_database, clock, entropy)
    told: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message)

    headers = [(b"authorization", f"Bearer {made.key}".encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{PREFIX}/conflict",
        "raw_path": f"{PREFIX}/conflict".encode(),
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "headers": headers,
        "state": {},
    }
    await api(scope, receive, send)
    assert told[0]["status"] == 503
    assert (b"retry-after", b"2") in told[0]["headers"]
