"""What the database refuses because two were at the same rows, and what finds the queue full, is no fault of ours, nor
of the operator: call again."""

from typing import Any

import pytest
from litestar import Response, get

from tallystick.kernel.batching import QueueFull
from tallystick.kernel.operators.api import PREFIX, operator_api
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import EVERYBODY, Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, SerializationFailed
from tallystick.ports.entropy import SystemEntropy


@pytest.mark.parametrize("trouble", [SerializationFailed("SerializationError"), QueueFull()])
async def test_a_conflict_is_answered_503_to_be_repeated(
    gateway_database: Database, ask: Any, trouble: Exception
) -> None:
    clock, entropy = SystemClock(), SystemEntropy()
    made = await create_key(gateway_database, "ada", role=Role.ADMIN, at=clock.now(), entropy=entropy)

    @get("/conflict")
    async def conflict() -> Response[bytes]:
        raise trouble

    access = {f"GET {PREFIX}": EVERYBODY, f"GET {PREFIX}/conflict": EVERYBODY}
    api = operator_api("gateway", access, [conflict], gateway_database, clock, entropy)
    answer = await ask(api, "GET", f"{PREFIX}/conflict", [(b"authorization", f"Bearer {made.key}".encode())])
    assert answer.status == 503
    assert answer.headers["retry-after"] == "2"
