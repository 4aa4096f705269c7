"""One request, one of three ends, whatever the peer does (DESIGN §2.8); the guard is asked at dial time (RULES §12)."""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trustme

from tallystick.kernel.addresses import address_allowed
from tallystick.ports import aiohttp_http
from tallystick.ports.aiohttp_http import AiohttpClient, SystemNames
from tallystick.ports.http import Answered, HttpRequest, NotSent, Unknown
from tallystick.ports.http1 import Http1Client

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def _peer(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that speaks whatever `serve` writes; gives its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
    return head + await reader.readexactly(length)


def _answering(*chunks: bytes, pause_s: float = 0.0) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await _read_request(reader):
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause_s)

    return serve


async def _forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _read_request(reader)
    writer.transport.abort()


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def _request(port: int, *, scheme: str = "http", host: str = "127.0.0.1", deadline_s: float = 5.0) -> HttpRequest:
    url = f"{scheme}://{host}:{port}/hook?a=b"
    return HttpRequest(
        "POST", url, {"content-type": "application/json"}, b'{"a": 1}', deadline_s, answer_bytes_max=1024
    )


Client = AiohttpClient | Http1Client
Kind = type[AiohttpClient] | type[Http1Client]


@pytest.fixture(params=[AiohttpClient, Http1Client])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The general client, and the one for deliveries: what a caller can tell of them is the same."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def client(kind: Kind) -> AsyncIterator[Client]:
    client = kind()
    yield client
    await client.close()


@pytest.fixture
async def guarded(kind: Kind) -> AsyncIterator[Client]:
    """A client for strangers' addresses, as in production."""
    client = kind(address_allowed=address_allowed)
    yield client
    await client.close()


@pytest.fixture
def nowhere() -> Iterator[int]:
    """A port of loopback on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_an_answer(client: Client) -> None:
    answer = b"HTTP/1.1 201 Created\r\nRetry-After: 7\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok"
    async with _peer(_answering(answer)) as port:
        end = await client.send(_request(port))
    assert end == Answered(201, {"retry-after": "7", "x-a": "b", "content-length": "2"}, b"ok")


async def test_what_is_given_is_what_is_sent(client: Client) -> None:
    """The signed bytes, and no header that nobody asked for."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await _read_request(reader))
        writer.write(OK)

    async with _peer(serve) as port:
        await client.send(_request(port))
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /hook?a=b http/1.1"
    assert {line.partition(":")[0] for line in lines[1:]} == {"host", "content-type", "content-length"}
    assert body == b'{"a": 1}'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(client: Client, status: int) -> None:
    """RULES §6."""
    location = b"HTTP/1.1 %d Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n" % status
    async with _peer(_answering(location)) as port:
        end = await client.send(_request(port))
    assert isinstance(end, Answered)
    assert end.status == status


async def test_an_endless_body_is_cut(client: Client) -> None:
    """RULES §6: what we keep of an answer is bounded, and so is what we read."""
    async with _peer(_forever) as port:
        end = await client.send(_request(port))
    assert end == Answered(200, {}, b"x" * 1024, cut=True)


