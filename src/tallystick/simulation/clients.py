"""Programs outside: shops' servers that call the merchant's API, and callers of the gateway's. They repeat calls."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from tallystick.ports.http import Answered, HttpRequest
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
        return await self._repeat(HttpRequest("POST", f"{MERCHANT_URL}{path}", headers, body, DEADLINE_S), tries_max)

    async def gateway(self, shop: Shop, path: str, fields: Mapping[str, str], key: str) -> Json | None:
        """A POST to the gateway's API; what it answered with 2xx, or None."""
        headers = {
            "Authorization": f"Bearer {shop.secret_key}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Idempotency-Key": key,
        }
        body = urlencode(fields).encode()
        request = HttpRequest("POST", f"{GATEWAY_URL}{path}", headers, body, DEADLINE_S)
        return await self._repeat(request, JOB_TRIES_MAX)

    async def look(self, shop: Shop, path: str) -> Json | None:
        """A GET of the gateway's API."""
        headers = {"Authorization": f"Bearer {shop.secret_key}"}
        return await self._repeat(HttpRequest("GET", f"{GATEWAY_URL}{path}", headers, b"", DEADLINE_S), TRIES_MAX)

    async def read(self, shop: Shop, path: str) -> Json | None:
        """A GET of the merchant's API."""
        headers = {"Authorization": f"Bearer {shop.api_key}"}
        return await self._repeat(HttpRequest("GET", f"{MERCHANT_URL}{path}", headers, b"", DEADLINE_S), TRIES_MAX)

    async def operate(
        self, url: str, key: str, method: str, path: str, fields: Mapping[str, Any] | None = None
    ) -> Json | None:
        """A call of an operator's API, repeated as people do; what it answered with 2xx, or None."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        body = json.dumps(fields).encode() if fields is not None else b""
        request = HttpRequest(method, f"{url}/operator/v1{path}", headers, body, DEADLINE_S)
        return await self._repeat(request, TRIES_MAX)

    async def _repeat(self, request: HttpRequest, tries_max: int) -> Json | None:
        """What it was answered with 2xx; None where it was refused, or patience ended."""
        chance, network = self._world.chance, self._world.network
        for number in range(tries_max):
            answer = await network.exchange(self._node, request)
            if isinstance(answer, Answered) and answer.status < 300:
                return _read(answer)
            if isinstance(answer, Answered) and _is_refusal(answer):
                return None
            wait_s = BACKOFF_S[min(number, len(BACKOFF_S) - 1)]
            await asyncio.sleep(wait_s * (0.5 + chance.random()))
        return None


def _is_refusal(answer: Answered) -> bool:
    """Whether the service itself said no, for good; what the network makes up carries no JSON."""
    asks_to_come_again = answer.status == 429 or (answer.status == 409 and "retry-after" in answer.headers)
    return 400 <= answer.status < 500 and not asks_to_come_again and "json" in answer.headers.get("content-type", "")


def _read(answer: Answered) -> Json | None:
    try:
        read: Json = json.loads(answer.body)
    except ValueError:
        return None
    return read
