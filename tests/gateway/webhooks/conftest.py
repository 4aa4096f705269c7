"""A merchant's receiver as the network shows it, an account with endpoints, and a clock that can be moved on."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tallystick.gateway.webhooks.events import Happening, record
from tallystick.gateway.webhooks.worker import dispatcher
from tallystick.kernel.delivery.protocol import Limits
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.http import Http
from tallystick.ports.http1 import Http1Client

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PATIENCE_S = 10.0

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Received:
    """One request as it arrived."""

    def __init__(self, head: bytes, body: bytes, at: datetime) -> None:
        lines = head.decode().split("\r\n")
        self.path = lines[0].split(" ")[1]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.body = body
        self.at = at

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Receives webhooks on loopback and answers as told, at first with 200."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[Write] = []  # taken one by one; when none is left, `always` answers
        self.always: Write = self.answer(200)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        return [request.id for request in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.received.append(Received(head, body, datetime.now(UTC)))
                await (self.answers.pop(0) if self.answers else self.always)(writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    def answer(status: int, body: bytes = b"", **headers: str) -> Write:
        """An answer with this status."""

        async def write(writer: asyncio.StreamWriter) -> None:
            lines = [f"HTTP/1.1 {status} Status", f"content-length: {len(body)}"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

        return write

    @staticmethod
    async def hang(writer: asyncio.StreamWriter) -> None:
        """No answer."""
        await asyncio.sleep(60)

    @staticmethod
    async def reset(writer: asyncio.StreamWriter) -> None:
        """The connection is cut."""
        writer.transport.abort()

    @staticmethod
    async def drip(writer: asyncio.StreamWriter) -> None:
        """200, and then a body that does not come to its end."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.02)

    @staticmethod
    async def flood(writer: asyncio.StreamWriter) -> None:
        """200, and then a body without end."""
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"y" * 65536)
            await writer.drain()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as there:
        yield there


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """One more receiver."""
    there = Receiver()
    tasks: set[asyncio.Task[Any]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(there.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    yield there
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class MovableClock(SystemClock):
    """The machine's clock, moved on by what the test says; waits take as long as ever."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


class Bench:
    """An account with endpoints in a fresh database, and dispatchers that deliver to them."""

    def __init__(self, dsn: str, database: Database, http: Http) -> None:
        self.dsn = dsn
        self.database = database
        self.http = http
        self.clock = MovableClock()
        self.entropy = SystemEntropy()
        self.limits = Limits()
        self.sql("INSERT INTO account (account_id, name, created_at) VALUES ('acct_a', 'Shop', $1)", self.clock.now())

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and give its rows."""
        with psycopg.connect(self.dsn) as connection, psycopg.RawCursor(connection) as cursor:
            cursor.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def endpoint(
        self, id: str, url: str, *, secrets: Sequence[str] = (SECRET,), delays_s: Sequence[int] | None = None
    ) -> None:
        """An enabled endpoint that wants every event."""
        self.sql(
            "INSERT INTO webhook_endpoint"
            " (account_id, livemode, id, url, status, enabled_events, secrets, retry_delays_s, created_at)"
            " VALUES ('acct_a', false, $1, $2, 'enabled', '{*}', $3, $4, $5)",
            id,
            url,
            list(secrets),
            None if delays_s is None else list(delays_s),
            self.clock.now(),
        )

    def limit(self, **limits: Any) -> None:
        """Other limits for dispatchers made from now on."""
        self.limits = Limits(**limits)

    receiving = staticmethod(receiving)

    async def happen(self, count: int = 1) -> list[str]:
        """`count` events, committed."""
        happenings = [
            Happening("acct_a", False, "charge.updated", "ch_1", {"id": "ch_1", "n": n}) for n in range(count)
        ]
        async with self.database.transaction() as tx:
            return (await record(tx, happenings, at=self.clock.now(), entropy=self.entropy)).ids

    def dispatcher(self, database: Database | None = None, http: Http | None = None) -> Dispatcher:
        """A dispatcher on these rows, not started."""
        return dispatcher(
            database or self.database, http or self.http, self.clock, self.entropy, self.limits, poll_s=0.01
        )

    @asynccontextmanager
    async def running(self, *dispatchers: Dispatcher) -> AsyncIterator[None]:
        """Dispatchers at work; stopped at the end as a service stops them. One of its own where none is given."""
        tasks = [asyncio.create_task(one.run()) for one in dispatchers or (self.dispatcher(),)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(ended, asyncio.CancelledError), ended

    def states(self) -> list[tuple[Any, ...]]:
        """State, tries and reason of every delivery, in the order of events and endpoints."""
        return self.sql("SELECT state, tries, reason FROM delivery ORDER BY message, endpoint")

    def attempts(self) -> list[tuple[Any, ...]]:
        """Status and reason of every try, in order."""
        return self.sql("SELECT status, reason FROM delivery_attempt ORDER BY delivery, number")

    async def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait until `condition` holds; fail when it does not in time."""
        async with asyncio.timeout(patience_s):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in the database
                await asyncio.sleep(0.01)

    async def until_states(self, *states: tuple[Any, ...]) -> None:
        """Wait until the deliveries are these."""
        try:
            await self.until(lambda: self.states() == list(states))
        except TimeoutError:
            assert self.states() == list(states)


@pytest.fixture
async def bench(gateway_dsn: str, gateway_database: Database) -> AsyncIterator[Bench]:
    http = Http1Client()
    yield Bench(gateway_dsn, gateway_database, http)
    await http.close()