async def test_what_is_received_goes_on_in_pieces_and_a_disk_that_is_full_is_no_fault_of_the_peer() -> None:
    kept = bytearray()

    def full(_piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    client = AiohttpClient()
    async with _peer(_answering(OK)) as port:
        end = await client.receive(_request(port), kept.extend)
        assert end == Answered(200, {"content-length": "2"}, b"")
        assert kept == b"ok"
        assert await client.receive(_request(port), full) == Unknown("not_kept")
    await client.close()


async def test_a_compressed_body_is_not_unpacked(client: Client) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"
    async with _peer(_answering(answer)) as port:
        end = await client.send(_request(port))
    assert isinstance(end, Answered)
    assert end.body == b"\x1f\x8b\x08\x00"


@pytest.mark.parametrize(
    ("serve", "end"),
    [
        (_silence, Unknown("answer_timeout")),
        (_answering(b"HTTP/1.1 200 OK\r\n", *[b"a: b\r\n"] * 50, pause_s=0.02), Unknown("answer_timeout")),
        (
            _answering(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n", *[b"x"] * 50, pause_s=0.02),
            Unknown("body_timeout"),
        ),
        (_reset, Unknown("connection_lost")),
        (_answering(b"SSH-2.0-OpenSSH_9.6\r\n"), Unknown("malformed_answer")),
        (_answering(b"HTTP/1.1 200 OK\r\na: " + b"x" * 100_000), Unknown("malformed_answer")),
        (
            _answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999999999999999x\r\n\r\n"),
            Unknown("malformed_answer"),
        ),
    ],
    ids=["silence", "slow headers", "slow body", "reset", "another protocol", "huge header", "bad length"],
)
async def test_the_request_may_have_acted(client: Client, serve: Serve, end: Unknown) -> None:
    """RULES §6, §14: the deadline bounds the whole exchange, body included."""
    async with _peer(serve) as port, asyncio.timeout(3):
        assert await client.send(_request(port, deadline_s=0.3)) == end


async def test_an_answer_that_breaks_off_is_no_answer(client: Client) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf")

    async with _peer(serve) as port:
        assert await client.send(_request(port)) == Unknown("malformed_answer")


async def test_a_reset_on_a_reused_connection_is_unknown(client: Client) -> None:
    """The peer closes a kept connection just as we write to it: it may have read the request."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _read_request(reader)
        writer.write(OK)
        await _read_request(reader)
        writer.transport.abort()

    async with _peer(serve) as port:
        assert isinstance(await client.send(_request(port)), Answered)
        assert await client.send(_request(port)) == Unknown("connection_lost")
        assert connections == 1
        assert isinstance(await client.send(_request(port)), Answered)


async def test_a_refused_connection_was_not_sent(client: Client, nowhere: int) -> None:
    assert await client.send(_request(nowhere)) == NotSent("connection_refused")


async def test_a_peer_that_does_not_accept_was_not_sent_to(client: Client) -> None:
    """Its queue of connections is full: the deadline passes while connecting."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        await asyncio.sleep(0.05)
        assert await client.send(_request(full.getsockname()[1], deadline_s=0.2)) == NotSent("connect_timeout")


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "a" * 64 + ".example"])
async def test_a_name_without_address_was_not_sent_to(client: Client, host: str) -> None:
    end = await client.send(_request(80, host=host, deadline_s=10))
    assert isinstance(end, NotSent)
    assert end.reason in ("dns", "invalid_url")


@pytest.mark.parametrize("url", ["", "http://", "ftp://127.0.0.1/", "http://[::1", "no url", "http://127.0.0.1:99999/"])
async def test_what_is_no_url_was_not_sent(client: Client, url: str) -> None:
    end = await client.send(HttpRequest("POST", url, {}, b"", 1.0))
    assert end == NotSent("invalid_url")


async def test_a_header_that_would_split_was_not_sent(client: Client, nowhere: int) -> None:
    end = await client.send(HttpRequest("POST", f"http://127.0.0.1:{nowhere}/", {"a": "b\r\nc: d"}, b"", 1.0))
    assert isinstance(end, NotSent | Unknown)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def _tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_by_an_authority_that_we_know(kind: Kind, authority: trustme.CA, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    client = kind(ca_file=str(ca_file))
    async with _peer(_answering(OK), tls=_tls(authority, "127.0.0.1")) as port:
        assert isinstance(await client.send(_request(port, scheme="https")), Answered)
    async with _peer(_answering(OK), tls=_tls(authority, "another.example")) as port:
        assert await client.send(_request(port, scheme="https")) == NotSent("tls_certificate")
    await client.close()


async def test_tls_that_fails_was_not_sent(client: Client, authority: trustme.CA) -> None:
    """The handshake comes before the request: an unknown authority, an old protocol, no TLS at all."""
    async with _peer(_answering(OK), tls=_tls(authority, "127.0.0.1")) as port:
        assert await client.send(_request(port, scheme="https")) == NotSent("tls_certificate")

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with _peer(plain) as port:
        assert await client.send(_request(port, scheme="https")) == NotSent("tls")
    async with _peer(_silence) as port:
        assert await client.send(_request(port, scheme="https", deadline_s=0.2)) == NotSent("connect_timeout")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1", "0177.0.0.1"],
)
async def test_the_guard_is_asked_at_dial_time(guarded: Client, host: str) -> None:
    """RULES §12: whatever is written, a server that listens on loopback hears nothing of us."""
    heard = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += 1
        writer.write(OK)

    async with _peer(serve) as port:
        end = await guarded.send(_request(port, host=host, deadline_s=2))
        assert end in (NotSent("address_refused"), NotSent("invalid_url"), NotSent("dns"))
        assert heard == 0


