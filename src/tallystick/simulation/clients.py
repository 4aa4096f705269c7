"""Programs outside: shops' servers that call the merchant's API, and callers of the gateway's. They repeat calls."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from tallystick.ports.http import Answered, Exchange, HttpRequest
from tallystick.simulation.installation import GATEWAY_URL, MERCHANT_URL, Shop

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node

DEADLINE_S: Final = 20.0
TRIES_MAX: Final = 12  # of somebody who waits for the answer
JOB_TRIES_MAX: Final = 60  # of a program that nobody waits for
BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)

Json = dict[str, Any]


class Clients:
    """Calls of programs, each repeated under its key until it has an answer that counts, or patience ends."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._world = node.world

    async def merchant(
        self, shop: Shop, path: str, fields: Mapping[str, Any], key: str, *, tries_max: int = TRIES_MAX
    ) -> Json | None:
        """A POST to the merchant's API; what it answered with 2xx, or None."""
        headers = {
            "Authorization": f"Bearer {shop.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        body = json.dumps(fields).encode()
        answer = await self._repeat(HttpRequest("POST", f"{MERCHANT_URL}{path}", headers, body, DEADLINE_S), tries_max)
        return _read(answer) if isinstance(answer, Answered) and answer.status < 300 else None

    async def gateway(self, shop: Shop, path: str, fields: Mapping[str, str], key: str) -> Json | None:
        """A POST to the gateway's API; what it answered with 2xx, or None."""
        headers = {
            "Authorization": f"Bearer {shop.secret_key}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Idempotency-Key": key,
        }
        body = urlencode(fields).encode()
        answer = await self._repeat(
            HttpRequest("POST", f"{GATEWAY_URL}{path}", headers, body, DEADLINE_S), JOB_TRIES_MAX
        )
        return _read(answer) if isinstance(answer, Answered) and answer.status < 300 else None

    async def look(self, shop: Shop, path: str) -> Json | None:
        """A GET of the gateway's API."""
        headers = {"Authorization": f"Bearer {shop.secret_key}"}
        answer = await self._repeat(HttpRequest("GET", f"{GATEWAY_URL}{path}", headers, b"", DEADLINE_S), TRIES_MAX)
        return _read(answer) if isinstance(answer, Answered) and answer.status < 300 else None

    async def read(self, shop: Shop, path: str) -> Json | None:
        """A GET of the merchant's API."""
        headers = {"Authorization": f"Bearer {shop.api_key}"}
        answer = await self._repeat(HttpRequest("GET", f"{MERCHANT_URL}{path}", headers, b"", DEADLINE_S), TRIES_MAX)
        return _read(answer) if isinstance(answer, Answered) and answer.status < 300 else None

    async def operate(
        self, url: str, key: str, method: str, path: str, fields: Mapping[str, Any] | None = None
    ) -> Json | None:
        """A call of an operator's API, repeated as people do; what it answered with 2xx, or None."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        body = json.dumps(fields).encode() if fields is not None else b""
        answer = await self._repeat(
            HttpRequest(method, f"{url}/operator/v1{path}", headers, body, DEADLINE_S), TRIES_MAX
        )
        return _read(answer) if isinstance(answer, Answered) and answer.status < 300 else None

    async def _repeat(self, request: HttpRequest, tries_max: int) -> Exchange:
        chance, network = self._world.chance, self._world.network
        for number in range(tries_max):
            answer = await network.exchange(self._node, request)
            if isinstance(answer, Answered) and (answer.status < 300 or _is_refusal(answer)):
                return answer
            wait_s = BACKOFF_S[min(number, len(BACKOFF_S) - 1)]
            await asyncio.sleep(wait_s * (0.5 + chance.random()))
        return answer


def _is_refusal(answer: Answered) -> bool:
    """Whether the service itself said no, for good; what the network makes up carries no JSON."""
    if not 400 <= answer.status < 500 or (answer.status in (409, 429) and _may_repeat(answer)):
        return False
    return "json" in answer.headers.get("content-type", "")


def _may_repeat(answer: Answered) -> bool:
    return "retry-after" in answer.headers or answer.status == 429


def _read(answer: Answered) -> Json | None:
    try:
        read: Json = json.loads(answer.body)
    except ValueError:
        return None
    return read
