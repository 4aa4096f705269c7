"""The HTTP-out port for many small exchanges: HTTP/1.1 on kept connections, and nothing that a delivery does not use.

The general client (`AiohttpClient`) costs a delivery more than signing, claiming and recording it together: mostly what
a client for everybody must have (cookies, redirects, middlewares, multidicts, streamed bodies).
Here a request is one write and an answer is what httptools makes of what was read; the ends are the same, told in the
same words (ports/http). A connection carries one exchange at a time. What is dialled is an address that was resolved
and checked before, never a name (RULES §12).
"""

import asyncio
import ipaddress
import socket
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, cast

from aiohappyeyeballs import start_connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from tallystick.ports import aiohttp_http
from tallystick.ports.aiohttp_http import AddressRefused, SystemNames
from tallystick.ports.http import Answered, Exchange, HttpRequest, NotSent, Unknown
from tallystick.ports.tls import verifying

HEAD_BYTES_MAX: Final = 32 * 1024
"""Of an answer, also of what stands around its body: chunk sizes, trailers, interim answers."""
FRAMING_FACTOR: Final = 8
"""A chunk of one byte takes six; a peer that needs more than this around what it says is not read to the end."""
TARGETS_MAX: Final = 4_096
"""Addresses whose parts are remembered."""
SECOND_FAMILY_AFTER_S: Final = 0.25
"""A name with addresses of both families: how long the first one has before the other is dialled too (RFC 8305)."""
NAMES_MAX: Final = 1_000

Addresses = list[tuple[socket.AddressFamily, str]]


class Peer(NamedTuple):
    """Whom a connection leads to."""

    tls: bool
    host: str
    port: int


class Target(NamedTuple):
    """A peer, and what the first lines of a request there say."""

    peer: Peer
    path: str
    named: str  # for the header Host


