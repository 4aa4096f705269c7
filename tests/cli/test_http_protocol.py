"""What strangers can do with a connection: the protocol itself, over a transport that notes what is done with it and
timers that go off when the test says so.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tallystick.cli import http_protocol
from tallystick.cli.direct_protocol import DirectProtocol
from tallystick.cli.http_protocol import LimitedProtocol
from tallystick.kernel.service import Answer, Direct

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"POST /%b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
LONG = b"POST /%b HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"


class Transport(asyncio.Transport):
    """Notes what is written, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.end = ""
        self.lost: Callable[[None], None] = lambda _: None

    def write(self, data: Any) -> None:
        assert not self.end, "nothing is written to what is closed"
        self.said += data

    def close(self) -> None:
        self._ended("closed")

    def abort(self) -> None:
        self._ended("aborted")

    def _ended(self, how: str) -> None:
        if not self.end:
            self.end = how
            asyncio.get_running_loop().call_soon(self.lost, None)

    def is_closing(self) -> bool:
        return bool(self.end)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Timers:
    """The loop, but for its timers: they are kept, in the order in which they were set."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        timer = self._loop.call_later(delay_s + 3600, callback)
        self._set.append(timer)
        return timer

    def go_off(self) -> None:
        """All that are set now."""
        due, self._set = [timer for timer in self._set if not timer.cancelled()], []
        for timer in due:
            timer._run()
            timer.cancel()


class Guest:
    """A connection to an application that reads a body for paths below `/read`, answers when it may, and remembers the
    headers."""

    def __init__(self, direct: Direct | None = None) -> None:
        self.transport, self.timers = Transport(), Timers()
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        config = uvicorn.Config(
            self.application, http=LimitedProtocol, ws="none", lifespan="off", log_config=None, interface="asgi3"
        )
        config.load()
        protocol: Any = LimitedProtocol if direct is None else DirectProtocol
        named: dict[str, Any] = {} if direct is None else {"direct": direct}
        self.protocol = protocol(config=config, server_state=ServerState(), app_state={}, _loop=self.timers, **named)
        self.transport.lost = self.protocol.connection_lost
        self.protocol.connection_made(self.transport)

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        more = scope["path"].startswith("/read")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message["more_body"]
        self.headers.append(list(scope["headers"]))
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            if not self.transport.end:
                self.protocol.data_received(part)
            await self.turns()

    async def turns(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def answers(self) -> list[bytes]:
        """The statuses that were written."""
        return [part[:3] for part in self.transport.said.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture(params=["uvicorn's way", "beside the short way"])
def guest(request: pytest.FixtureRequest) -> Callable[[], Guest]:
    direct = Direct(b"/hot/", lambda *_: False) if request.param == "beside the short way" else None
    return lambda: Guest(direct)


async def test_trailers_are_no_headers(guest: Callable[[], Guest]) -> None:
    """A proxy that sets `X-Forwarded-For`, or takes away a header, need not look at what comes behind the body."""
    one = guest()
    await one.say(CHUNKED % b"read" + b"1\r\na\r\n0\r\nx-forwarded-for: 192.0.2.1\r\nauthorization: Bearer x\r\n\r\n")
    assert one.answers == [b"200"]
    assert [name for name, _ in one.headers[0]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("path", [b"answered-at-once", b"read", b"hot/x"])
@pytest.mark.parametrize("trailer", [b"x-a: b\r\n", b"a"], ids=["many", "one without end"])
async def test_trailers_have_an_end(guest: Callable[[], Guest], path: bytes, trailer: bytes) -> None:
    one = guest()
    await one.say(CHUNKED % path + b"1\r\na\r\n0\r\n", *[trailer * 1_000] * 40)
    assert one.transport.end
    assert len(one.headers) == (path != b"read")


async def test_a_chunk_that_says_more_of_itself_than_a_head_may_is_refused(guest: Callable[[], Guest]) -> None:
    one = guest()
    await one.say(CHUNKED % b"read" + b"1;", *[b"a" * 10_000] * 4)
    assert one.transport.end
    assert one.answers == [b"431"]


async def test_a_body_that_does_not_come_is_waited_for_so_long_and_no_longer(guest: Callable[[], Guest]) -> None:
    for path in (b"read", b"hot/x"):
        one = guest()
        await one.say(LONG % b"read" + b"a", b"b")
        assert not one.transport.end
        one.timers.go_off()
        assert (one.answers, one.transport.end) == ([b"408"], "closed"), path


async def test_a_body_that_nobody_reads_is_not_waited_for_either(guest: Callable[[], Guest]) -> None:
    one = guest()
    await one.say(LONG % b"answered-at-once" + b"a")
    assert one.answers == [b"200"]
    await one.say(*[b"b" * 64 * 1024] * 2)
    one.timers.go_off()
    assert (one.answers, one.transport.end) == ([b"200"], "aborted")


async def test_a_long_body_may_take_its_time_while_it_moves(guest: Callable[[], Guest]) -> None:
    one = guest()
    await one.say(LONG % b"read")
    for _ in range(10):
        await one.say(b"a" * http_protocol.BODY_BYTES_MIN)
        one.timers.go_off()
        assert not one.transport.end
    await one.say(b"a" * (1_000_000 - 10 * http_protocol.BODY_BYTES_MIN), GET)
    assert one.answers == [b"200", b"200"]


async def test_requests_may_come_behind_one_another_but_not_without_end(guest: Callable[[], Guest]) -> None:
    one = guest()
    one.may_answer.clear()
    await one.say(GET * (1 + http_protocol.PIPELINED_MAX))
    one.may_answer.set()
    for _ in range(1 + http_protocol.PIPELINED_MAX):
        await one.turns()
    assert one.answers == [b"200"] * (1 + http_protocol.PIPELINED_MAX)
    one.may_answer.clear()
    await one.say(GET * 10_000)
    assert one.transport.end == "aborted"
    assert len(one.protocol.pipeline) <= http_protocol.PIPELINED_MAX


async def test_a_refusal_is_not_said_where_an_earlier_request_waits_for_its_answer(
    guest: Callable[[], Guest],
) -> None:
    """Whoever sent an order, and then half a request, must not take the refusal of this for the order's."""
    one = guest()
    one.may_answer.clear()
    await one.say(GET, b"GET / HTTP/1.1\r\n")
    one.timers.go_off()
    assert (one.answers, one.transport.end) == ([], "aborted")


async def test_who_does_not_read_is_left(guest: Callable[[], Guest]) -> None:
    one = guest()
    await one.say(GET)
    one.protocol.pause_writing()
    one.protocol.resume_writing()
    one.timers.go_off()  # the wait for another request
    assert one.transport.end == "closed"
    other = guest()
    other.may_answer.clear()
    await other.say(GET)
    other.protocol.pause_writing()
    other.timers.go_off()
    end = other.transport.end
    other.protocol.resume_writing()  # else the server waits with us
    assert end == "aborted"


async def test_the_short_way_is_not_held_up() -> None:
    taken: list[bytes] = []

    def begin(_: str, __: object, body: bytes, answer: Callable[[Answer], None]) -> bool:
        taken.append(body)
        answer(Answer(200, ((b"content-length", b"0"),), b""))
        return True

    one = Guest(Direct(b"/hot/", begin))
    await one.say(*[b"POST /hot/x HTTP/1.1\r\nhost: x\r\ncontent-length: 40000\r\n\r\n" + b"a" * 40_000] * 3)
    assert (taken, one.answers) == ([b"a" * 40_000] * 3, [b"200"] * 3)
