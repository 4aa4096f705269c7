"""A gateway that answers over real HTTP: an ASGI application on a free port, in a thread with a loop of its own."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import uvicorn
from msgspec import Struct

Application = Callable[..., Awaitable[None]]
Opening = Callable[[str], AbstractAsyncContextManager[Application]]
Serve = Callable[[Opening], AbstractContextManager[str]]
Fields = Sequence[tuple[str, str]] | dict[str, str] | bytes

START_S, STOP_S = 30.0, 15.0


class _Quiet(uvicorn.Server):
    """A server that leaves the test's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def serving(opening: Opening) -> Iterator[str]:
    """The address of the application that `opening(address)` gives; it is opened in the server's own loop."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started, broken = threading.Event(), list[BaseException]()
        stop: list[Callable[[], object]] = []

        async def serve() -> None:
            async with opening(url) as application:
                config = uvicorn.Config(
                    application, log_config=None, access_log=False, lifespan="off", http="httptools"
                )
                server = _Quiet(config)
                loop = asyncio.get_running_loop()
                stop.append(lambda: loop.call_soon_threadsafe(setattr, server, "should_exit", True))
                task = asyncio.create_task(server.serve([listener]))
                while not server.started and not task.done():  # noqa: ASYNC110 - the server has no event to wait for
                    await asyncio.sleep(0.005)
                started.set()
                await task

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                broken.append(error)
            finally:
                started.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert started.wait(START_S), "the server did not start"
        try:
            if not broken:
                yield url
        finally:
            for each in stop:
                each()
            thread.join(STOP_S)
            if broken:
                raise broken[0]
            assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def serve() -> Serve:
    """Serve an application for the length of a `with` block."""
    return serving


class Answer(Struct, frozen=True):
    """What came back: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert list(self.json) == ["error"], "Stripe's envelope"
        error: dict[str, Any] = self.json["error"]
        assert error["message"]
        assert error["type"] in {"api_error", "card_error", "idempotency_error", "invalid_request_error"}
        return error


class Client(Struct, frozen=True):
    """Sends requests as they are given, also those that no SDK would send."""

    url: str
    key: str = ""

    def get(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        return self.send("GET", path, None, headers)

    def post(
        self, path: str, fields: Fields = (), key: str | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Answer:
        """POST a form; `key` is the idempotency key."""
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        keyed = [("Idempotency-Key", key)] if key is not None else []
        return self.send("POST", path, body, [*headers, *keyed])

    def send(self, method: str, path: str, body: bytes | None, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        host, port = self.url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            named = {name.lower() for name, _ in headers}
            if self.key and "authorization" not in named:
                connection.putheader("Authorization", f"Bearer {self.key}")
            if body is not None and "content-length" not in named:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers:
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()


@pytest.fixture
def client() -> type[Client]:
    """Makes clients: `client(url, key)`."""
    return Client