async def test_a_name_that_leads_inside_is_refused_at_dial_time(
    guarded: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES §12: resolve, check every address, connect to the checked one. One address inside refuses the name."""
    answers = {
        "rebound.example": ["127.0.0.1"],
        "both.example": ["93.184.215.14", "127.0.0.1"],
        "mapped.example": ["::ffff:127.0.0.1"],
    }
    monkeypatch.setattr(socket, "getaddrinfo", _lookup(answers))
    async with _peer(_answering(OK)) as port:
        for name in answers:
            assert await guarded.send(_request(port, host=name)) == NotSent("address_refused")


async def test_development_reaches_loopback(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    client = kind(address_allowed=partial(address_allowed, loopback=True))
    answers = {
        "shop.example": ["127.0.0.1"],
        "inside.example": ["10.0.0.1"],
        "both.example": ["127.0.0.1", "10.0.0.1"],  # one address inside refuses the name, whichever would be dialled
    }
    monkeypatch.setattr(socket, "getaddrinfo", _lookup(answers))
    async with _peer(_answering(OK)) as port:
        assert isinstance(await client.send(_request(port)), Answered)
        assert isinstance(await client.send(_request(port, host="shop.example")), Answered)
        for name in ("inside.example", "both.example"):
            assert await client.send(_request(port, host=name)) == NotSent("address_refused")
    await client.close()


def _lookup(answers: dict[str, list[str]]) -> Callable[..., list[tuple[object, ...]]]:
    """A name server that we made up; addresses themselves are looked up as ever."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, family: int = 0, kind: int = 0, *rest: int) -> list[tuple[object, ...]]:
        if host not in answers:
            return list(real(host, port, family, kind, *rest))
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port),
            )
            for address in answers[host]
        ]

    return getaddrinfo


async def test_a_name_server_that_hangs_holds_nothing_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup takes a thread, not the loop; given up, it was not sent."""
    release = threading.Event()
    monkeypatch.setattr(aiohttp_http, "RESOLVE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: release.wait(5))
    async with _peer(_answering(OK)) as port, asyncio.timeout(3):
        hanging = asyncio.create_task(client.send(_request(port, host="hanging.example")))
        assert isinstance(await client.send(_request(port)), Answered)
        assert await hanging == NotSent("dns")
    release.set()


async def test_the_addresses_of_a_name() -> None:
    names = SystemNames()
    assert "127.0.0.1" in await names.addresses_of("localhost")
    for name in ("does-not-exist.invalid", "a..b", "a" * 64):
        with pytest.raises(OSError):
            await names.addresses_of(name)
    names.close()


async def test_everybody_gets_his_own_answer(client: Client) -> None:
    """A connection carries one exchange at a time, however quickly the next one is after it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while body := (await _read_request(reader)).partition(b"\r\n\r\n")[2]:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async def ask(number: int, port: int) -> None:
        for turn in range(20):
            body = b"%d-%d" % (number, turn)
            end = await client.send(HttpRequest("POST", f"http://127.0.0.1:{port}/", {}, body, 5.0))
            assert isinstance(end, Answered)
            assert end.body == body

    async with _peer(echo) as port:
        await asyncio.gather(*(ask(number, port) for number in range(30)))


async def test_an_answer_too_many_is_nobodys(client: Client) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        await _read_request(reader)
        writer.write(b"lies")

    async with _peer(serve) as port:
        for _ in range(2):
            end = await client.send(_request(port))
            assert isinstance(end, Answered)
            assert end.body == b"ok"


async def test_many_exchanges_leave_nothing_open(client: Client) -> None:
    """Connections are reused, and no more are opened than there are exchanges at once."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _answering(OK)(reader, writer)

    async with _peer(serve) as port:
        for _ in range(20):
            ends = await asyncio.gather(*(client.send(_request(port)) for _ in range(10)))
            assert all(isinstance(end, Answered) for end in ends)
    assert connections <= 10


async def test_what_speaks_something_else_from_here_on_is_asked_nothing_more(client: Client) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _answering(switching + OK)(reader, writer)

    async with _peer(serve) as port:
        for _ in range(3):
            end = await client.send(_request(port))
            assert not (isinstance(end, Answered) and 200 <= end.status < 300), "nobody said yes"
    assert connections == 3
