"""One service as one process: it listens safely, ends with its workers, and does not wait for strangers for ever."""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tallystick.cli import http_protocol
from tallystick.cli.serving import Address, CannotListen, NotSecure, Worker, check_secure, serve, work

Serving = Callable[..., Any]


async def hello(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})


@pytest.fixture
def serving(free_port: int) -> Serving:
    """Serves `hello` in this process; SIGTERM at the end, as a supervisor sends it."""

    @asynccontextmanager
    async def serving(*workers: Worker, **tls: str) -> AsyncIterator[int]:
        address = Address("127.0.0.1", free_port, **tls)
        task = asyncio.create_task(serve(hello, address, workers))
        async with asyncio.timeout(10):
            while not task.done():
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", free_port)
                    writer.close()
                    break
                except ConnectionError:
                    await asyncio.sleep(0.02)
            yield free_port
            if not task.done():
                os.kill(os.getpid(), signal.SIGTERM)
            await task

    return serving


async def _exchange(port: int, sent: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """What the server answers until it closes."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1" if tls else None
    )
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 8)
    writer.close()
    return answer


ASKED = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def test_it_serves_and_sigterm_ends_it_with_its_workers(serving: Serving) -> None:
    ended = asyncio.Event()

    async def worker() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(worker) as port:
        assert (await _exchange(port, ASKED)).endswith(b"hi")
    assert ended.is_set()


async def test_a_worker_that_fails_ends_the_process_with_its_error(serving: Serving) -> None:
    async def worker() -> None:
        await asyncio.sleep(0.3)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        async with serving(worker):
            await asyncio.sleep(0.5)
    with pytest.raises(RuntimeError, match="broken"):
        await work([worker])


async def test_https(serving: Serving, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    file = str(tmp_path / "server.pem")
    async with serving(tls_cert_file=file, tls_key_file=file) as port:
        assert (await _exchange(port, ASKED, trusting)).endswith(b"hi")


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=str(port)):
            await serve(hello, Address("127.0.0.1", port), [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "pay.example", ""])
def test_plain_http_beyond_loopback_is_refused(host: str) -> None:
    """RULES §12."""
    with pytest.raises(NotSecure):
        check_secure(Address(host, 80))
    check_secure(Address(host, 443, "cert.pem", "key.pem"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_plain_http_on_loopback_is_served(host: str) -> None:
    check_secure(Address(host, 80))
    with pytest.raises(NotSecure):
        check_secure(Address(host, 443, "cert.pem"))


async def test_a_head_that_never_ends_is_cut_off_by_size(serving: Serving) -> None:
    async with serving() as port:
        head = b"GET / HTTP/1.1\r\n" + b"x-much: " + b"a" * 2 * http_protocol.HEAD_BYTES_MAX
        assert (await _exchange(port, head)).startswith(b"HTTP/1.1 431 ")
        assert (await _exchange(port, ASKED)).endswith(b"hi")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_come_is_cut_off_in_time(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_DEADLINE_S", 0.2)
    async with serving() as port:
        assert (await _exchange(port, sent)).startswith(b"HTTP/1.1 408 ")


async def test_the_second_request_of_a_connection_has_a_deadline_too(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_DEADLINE_S", 0.3)
    async with serving() as port:
        answered = await _exchange(port, b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\n")
        assert answered.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in answered


async def test_an_upgrade_that_is_not_spoken_is_answered_as_it_is(serving: Serving) -> None:
    asked = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
        writer.close()
