"""The HTTP-out port of production, on aiohttp; the addresses that may be dialled, and how long each step may take."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from http.cookies import SimpleCookie
from typing import Literal

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tallystick.ports.http import Answered, Exchange, HttpRequest, NotSent, Unknown
from tallystick.ports.tls import verifying

CONNECT_TIMEOUT_S = 5.0  # a peer that takes longer to accept is as good as down; nothing was sent
RESOLVE_TIMEOUT_S = 5.0  # a name server that takes longer, likewise
RESOLVED_FOR_S = 10  # how long addresses of a name are kept, already checked
RESOLVING_THREADS_MAX = 16  # lookups block a thread each; names that hang must not stop the others
KEEPALIVE_S = 4.0  # less than the 5 s after which common servers close, so that we do not write to a closing connection
CONNECTIONS_MAX = 512  # sockets to all peers together, per process
CONNECTIONS_PER_PEER_MAX = 64


def http_url(url: str) -> URL:
    """`url` in its parts. Raises ValueError for what is no http address, or names a user."""
    parsed = URL(url)
    named = parsed.raw_host and parsed.port
    if parsed.scheme not in ("http", "https") or not named or parsed.raw_user or parsed.raw_password:
        raise ValueError("not an http address")
    return parsed


class AddressRefused(OSError):
    """The guard does not let us connect there."""


class PlainHttpRefused(AddressRefused):
    """It would be sent for everybody on the way to read: plain HTTP is for this machine only."""


def refuse_plain_http(address: str) -> None:
    """Let what is not encrypted go to loopback alone, whatever name was written. Raises PlainHttpRefused. RULES §12."""
    parsed = ipaddress.ip_address(address)
    if not any(parsed in network for network in _LOOPBACK):  # is_loopback takes mapped addresses in from 3.13 on
        raise PlainHttpRefused("plain HTTP")


_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class AiohttpClient:
    """The production client.

    `address_allowed` is asked for every address that is about to be dialled, however it was written or found; None lets
    every address through (for peers that the operator configured, not for user-given ones). RULES §12, SSRF.
    Certificates are always verified, TLS is 1.2 or newer, and what is not encrypted goes to this machine alone.
    """

    def __init__(
        self,
        *,
        address_allowed: Callable[[str], bool] | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._address_allowed = address_allowed or _every_address
        self._names = SystemNames()
        self._tls = verifying(ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: HttpRequest) -> Exchange:
        return await self._carry_out(request, None)

    async def receive(self, request: HttpRequest, into: Callable[[bytes], object]) -> Exchange:
        return await self._carry_out(request, into)

    async def _carry_out(self, request: HttpRequest, into: Callable[[bytes], object] | None) -> Exchange:
        try:
            progress = _Progress(plain=http_url(request.url).scheme == "http")
        except ValueError:
            return NotSent("invalid_url")
        _PROGRESS.set(progress)
        try:
            async with asyncio.timeout(request.deadline_s):
                return await self._exchange(request, progress, into)
        except _NotKept:
            return Unknown("not_kept")
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # RuntimeError: what uvloop raises when it writes to a connection that has just closed.
            return _end_of(error, progress.phase)

    async def _exchange(
        self, request: HttpRequest, progress: "_Progress", into: Callable[[bytes], object] | None
    ) -> Answered:
        async with self._open().request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
        ) as answer:
            progress.phase = "answered"
            if into is not None and 200 <= answer.status < 300:
                body, cut = b"", await _pass_on(answer, request.answer_bytes_max, into)
            else:
                body, cut = await _read_capped(answer, request.answer_bytes_max)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answered(answer.status, headers, body, cut)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                limit_per_host=CONNECTIONS_PER_PEER_MAX,
                keepalive_timeout=KEEPALIVE_S,
                ssl=self._tls,
                resolver=_GuardedResolver(self._names, self._address_allowed),
                ttl_dns_cache=RESOLVED_FOR_S,
                socket_factory=self._guarded_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                request_class=_MarkedRequest,
                cookie_jar=_NoCookies(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                trust_env=False,
            )
        return self._session

    def _guarded_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Every socket is made here, for the address that it then dials: a literal one passed no resolver."""
        family, kind, protocol, _, place = address
        if not self._address_allowed(str(place[0])):
            raise AddressRefused("address not allowed")
        if _PROGRESS.get().plain:
            refuse_plain_http(str(place[0]))
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._names.close()


