"""What is measured: a server under load, with a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from benchmarks.load import Job
from benchmarks.processes import Postgres, cpu_s, free_port, load, server
from benchmarks.rounds import Measured

WARM_UP = 300  # requests before the clock starts: connections, prepared statements, warm code


class Work(Protocol):
    """What a server is given to do."""

    requests: str
    """`module:name` of the function that builds the requests, in the load client's process."""
    status: int
    """What every request must be answered with."""

    def prepare(self, count: int) -> Mapping[str, Any]:
        """Make the database ready for `count` requests; gives the arguments of `requests`."""
        ...

    def done(self) -> int:
        """How many requests have left their traces in the database."""
        ...


class HttpSubject:
    """A server and its work. The server runs while it is measured and no longer.

    `command` and `environment` are given the port. `rate_max` says how many requests are made ready for each second.
    """

    def __init__(
        self,
        name: str,
        postgres: Postgres,
        work: Work,
        *,
        command: Callable[[int], Sequence[str]],
        environment: Callable[[int], Mapping[str, str]],
        rate_max: int,
    ) -> None:
        self.name = name
        self._postgres = postgres
        self._work = work
        self._command = command
        self._environment = environment
        self._rate_max = rate_max

    def measure(self, connections: int, seconds: float) -> Measured:
        """Make the database ready, start the server, warm it up, and send for `seconds`."""
        count = int(self._rate_max * seconds) + WARM_UP
        arguments = self._work.prepare(count)
        port = free_port()
        job = Job(
            host="127.0.0.1",
            port=port,
            connections=connections,
            seconds=seconds,
            warm_up=WARM_UP,
            requests=self._work.requests,
            arguments=dict(arguments),
        )
        log = self._postgres.folder / f"{self.name}.log"
        with server(self._command(port), port, self._environment(port), log) as process, load(job) as client:
            before = cpu_s(process.pid), cpu_s(self._postgres.pid)
            result = client.run()
            after = cpu_s(process.pid), cpu_s(self._postgres.pid)
        assert set(result.statuses) == {str(self._work.status)}, f"{self.name} answered {result.statuses}"
        done, answered = self._work.done(), result.answered + WARM_UP
        assert done == answered, f"{self.name} answered {answered} requests and did {done}"
        per_thousand = 1000 / result.answered
        return Measured(
            rate=result.rate,
            p50_ms=result.p50_ms,
            p99_ms=result.p99_ms,
            cpu_s_per_1000={
                "server": (after[0] - before[0]) * per_thousand,
                "postgresql": (after[1] - before[1]) * per_thousand,
                "client": result.cpu_s * per_thousand,
            },
        )
