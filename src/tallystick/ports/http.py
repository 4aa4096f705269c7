"""The HTTP-out port: one request, one of three ends. A bare exception never leaves it (DESIGN §2.8).

`Answered`: the peer answered in time. `NotSent`: nothing reached the peer, so the call had no effect. `Unknown`: the request may
have arrived and acted; the caller looks it up by its own reference or repeats it under the same key.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct
from yarl import URL

CONNECT_TIMEOUT_S = 5.0  # a peer that takes longer to accept is as good as down; nothing was sent
CONNECTIONS_MAX = 256  # sockets to all peers together, per process
CONNECTIONS_PER_PEER_MAX = 64
ANSWER_BYTES_MAX = 1024 * 1024  # default cap on a body that we read; deliveries lower it


class HttpRequest(Struct, frozen=True):
    """What is sent. `deadline_s` bounds the whole exchange, connect to last byte of the body."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    deadline_s: float
    answer_bytes_max: int = ANSWER_BYTES_MAX


class Answered(Struct, frozen=True):
    """The peer's answer; header names in lower case; `body` holds at most `answer_bytes_max` bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotSent(Struct, frozen=True):
    """The request never left: the call had no effect."""

    reason: str


class Unknown(Struct, frozen=True):
    """The request may have had its effect; no usable answer came."""

    reason: str


Exchange = Answered | NotSent | Unknown


class Http(Protocol):
    """Sends requests to the outside."""

    async def send(self, request: HttpRequest) -> Exchange:
        """Carry out one exchange. Never follows a redirect, never raises for what the peer or the network does."""
        ...


class AddressRefused(OSError):
    """The address guard does not let us connect there."""


class _GuardedResolver(AbstractResolver):
    """Resolves, lets the guard check every address, and pins the connection to what was checked (RULES §12, SSRF)."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        answers = []
        for kind, _, protocol, _, address in found:
            if not self._allowed(str(address[0])):
                raise AddressRefused("address not allowed")
            answers.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=int(address[1]),
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return answers

    async def close(self) -> None:
        return None


class AiohttpClient:
    """The production client. `address_allowed` is asked for every address before a connection is made, literal addresses
    included; None lets every address through (for peers that the operator configured, not for user-given ones)."""

    def __init__(
        self,
        *,
        address_allowed: Callable[[str], bool] | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._address_allowed = address_allowed
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            guarded = _GuardedResolver(self._address_allowed) if self._address_allowed else None
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                limit_per_host=CONNECTIONS_PER_PEER_MAX,
                ssl=self._tls,
                resolver=guarded,
                use_dns_cache=guarded is None,
                ttl_dns_cache=10,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                trust_env=False,
            )
        return self._session

    async def send(self, request: HttpRequest) -> Exchange:
        try:
            async with asyncio.timeout(request.deadline_s):
                return await self._exchange(request)
        except TimeoutError:
            return Unknown("deadline passed")

    async def _exchange(self, request: HttpRequest) -> Exchange:
        refused = self._refused_literal(request.url)
        if refused is not None:
            return refused
        try:
            async with self._open().request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_TIMEOUT_S, request.deadline_s)),
            ) as answer:
                body = await _read_capped(answer, request.answer_bytes_max)
                return Answered(
                    answer.status,
                    {name.lower(): value for name, value in answer.headers.items()},
                    body,
                )
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
            AddressRefused,
        ) as error:
            return NotSent(type(error).__name__)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Unknown(type(error).__name__)

    def _refused_literal(self, url: str) -> NotSent | None:
        """aiohttp asks no resolver for a literal address, so the guard is asked here."""
        if self._address_allowed is None:
            return None
        try:
            host = URL(url).host or ""
            socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
        except (ValueError, OSError):
            return None
        return None if self._address_allowed(host) else NotSent("AddressRefused")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read_capped(answer: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """At most `bytes_max` bytes of the body. The rest is not read: the connection is dropped instead of drained."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > bytes_max:
            answer.close()
            break
    return b"".join(chunks)[:bytes_max]