class SystemNames:
    """Looks names up as the machine does, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING_THREADS_MAX, thread_name_prefix="resolve")

    async def addresses_of(self, host: str) -> Sequence[str]:
        """Every address that `host` has now. Raises OSError when there is none, or none is found in time."""
        return [address for _, address in await self.lookup(host, 0, socket.AF_UNSPEC)]

    async def lookup(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[tuple[socket.AddressFamily, str]]:
        """Families and addresses of `host`, in the order of the machine's preference."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await loop.run_in_executor(
                    self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
                )
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "name lookup timed out") from None
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "not a name") from None
        return [(kind, str(place[0])) for kind, _, _, _, place in found]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class _GuardedResolver(AbstractResolver):
    """Resolves and lets the guard check every address; what was checked is then dialled, not the name.

    One refused address refuses the name: a name that points inside as well as outside is an attempt to get inside.
    """

    def __init__(self, names: SystemNames, allowed: Callable[[str], bool]) -> None:
        self._names = names
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._names.lookup(host, port, family)
        if not all(self._allowed(address) for _, address in found):
            raise AddressRefused("address not allowed")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, address in found
        ]

    async def close(self) -> None:
        return None


class _Progress:
    """How far one exchange has come, and whether it is not encrypted."""

    __slots__ = ("phase", "plain")

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self.phase: Literal["connecting", "sending", "answered"] = "connecting"


_PROGRESS: ContextVar[_Progress] = ContextVar("_PROGRESS")


class _MarkedRequest(aiohttp.ClientRequest):
    """Marks the moment in which a connection is there and bytes may leave."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        _PROGRESS.get().phase = "sending"
        return await super().send(conn)


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and makes no new object to say so for every request."""

    _none: SimpleCookie = SimpleCookie()

    def filter_cookies(self, request_url: URL) -> SimpleCookie:
        return self._none


def _every_address(_: str) -> bool:
    return True


def _end_of(error: Exception, phase: str) -> NotSent | Unknown:
    """What a failure in `phase` means. Type and phase only: an error's text may carry what the peer sent."""
    if phase == "connecting":
        return NotSent(reason_not_sent(error))
    if isinstance(error, TimeoutError):
        return Unknown("body_timeout" if phase == "answered" else "answer_timeout")
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return Unknown("malformed_answer")
    if isinstance(error, aiohttp.ClientConnectionError | OSError | RuntimeError):
        return Unknown("connection_lost")
    return Unknown("failed")


def reason_not_sent(error: Exception) -> str:
    """What kept a request from being sent, in a word out of the list above."""
    for kinds, reason in _REASONS_NOT_SENT:
        if isinstance(error, kinds) or isinstance(error.__cause__, kinds):
            return reason
    return "connect_failed"


_REASONS_NOT_SENT: tuple[tuple[type[Exception], str], ...] = (
    (PlainHttpRefused, "plain_http"),
    (AddressRefused, "address_refused"),
    (socket.gaierror, "dns"),
    (aiohttp.InvalidURL, "invalid_url"),
    (aiohttp.NonHttpUrlClientError, "invalid_url"),
    (ssl.SSLCertVerificationError, "tls_certificate"),
    (ssl.SSLError, "tls"),
    (ConnectionRefusedError, "connection_refused"),
    (TimeoutError, "connect_timeout"),
)


class _NotKept(Exception):
    """What came could not be written down here."""


async def _pass_on(answer: aiohttp.ClientResponse, bytes_max: int, into: Callable[[bytes], object]) -> bool:
    """Hand the body over in pieces; whether there was more than `bytes_max`."""
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > bytes_max:
            answer.close()
            return True
        try:
            into(chunk)
        except OSError as error:
            raise _NotKept from error
    return False


async def _read_capped(answer: aiohttp.ClientResponse, bytes_max: int) -> tuple[bytes, bool]:
    """At most `bytes_max` bytes of the body, and whether there was more.

    The rest is not read: the connection is dropped instead of drained.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > bytes_max:
            answer.close()
            break
    return b"".join(chunks)[:bytes_max], size > bytes_max
