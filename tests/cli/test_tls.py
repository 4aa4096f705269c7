"""TLS of what we serve and of what we call: new certificates without a dropped request, nothing older than TLS 1.2,
nothing unverified, and browsers that are told so. RULES §12."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
import uvloop

from tallystick.cli import serving
from tallystick.cli.serving import Address, serve
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import Answered, HttpRequest, NotSent
from tallystick.ports.http1 import Http1Client
from tallystick.ports.tls import CertificateRefused, ServedCertificate

ASKED = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Services run on uvloop, whose TLS is its own."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


class Files:
    """A certificate's files, and the authority that made what stands in them."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "server.pem", folder / "server-key.pem"
        self.authority = trustme.CA()
        self.issue()

    def issue(self) -> None:
        """Put a new certificate there, the key first, as tools that renew do."""
        issued = self.authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(self.key)
        self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Slow:
    """An application that works on a request at /slow until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/slow":
            self.begun.set()
            await self.may_end.wait()
        await hello(scope, receive, send)


async def hello(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        mine = [(b"Strict-Transport-Security", b"max-age=1")] if scope["path"] == "/mine" else []
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2"), *mine]})
        await send({"type": "http.response.body", "body": b"hi"})


@asynccontextmanager
async def served(port: int, files: Files | None, application: Any = hello) -> AsyncIterator[int]:
    named = {"tls_cert_file": str(files.cert), "tls_key_file": str(files.key)} if files else {}
    task = asyncio.create_task(serve(application, Address("127.0.0.1", port, **named), []))
    async with asyncio.timeout(20):
        while not task.done():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except ConnectionError:
                await asyncio.sleep(0.02)
        yield port
        os.kill(os.getpid(), signal.SIGTERM)
        await task


class Connection:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, port: int, tls: ssl.SSLContext | None) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls))

    async def ask(self, sent: bytes = ASKED) -> bytes:
        self._writer.write(sent)
        head = await self._reader.readuntil(b"\r\n\r\n")
        return head + await self._reader.readexactly(2)

    @property
    def certificate(self) -> bytes:
        certificate: bytes = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return certificate

    def close(self) -> None:
        self._writer.close()


def test_a_new_certificate_is_taken_up_and_open_connections_go_on(
    runner: asyncio.Runner, free_port: int, files: Files
) -> None:
    async def scenario() -> None:
        slow = Slow()
        async with served(free_port, files, slow) as port:
            kept, busy = await Connection.to(port, files.trusting()), await Connection.to(port, files.trusting())
            assert (await kept.ask()).endswith(b"hi")
            first = kept.certificate
            under_way = asyncio.create_task(busy.ask(ASKED.replace(b"/ ", b"/slow ")))
            await slow.begun.wait()

            files.issue()
            os.kill(os.getpid(), signal.SIGHUP)
            await _another_certificate(port, files, first)
            slow.may_end.set()
            assert (await under_way).endswith(b"hi"), "a request that was under way is answered"
            busy.close()
            assert (await kept.ask()).endswith(b"hi"), "an open connection is not dropped"
            assert kept.certificate == first
            kept.close()

    runner.run(scenario())


def test_changed_files_are_noticed_without_a_signal(
    runner: asyncio.Runner, free_port: int, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LOOK_EVERY_S", 0.05)

    async def scenario() -> None:
        async with served(free_port, files) as port:
            before = await _certificate(port, files)
            files.issue()
            await _another_certificate(port, files, before)

    runner.run(scenario())


def test_files_that_do_not_fit_leave_the_old_certificate_serving(
    runner: asyncio.Runner, free_port: int, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key without its certificate, half a file, no file: handshakes go on, and what fits then is taken up."""
    monkeypatch.setattr(serving, "LOOK_EVERY_S", 0.02)
    whole = files.cert.read_bytes()

    async def scenario() -> None:
        async with served(free_port, files) as port:
            before = await _certificate(port, files)
            for broken in (whole[: len(whole) // 2], b"", None, trustme.CA().cert_pem.bytes()):
                with structlog.testing.capture_logs() as logged:
                    _write(files.cert, broken)
                    while not any(line["event"] == "certificate_refused" for line in logged):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                    assert await _certificate(port, files) == before
            files.issue()
            await _another_certificate(port, files, before)

    runner.run(scenario())


def test_files_that_hold_no_certificate_are_refused_at_the_start(tmp_path: Path, files: Files) -> None:
    for cert, key in ((tmp_path / "none", files.key), (files.key, files.key), (files.cert, tmp_path / "none")):
        with pytest.raises(CertificateRefused):
            ServedCertificate(str(cert), str(key))
    other = Files(_folder(tmp_path / "other"))
    with pytest.raises(CertificateRefused):
        ServedCertificate(str(files.cert), str(other.key))


def test_every_answer_tells_browsers_to_come_by_https_alone(
    runner: asyncio.Runner, free_port: int, files: Files
) -> None:
    """Once: a page that says it itself is left alone. By plain HTTP nobody is told, since nobody would listen."""

    async def scenario() -> None:
        async with served(free_port, files) as port:
            connection = await Connection.to(port, files.trusting())
            assert (await connection.ask()).lower().count(b"strict-transport-security: max-age=63072000") == 1
            mine = (await connection.ask(ASKED.replace(b"/ ", b"/mine "))).lower()
            assert mine.count(b"strict-transport-security") == 1
            connection.close()

    runner.run(scenario())

    async def plainly() -> None:
        async with served(free_port, None) as port:
            connection = await Connection.to(port, None)
            assert b"strict-transport" not in (await connection.ask()).lower()
            connection.close()

    runner.run(plainly())


# Old protocols


@contextmanager
def old(context: ssl.SSLContext) -> Iterator[ssl.SSLContext]:
    """A context that speaks TLS 1.1 and nothing newer. Skips loudly where OpenSSL knows it no more."""
    try:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    except (ssl.SSLError, ValueError):
        pytest.skip("TLS 1.1 TESTS SKIPPED: this OpenSSL does not speak it any more, and nobody can be served it")
    yield context


pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")


async def _old_server(files: Files) -> asyncio.Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    with old(context):
        return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)


async def test_tls_1_1_is_not_spoken_by_what_we_call_with(files: Files, tmp_path: Path) -> None:
    """A peer of which a TLS 1.1 client gets an answer gets nothing from us."""
    server = await _old_server(files)
    port = server.sockets[0].getsockname()[1]
    with old(files.trusting()) as context:
        control = await Connection.to(port, context)
        assert (await control.ask()).endswith(b"hi"), "the peer does speak it"
        control.close()
    files.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for client in (AiohttpClient(ca_file=str(tmp_path / "ca.pem")), Http1Client(ca_file=str(tmp_path / "ca.pem"))):
        end = await client.send(HttpRequest("GET", f"https://127.0.0.1:{port}/", {}, b"", 5))
        assert end in (NotSent("tls"), NotSent("connect_failed"))
        await client.close()
    server.close()


def test_tls_1_1_is_not_spoken_by_what_we_serve(runner: asyncio.Runner, free_port: int, files: Files) -> None:
    async def scenario() -> None:
        async with served(free_port, files) as port:
            with old(files.trusting()) as context, pytest.raises((ssl.SSLError, ConnectionError)):
                await Connection.to(port, context)
            newer = files.trusting()
            newer.maximum_version = ssl.TLSVersion.TLSv1_2
            connection = await Connection.to(port, newer)
            assert (await connection.ask()).endswith(b"hi")
            connection.close()

    runner.run(scenario())


async def test_nobody_unverified_is_called(files: Files, tmp_path: Path) -> None:
    """An authority that we do not know, a certificate for somebody else, one whose time is over."""
    files.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    expired = files.authority.issue_cert("127.0.0.1", not_after=datetime(2025, 1, 1, tzinfo=UTC))
    elsewhere = files.authority.issue_cert("pay.example")
    stranger = trustme.CA().issue_cert("127.0.0.1")
    good = files.authority.issue_cert("127.0.0.1")
    for certificate, wanted in ((expired, False), (elsewhere, False), (stranger, False), (good, True)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for client in (AiohttpClient(ca_file=str(tmp_path / "ca.pem")), Http1Client(ca_file=str(tmp_path / "ca.pem"))):
            end = await client.send(HttpRequest("GET", url, {}, b"", 5))
            assert isinstance(end, Answered) if wanted else end == NotSent("tls_certificate")
            await client.close()
        server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
    writer.close()


async def _certificate(port: int, files: Files) -> bytes:
    connection = await Connection.to(port, files.trusting())
    assert (await connection.ask()).endswith(b"hi")
    connection.close()
    return connection.certificate


async def _another_certificate(port: int, files: Files, before: bytes) -> None:
    """Wait until new connections get another one."""
    while await _certificate(port, files) == before:  # noqa: ASYNC110 - it is elsewhere that it changes
        await asyncio.sleep(0.02)


def _write(file: Path, content: bytes | None) -> None:
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
