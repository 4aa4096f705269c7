"""The short way past ASGI: usual requests take it, all others are answered as ever, and nobody sees a difference."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tallystick.cli.serving import Address, serve
from tallystick.kernel.service import Answer, Direct, RawHeaders

TAKEN = Answer(200, ((b"content-length", b"5"),), b"short")


class Hot:
    """A hot path that tells which way each request took. It answers at once, or when it is told to."""

    def __init__(self) -> None:
        self.ways: list[tuple[str, str, bytes]] = []
        self.wants = True
        self.waiting: list[Callable[[Answer], None]] | None = None
        self.taken = asyncio.Event()

    def begin(self, name: str, headers: RawHeaders, body: bytes, answer: Callable[[Answer], None]) -> bool:
        if not self.wants:
            return False
        self.ways.append(("short", name, body))
        if self.waiting is None:
            asyncio.get_running_loop().call_soon(answer, TAKEN)
        else:
            self.waiting.append(answer)
            self.taken.set()
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message.get("more_body", False)
        self.ways.append(("long", scope["path"].removeprefix("/hot/"), body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"long"})


@asynccontextmanager
async def serving(hot: Hot, port: int, **tls: str) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(serve(hot, Address("127.0.0.1", port, **tls), [], direct=Direct(b"/hot/", hot.begin)))
    async with asyncio.timeout(15):
        while not task.done():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except ConnectionError:
                await asyncio.sleep(0.02)
        yield task
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await task


def post(name: str, body: bytes, *more: bytes, version: bytes = b"1.1") -> bytes:
    head = [b"POST /hot/%b HTTP/%b" % (name.encode(), version), b"host: x", b"content-length: %d" % len(body), *more]
    return b"\r\n".join([*head, b"", body])


class Line:
    """A connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None) -> "Line":
        name = "127.0.0.1" if tls else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    async def answer(self) -> tuple[bytes, bytes]:
        """The next answer: its head and its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b" 100 " in head:
            return head, b""
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head, await self.reader.readexactly(length)

    async def ask(self, request: bytes) -> bytes:
        self.writer.write(request)
        return (await self.answer())[1]


async def test_a_usual_request_goes_the_short_way_again_and_again(free_port: int) -> None:
    hot = Hot()
    async with serving(hot, free_port):
        line = await Line.open(free_port)
        line.writer.write(post("one", b"1"))
        head, body = await line.answer()
        assert (head.startswith(b"HTTP/1.1 200 OK\r\ndate: "), body) == (True, b"short")
        assert await line.ask(post("two", b"2")) == b"short"
        assert await line.ask(b"POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n") == b"long"
        chunked = b"POST /hot/four HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        assert await line.ask(chunked + b"1\r\n4\r\n2\r\n44\r\n0\r\n\r\n") == b"short"
    assert hot.ways == [
        ("short", "one", b"1"),
        ("short", "two", b"2"),
        ("long", "/other", b""),
        ("short", "four", b"444"),
    ]


async def test_a_body_that_comes_later_goes_the_long_way(free_port: int) -> None:
    hot = Hot()
    async with serving(hot, free_port):
        line = await Line.open(free_port)
        request = post("slow", b"in two parts")
        line.writer.write(request[:-5])
        await asyncio.sleep(0.1)
        assert hot.ways == []
        assert await line.ask(request[-5:]) == b"long"
        assert await line.ask(post("quick", b"")) == b"short"
    assert hot.ways == [("long", "slow", b"in two parts"), ("short", "quick", b"")]


async def test_what_is_not_wanted_goes_the_long_way_whole(free_port: int) -> None:
    hot = Hot()
    hot.wants = False
    async with serving(hot, free_port):
        line = await Line.open(free_port)
        assert await line.ask(post("one", b"the body")) == b"long"
    assert hot.ways == [("long", "one", b"the body")]


@pytest.mark.parametrize(
    "request_",
    [
        post("x", b"1", b"connection: close"),
        post("x", b"1", version=b"1.0"),
        post("x", b"1").replace(b"POST", b"PUT"),
        post("x", b"1", b"connection: upgrade", b"upgrade: websocket"),
    ],
)
async def test_unusual_requests_go_the_long_way(free_port: int, request_: bytes) -> None:
    hot = Hot()
    async with serving(hot, free_port):
        assert await (await Line.open(free_port)).ask(request_) == b"long"


async def test_who_asks_whether_to_go_on_is_told_to(free_port: int) -> None:
    hot = Hot()
    async with serving(hot, free_port):
        line = await Line.open(free_port)
        request = post("x", b"1", b"expect: 100-continue")
        line.writer.write(request[:-1])
        assert (await line.answer())[0].startswith(b"HTTP/1.1 100 ")
        assert await line.ask(request[-1:]) == b"long"


async def test_requests_behind_one_another_are_answered_in_their_order(free_port: int) -> None:
    hot = Hot()
    hot.waiting = []
    async with serving(hot, free_port):
        line = await Line.open(free_port)
        line.writer.write(post("first", b"1") + post("second", b"2") + post("third", b"3"))
        await hot.taken.wait()
        await asyncio.sleep(0.1)
        assert hot.ways == [("short", "first", b"1")], "the others wait for it"
        hot.waiting.pop()(TAKEN)
        assert [(await line.answer())[1] for _ in range(3)] == [b"short", b"long", b"long"]
    assert [name for _, name, _ in hot.ways] == ["first", "second", "third"]


async def test_a_request_under_way_is_answered_when_the_server_ends(free_port: int) -> None:
    hot = Hot()
    hot.waiting = []
    async with serving(hot, free_port) as task:
        line = await Line.open(free_port)
        line.writer.write(post("last", b"1"))
        await hot.taken.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert not task.done()
        hot.waiting.pop()(TAKEN)
        head, body = await line.answer()
        assert (b"connection: close" in head, body) == (True, b"short")
        assert await line.reader.read() == b""
        await task


async def test_a_sender_that_hung_up_harms_nobody(free_port: int) -> None:
    hot = Hot()
    hot.waiting = []
    async with serving(hot, free_port):
        line = await Line.open(free_port)
        line.writer.write(post("gone", b"1"))
        await hot.taken.wait()
        line.writer.transport.abort()
        await asyncio.sleep(0.1)
        hot.waiting.pop()(TAKEN)
        hot.waiting = None
        assert await (await Line.open(free_port)).ask(post("next", b"2")) == b"short"


async def test_nonsense_behind_a_usual_head_is_refused(free_port: int) -> None:
    hot = Hot()
    async with serving(hot, free_port):
        line = await Line.open(free_port)
        line.writer.write(b"POST /hot/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n")
        assert (await line.answer())[0].startswith(b"HTTP/1.1 400 ")
    assert hot.ways == []


async def test_by_tls(free_port: int, tmp_path: Path) -> None:
    authority = trustme.CA()
    file = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    hot = Hot()
    async with serving(hot, free_port, tls_cert_file=str(file), tls_key_file=str(file)):
        line = await Line.open(free_port, trusting)
        assert await line.ask(post("one", b"1" * 3000)) == b"short"