class Http1Client:
    """Sends requests over connections that are kept for a few seconds. Never HEAD: its answers have no body to end."""

    def __init__(
        self,
        *,
        url_allowed: Callable[[str], bool] | None = None,
        address_allowed: Callable[[str], bool] | None = None,
        ca_file: str | None = None,
    ) -> None:
        """`url_allowed` is asked for what is written, `address_allowed` for every address that is about to be dialled;
        None lets everything through. RULES §12, SSRF."""
        self._url_allowed = lru_cache(TARGETS_MAX)(url_allowed) if url_allowed is not None else None
        self._address_allowed = address_allowed
        self._names = SystemNames()
        self._lookups: dict[str, tuple[float, asyncio.Task[Addresses]]] = {}
        self._tls = verifying(ca_file)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open: set[_Connection] = set()
        self._idle: dict[Peer, list[_Connection]] = {}
        self._idle_since_s: dict[_Connection, float] = {}  # longest idle first
        self._sweep: asyncio.TimerHandle | None = None

    async def send(self, request: HttpRequest) -> Exchange:
        assert request.method != "HEAD"
        ends_s = asyncio.get_running_loop().time() + request.deadline_s
        try:
            target = _target(request.url)
            written = _written(request, target)
        except ValueError:
            return NotSent("invalid_url")
        if self._url_allowed is not None and not self._url_allowed(request.url):
            return NotSent("address_refused")
        if self._busy >= aiohttp_http.CONNECTIONS_MAX and not await self._place(ends_s):
            return NotSent("connect_timeout")
        self._busy += 1
        try:
            connection = self._kept(target) or await self._connect(target, ends_s)
            return await connection.exchange(written, request.answer_bytes_max, ends_s)
        except (OSError, ValueError) as error:  # of connecting: an exchange raises nothing
            return NotSent(aiohttp_http.reason_not_sent(error))
        finally:
            self._busy -= 1
            if self._waiting:
                self._let_in()

    async def close(self) -> None:
        """End all connections."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.drop()
        self._names.close()

    async def _place(self, ends_s: float) -> bool:
        """Wait until another exchange has ended. Gives whether one did in time."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(ends_s):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._let_in()  # the place came in the very moment in which we gave up
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def _let_in(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _kept(self, target: Target) -> "_Connection | None":
        """A kept connection to `target`, the one that was used last."""
        kept = self._idle.get(target.peer)
        while kept:
            connection = kept.pop()
            since_s = self._idle_since_s.pop(connection)
            if connection.usable and asyncio.get_running_loop().time() - since_s < aiohttp_http.KEEPALIVE_S:
                return connection
            connection.drop()
        return None

    async def _connect(self, target: Target, ends_s: float) -> "_Connection":
        """A new connection. Raises OSError; nothing was sent then."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(ends_s):
            found = await self._addresses(target.peer.host)
            if not target.peer.tls:
                for _, place in found:
                    aiohttp_http.refuse_plain_http(place)
            infos = [
                (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (place, target.peer.port))
                for family, place in found
            ]
            async with asyncio.timeout(aiohttp_http.CONNECT_TIMEOUT_S):
                dialled = await start_connection(
                    infos, happy_eyeballs_delay=SECOND_FAMILY_AFTER_S, interleave=1, loop=loop
                )
                try:
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self, target.peer),
                        sock=dialled,
                        ssl=self._tls if target.peer.tls else None,
                        server_hostname=target.peer.host if target.peer.tls else None,
                    )
                except BaseException:
                    dialled.close()
                    raise
        return connection

    async def _addresses(self, host: str) -> Addresses:
        """The addresses of `host`, each of them allowed: a name that points inside as well as outside is an attempt to
        get inside. One lookup serves all who ask within RESOLVED_FOR_S, so that a name that hangs holds one thread."""
        loop = asyncio.get_running_loop()
        if (literal := _literal(host)) is not None:
            return self._allowed([literal])
        known = self._lookups.get(host)
        if known is None or loop.time() >= known[0]:
            if len(self._lookups) >= NAMES_MAX:
                self._lookups.clear()
            lookup = loop.create_task(self._names.lookup(host, 0, socket.AF_UNSPEC))
            known = self._lookups[host] = (loop.time() + aiohttp_http.RESOLVED_FOR_S, lookup)
            lookup.add_done_callback(lambda ended: self._forget_failed(host, ended))
        return self._allowed(await asyncio.shield(known[1]))

    def _allowed(self, found: Addresses) -> Addresses:
        if self._address_allowed is not None and not all(self._address_allowed(place) for _, place in found):
            raise AddressRefused("address not allowed")
        return found

    def _forget_failed(self, host: str, lookup: "asyncio.Task[Addresses]") -> None:
        if (lookup.cancelled() or lookup.exception()) and self._lookups.get(host, (0, None))[1] is lookup:
            del self._lookups[host]

    def opened(self, connection: "_Connection") -> None:
        self._open.add(connection)

    def lost(self, connection: "_Connection") -> None:
        """A connection has ended, or will not be used any more."""
        self._open.discard(connection)
        if self._idle_since_s.pop(connection, None) is not None:
            self._idle[connection.peer].remove(connection)

    def keep(self, connection: "_Connection") -> None:
        """Its exchange is over, and the next one may go the same way."""
        loop = asyncio.get_running_loop()
        self._idle.setdefault(connection.peer, []).append(connection)
        self._idle_since_s[connection] = loop.time()
        if len(self._idle_since_s) > aiohttp_http.CONNECTIONS_MAX:
            next(iter(self._idle_since_s)).drop()
        if self._sweep is None:
            self._sweep = loop.call_later(aiohttp_http.KEEPALIVE_S, self._end_idle)

    def _end_idle(self) -> None:
        """End what was idle for too long, and forget peers to whom nothing is kept."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() - aiohttp_http.KEEPALIVE_S
        for connection in [kept for kept, since_s in self._idle_since_s.items() if since_s <= until_s]:
            connection.drop()
        self._idle = {peer: kept for peer, kept in self._idle.items() if kept}
        self._sweep = loop.call_later(aiohttp_http.KEEPALIVE_S, self._end_idle) if self._idle else None


class _Connection(asyncio.Protocol):
    """One connection, and the exchange that is under way on it, if any."""

    def __init__(self, client: Http1Client, peer: Peer) -> None:
        self.peer = peer
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._end: asyncio.Future[Exchange] | None = None
        self._timer: asyncio.TimerHandle

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, written: bytes, answer_bytes_max: int, ends_s: float) -> Exchange:
        """Write a request, read its answer. Never raises for what the peer does."""
        assert self._end is None, "one exchange at a time"
        if self._transport is None:
            return Unknown("connection_lost")
        loop = asyncio.get_running_loop()
        end: asyncio.Future[Exchange] = loop.create_future()
        self._end = end
        self._timer = loop.call_at(ends_s, self._out_of_time)
        self._bytes_max, self._unread = answer_bytes_max, HEAD_BYTES_MAX
        self._begin_answer()
        try:
            self._transport.write(written)
        except RuntimeError:  # what uvloop raises when it writes to a connection that has just closed
            self._finish(Unknown("connection_lost"), keep=False)
        try:
            return await end
        except BaseException:  # given up by the caller
            self._finish(Unknown("failed"), keep=False)
            raise

    def drop(self) -> None:
        """End the connection now; an exchange that is under way must have its end already, or is abandoned."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()
            self._client.lost(self)

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but no subclass
        self._client.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._end is None:
            self.drop()  # it speaks without having been asked
            return
        self._unread -= len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # it speaks something else from here on; its answer stands, and is no success
        except HttpParserError:
            self._finish(Unknown("malformed_answer"), keep=False)
        else:
            if self._unread < 0:
                self._finish(Unknown("malformed_answer"), keep=False)

    def eof_received(self) -> None:
        if self._answering and self._until_eof:
            self._finish(self._answer(), keep=False)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answering:
            ended = error is None and self._until_eof
            self._finish(self._answer() if ended else Unknown("malformed_answer"), keep=False)
        else:
            self._finish(Unknown("connection_lost"), keep=False)
        self.drop()

    # What the parser tells

    def on_message_begin(self) -> None:
        if self._end is None:
            self.drop()  # more than was asked for: it must not be taken for the answer to what is asked next
        self._begin_answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._answering:  # trailers say nothing about the exchange
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._answering = self._status >= 200 or self._status == 101
        if self._answering:
            self._unread += FRAMING_FACTOR * self._bytes_max
            headers = self._headers
            bodiless = self._status in (101, 204, 304)
            self._until_eof = not (bodiless or "content-length" in headers or "transfer-encoding" in headers)

    def on_body(self, body: bytes) -> None:
        if self._size <= self._bytes_max:
            self._body.append(body)
            self._size += len(body)
            if self._size > self._bytes_max:
                self._finish(self._answer(), keep=False)

    def on_message_complete(self) -> None:
        if self._answering:  # else an interim answer: the real one follows
            self._finish(self._answer(), keep=self._status != 101 and self._parser.should_keep_alive())

    def _begin_answer(self) -> None:
        self._status, self._size = 0, 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._answering = self._until_eof = False

    def _answer(self) -> Answered:
        body = b"".join(self._body)[: self._bytes_max]
        return Answered(self._status, self._headers, body, self._size > self._bytes_max)

    def _out_of_time(self) -> None:
        self._finish(Unknown("body_timeout" if self._answering else "answer_timeout"), keep=False)

    def _finish(self, end: Exchange, *, keep: bool) -> None:
        """The exchange is over, if there is one; the connection is free for the next before anybody else runs."""
        waiting, self._end = self._end, None
        if waiting is None:
            return
        self._timer.cancel()
        if not waiting.done():
            waiting.set_result(end)
        if keep and self._transport is not None and not self._transport.get_write_buffer_size():
            self._client.keep(self)
        else:
            self.drop()


@lru_cache(TARGETS_MAX)
def _target(url: str) -> Target:
    """Where `url` leads. Raises ValueError for what is no http address, or names a user."""
    parsed = aiohttp_http.http_url(url)
    host, port = parsed.raw_host, parsed.port
    assert host is not None
    assert port is not None
    return Target(Peer(parsed.scheme == "https", host, port), parsed.raw_path_qs, parsed.host_port_subcomponent or host)


def _literal(host: str) -> tuple[socket.AddressFamily, str] | None:
    """`host` as an address, where it is one as it stands and no name to be looked up."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), host


def _written(request: HttpRequest, target: Target) -> bytes:
    """The request as it is written. Raises ValueError for a header that would be two."""
    lines = [f"{request.method} {target.path} HTTP/1.1", f"Host: {target.named}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {len(request.body)}", "", ""]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
        raise ValueError("a header that would be two")
    return head.encode() + request.body
