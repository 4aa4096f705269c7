"""A load client that costs as little as it can: HTTP/1.1 over raw asyncio protocols, requests built beforehand.

Every connection is kept alive and has one request in flight. It runs in a process of its own, so that its CPU time is
told apart:

    python -m benchmarks.load < job.json

It prints `ready` once its requests are built and the warm-up is over, waits for a line on stdin, and prints the result
as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import msgspec
import uvloop

ANSWER_DEADLINE_S = 30.0  # an answer that takes longer is a hang: the run fails and says so


class Job(msgspec.Struct):
    """What to send. `requests` names a function `module:name`; it takes `arguments` and gives the requests as bytes."""

    host: str
    port: int
    connections: int
    seconds: float
    warm_up: int
    requests: str
    arguments: dict[str, Any]


class Result(msgspec.Struct):
    """What came of it. Rates are per second, latencies in milliseconds."""

    answered: int
    seconds: float
    rate: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]
    cpu_s: float


class Exchange(asyncio.Protocol):
    """One kept-alive connection that answers each request with a call of `on_answer(status, head, body)`."""

    def __init__(self, on_answer: Callable[[int, bytes, bytes], None], on_lost: Callable[[Exception], None]) -> None:
        self.on_answer = on_answer
        self.on_lost = on_lost
        self._transport: Any = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: bytes) -> None:
        self._transport.write(request)

    def close(self) -> None:
        self.on_lost = lambda _: None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end_of_head = received.find(b"\r\n\r\n")
        if end_of_head < 0:
            self._received = received
            return
        head = received[:end_of_head]
        end = end_of_head + 4 + content_length(head)
        if len(received) < end:
            self._received = received
            return
        assert len(received) == end, "one request in flight has one answer"
        self._received = b""
        self.on_answer(int(head[9:12]), head, received[end_of_head + 4 : end])

    def connection_lost(self, error: Exception | None) -> None:
        self.on_lost(error or ConnectionResetError("the server closed the connection"))


def content_length(head: bytes) -> int:
    """The body's length that a response head declares; every server measured here declares one."""
    lowered = head.lower()
    place = lowered.find(b"\r\ncontent-length:")
    if place < 0:
        assert lowered[9:12] in (b"204", b"304"), "an answer without content-length"
        return 0
    return int(lowered[place + 17 : place + 40].partition(b"\r\n")[0])


class Flood:
    """Sends requests over all connections, one in flight on each, until the time or the requests are over."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self._idle: list[Exchange] = []
        self._connections = 0
        self._over: asyncio.Future[None]
        self._deadline = 0.0
        self._left = 0

    async def connect(self, host: str, port: int, count: int) -> None:
        loop = asyncio.get_running_loop()
        self._connections = count
        for _ in range(count):
            _, exchange = await loop.create_connection(
                lambda: Exchange(lambda status, head, body: None, self._lost), host, port
            )
            self._idle.append(exchange)

    async def run(self, seconds: float, requests_max: int) -> float:
        """Send for `seconds` or until `requests_max` were sent; gives the seconds until the last answer."""
        self.latencies, self.statuses = [], {}
        self._over = asyncio.get_running_loop().create_future()
        started = perf_counter()
        self._deadline = started + seconds
        self._left = requests_max
        idle, self._idle = self._idle, []
        for exchange in idle:
            self._next(exchange)
        await asyncio.wait_for(self._over, seconds + ANSWER_DEADLINE_S)
        return perf_counter() - started

    def _next(self, exchange: Exchange) -> None:
        now = perf_counter()
        request = next(self._requests, None) if self._left > 0 and now < self._deadline else None
        if request is None:
            self._idle.append(exchange)
            if len(self._idle) == self._connections and not self._over.done():
                self._over.set_result(None)
            return
        self._left -= 1

        def on_answer(status: int, head: bytes, body: bytes) -> None:
            self.latencies.append(perf_counter() - now)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self._next(exchange)

        exchange.on_answer = on_answer
        exchange.send(request)

    def _lost(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def close(self) -> None:
        for exchange in self._idle:
            exchange.close()


class Client:
    """One kept-alive connection for a conversation: `status, head, body = await client.send(request)`."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[tuple[int, bytes, bytes]]] = deque()
        self._exchange = Exchange(self._answered, self._lost)
        self.lost = False  # servers close what was idle for a while

    @classmethod
    async def connect(cls, host: str, port: int, ssl: Any = None) -> Client:
        client = cls()
        await asyncio.get_running_loop().create_connection(lambda: client._exchange, host, port, ssl=ssl)
        return client

    async def send(self, request: bytes) -> tuple[int, bytes, bytes]:
        answer: asyncio.Future[tuple[int, bytes, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._exchange.send(request)
        return await answer

    def close(self) -> None:
        self._exchange.close()

    def _answered(self, status: int, head: bytes, body: bytes) -> None:
        self._waiting.popleft().set_result((status, head, body))

    def _lost(self, error: Exception) -> None:
        self.lost = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(error)


def percentile_ms(latencies: Sequence[float], share: float) -> float:
    """The latency, in milliseconds, that `share` of all did not exceed; `latencies` are seconds, sorted."""
    return round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 3) if latencies else 0.0


async def flood(job: Job) -> Result:
    """Run `job`; see the module's text for what is printed meanwhile."""
    module, _, name = job.requests.partition(":")
    requests: list[bytes] = getattr(importlib.import_module(module), name)(**job.arguments)
    load = Flood(iter(requests))
    await load.connect(job.host, job.port, job.connections)
    await load.run(job.seconds, job.warm_up)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    cpu_before = own_cpu_s()
    seconds = await load.run(job.seconds, len(requests))
    cpu_s = own_cpu_s() - cpu_before
    load.close()
    latencies = sorted(load.latencies)
    return Result(
        answered=len(latencies),
        seconds=seconds,
        rate=len(latencies) / seconds,
        p50_ms=percentile_ms(latencies, 0.50),
        p99_ms=percentile_ms(latencies, 0.99),
        statuses={str(status): count for status, count in load.statuses.items()},
        cpu_s=cpu_s,
    )


def own_cpu_s() -> float:
    """CPU seconds of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Read the job from the first line of stdin, run it, print the result."""
    job = msgspec.json.decode(sys.stdin.readline(), type=Job)
    result = uvloop.run(flood(job))
    print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    main()
