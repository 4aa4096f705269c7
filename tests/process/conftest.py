"""Real processes: started as a user starts them, looked at from outside."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.database import SESSION_SETTINGS
from tallystick.ports.http import Answered, HttpRequest
from tallystick.ports.synchronous import SynchronousConnection
from tallystick.simulation.audit import audit

START_S = 120.0  # for a stack on a machine that does other things too; the usual time is a fraction of it
COMMAND_S = 120.0
PORTS_FROM, PORTS_OF_A_DEMO, DEMOS = 10_240, 8, 2_600  # up to 31,040


class Running:
    """A `tallystick` process that stays."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        """The next line that it prints on stdout, as JSON."""
        assert self.process.stdout is not None
        text = await asyncio.wait_for(self.process.stdout.readline(), START_S)
        assert text, f"it ended with {await self.process.wait()}: {(await self.rest())[1]}"
        read: dict[str, Any] = json.loads(text)
        return read

    async def rest(self) -> tuple[str, str]:
        """Everything that it still prints on stdout and stderr until it ends."""
        out, error = await asyncio.wait_for(self.process.communicate(), COMMAND_S)
        return out.decode(), error.decode()

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 30)

    def descendants(self) -> dict[int, str]:
        """The processes below it, each with its command line."""
        found: dict[int, str] = {}
        parents = dict(_parents())
        for pid in parents:
            above = pid
            while above in parents and above != self.process.pid:
                above = parents[above]
            if above == self.process.pid and pid != above:
                found[pid] = _command_line(pid)
        return found

    def pid_of(self, words: str) -> int:
        """The process below it whose command line ends with `words`."""
        return next(pid for pid, line in self.descendants().items() if line.endswith(words))


class Processes:
    """What tests do with processes."""

    def __init__(self, http: AiohttpClient) -> None:
        self._http = http

    @asynccontextmanager
    async def running(
        self, *arguments: str, environment: dict[str, str] | None = None, log: Path | None = None
    ) -> AsyncIterator[Running]:
        """`tallystick` with these arguments and no other settings, killed at the end if it still runs. `log` is the
        file to which it writes what it says; a pipe, where there is none, is not for one that says much."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_")}
        with contextlib.ExitStack() as opened:
            said = opened.enter_context(log.open("ab")) if log is not None else asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tallystick", *arguments),
                env=inherited | (environment or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()

    async def command(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """What a command that ends prints on stdout; it must end with 0."""
        async with self.running(*arguments, environment=environment) as started:
            out, error = await started.rest()
            assert started.process.returncode == 0, error
            return out

    async def json(self, *arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
        """The JSON that such a command prints."""
        read: dict[str, Any] = json.loads(await self.command(*arguments, "--json", environment=environment))
        return read

    async def answer(self, request: HttpRequest, http: AiohttpClient | None = None) -> Answered:
        """An answer, asked for again while nobody listens."""
        async with asyncio.timeout(START_S):
            while True:
                answer = await (http or self._http).send(request)
                if isinstance(answer, Answered):
                    return answer
                await asyncio.sleep(0.05)

    async def until(self, true: Callable[[], bool], within_s: float) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110 - what is awaited is a process, which sets no event
                await asyncio.sleep(0.02)

    def broken_rules(self, gateway_dsn: str, merchant_dsn: str, at: datetime) -> list[str]:
        """What the invariants say of both halves, the same as the simulation is judged by. RULES §14."""
        gateway, merchant = (SynchronousConnection(dsn, SESSION_SETTINGS) for dsn in (gateway_dsn, merchant_dsn))
        try:
            return [str(violation) for violation in audit(gateway, merchant, at)]
        finally:
            gateway.close()
            merchant.close()

    def alive(self, pid: int) -> bool:
        """Whether the process runs; one that ended and waits for its parent to notice does not."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def free_ports(self, count: int) -> list[int]:
        """Ports on 127.0.0.1 that nobody listened on a moment ago, each with as many free behind it as a demo takes.

        They lie below those that the system hands out: one of these may be somebody's before it is taken here.
        """
        found: list[int] = []
        while len(found) < count:
            first = PORTS_FROM + PORTS_OF_A_DEMO * secrets.randbelow(DEMOS)
            if first not in found and all(_is_free(first + each) for each in range(PORTS_OF_A_DEMO)):
                found.append(first)
        return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture
def processes(http: AiohttpClient) -> Processes:
    """Starts processes as a user does."""
    return Processes(http)


def _parents() -> list[tuple[int, int]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.append((int(entry.name), int(fields[1])))
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
