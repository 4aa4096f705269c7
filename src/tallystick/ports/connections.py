"""A small pool of asyncpg connections.

The driver's own pool makes a task and several proxies for every use and costs as much as a short statement does; ours
hands a connection over and takes it back. It never mends one: a connection that is not certainly in order is ended, and
another is opened when it is needed. `retire` lets all go that are open: what they were opened with is of yesterday.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

Connection = Any  # asyncpg ships no types


class Connections:
    """At most `connections_max` connections, opened by `connect` when needed; the one used last is used first."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], connections_max: int, wait_s: float) -> None:
        assert connections_max >= 1
        self._connect = connect
        self._connections_max = connections_max
        self._wait_s = wait_s
        self._open = 0  # connections that are idle, in use, or being opened
        self._idle: list[Connection] = []
        self._fresh: set[Connection] = set()  # opened since the last `retire`
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._closing = False

    async def take(self) -> Connection:
        """A connection for the caller alone, to be given back or dropped. Raises TimeoutError after `wait_s`, and what
        `connect` raises."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._fresh.discard(connection)
            self._open -= 1  # the server has ended it meanwhile
        if self._open < self._connections_max:
            self._open += 1
            return await self._new()
        return await self._wait() or await self._new()

    def give_back(self, connection: Connection) -> None:
        """The caller has done with a connection that is in order."""
        if connection not in self._fresh or self._closing or connection.is_closed() or connection.is_in_transaction():
            self.drop(connection)
        else:
            self._pass_on(connection)

    def drop(self, connection: Connection) -> None:
        """The caller has done with a connection that may be broken, or in the middle of something."""
        connection.terminate()
        self._fresh.discard(connection)
        self._pass_on(None)

    def retire(self) -> None:
        """Replace every connection that is open: idle ones now, busy ones when they are given back."""
        self._fresh.clear()
        idle, self._idle = self._idle, []
        for connection in idle:
            self.drop(connection)

    async def close(self) -> None:
        """Close what is idle now; what is in use is ended when it is given back."""
        self._closing = True
        idle, self._idle = self._idle, []
        self._open -= len(idle)
        await asyncio.gather(*(connection.close(timeout=self._wait_s) for connection in idle), return_exceptions=True)

    async def _new(self) -> Connection:
        """Open a connection in a place that is already counted."""
        try:
            connection = await self._connect()
        except BaseException:
            self._pass_on(None)
            raise
        self._fresh.add(connection)
        return connection

    async def _wait(self) -> Connection | None:
        """A connection that someone gave back, or None for the place of one that was dropped."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._pass_on(waiter.result())  # it came in the very moment in which we gave up
            raise

    def _pass_on(self, connection: Connection | None) -> None:
        """Give a connection, or the place of one that is gone, to who waits longest; keep it where nobody does."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is None:
            self._open -= 1
        else:
            self._idle.append(connection)
