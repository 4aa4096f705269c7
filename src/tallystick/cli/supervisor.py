"""Keeps the processes of a one-machine installation running: `tallystick serve` and `tallystick demo`.

Starts them, waits until they answer, starts again within a second what dies and says so, stops them in reverse order.
What does not stay up for a minute is told to people: a service that is gone as a whole can tell nobody itself.
What it started ends with it in every case, also when it is killed with SIGKILL (see `tether`).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from tallystick.cli import tether
from tallystick.ports.alerts import AppriseAlerts, LastingAlerts
from tallystick.ports.clock import Clock
from tallystick.ports.http import Answered, Http, HttpRequest

READY_WITHIN_S = 60.0  # a service that does not answer by then will not; generous for a machine that is very busy
READY_POLL_S = 0.05  # how soon after its first answer a service counts as ready
READY_DEADLINE_S = 2.0  # for one question whether it is ready
STOP_WITHIN_S = 10.0  # for open requests to end after SIGTERM; then SIGKILL
STEADY_S = 3.0  # what has lived this long is started again at once when it dies
RESTART_FIRST_S = 0.2  # pause before what died young is started again; doubled each time …
RESTART_MAX_S = 5.0  # … up to this
FALLEN_S = 60.0  # of dying again and again: then people are told, and told again once it has lived as long
LOG_BYTES_MAX = 16 * 1024 * 1024  # a log file that is larger when its program starts is set aside
LAST_LINES = 15  # of a log that are shown when a program did not start


class Program(Struct, frozen=True):
    """A process to keep running. `ready_url` answers 200 once it is ready; without `log_file` it writes to stderr."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready_url: str | None = None
    log_file: Path | None = None


class NotStarted(Exception):
    """A program ended, or did not answer, before it was ready. The text says which and shows the end of its log."""


class Supervisor:
    """Starts programs, keeps them running, stops them. `say` is told, in a sentence, what happens to them; `alerts`
    tell people of what does not stay up."""

    def __init__(
        self, *, clock: Clock, http: Http, say: Callable[[str], None], alerts: LastingAlerts | None = None
    ) -> None:
        self._clock = clock
        self._http = http
        self._say = say
        self._alerts = alerts or AppriseAlerts()
        self._kept: list[_Kept] = []

    async def start(self, *programs: Program) -> None:
        """Start `programs` together, wait until all are ready, keep them running from then on.

        Raises NotStarted; then the caller stops what did start.
        """
        started = [_Kept(program) for program in programs]
        self._kept += started
        await asyncio.gather(*(self._launch(kept) for kept in started))
        await asyncio.gather(*(self._until_ready(kept) for kept in started))
        for kept in started:
            kept.task = asyncio.create_task(self._keep(kept), name=f"keep {kept.program.name}")

    def pid_of(self, name: str) -> int:
        """The process id of the program `name` as it runs now."""
        return next(kept.process.pid for kept in self._kept if kept.program.name == name and kept.process is not None)

    async def stop(self) -> None:
        """Stop everything, what was started last first. Returns when no process is left."""
        for kept in reversed(self._kept):
            if kept.task is not None:
                kept.task.cancel()
                await asyncio.gather(kept.task, return_exceptions=True)
            if kept.process is not None:
                await self._end(kept.process)
        self._kept.clear()

    async def _launch(self, kept: "_Kept") -> None:
        program = kept.program
        log = _open_log(program.log_file) if program.log_file else None
        try:
            kept.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *program.command),
                env=dict(program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log if log is not None else sys.stderr.fileno(),
                stderr=log if log is not None else sys.stderr.fileno(),
            )
        finally:
            if log is not None:
                os.close(log)
        kept.started_s = self._clock.monotonic_s()

    async def _until_ready(self, kept: "_Kept") -> None:
        program, process = kept.program, kept.process
        assert process is not None, "launched before"
        give_up_s = self._clock.monotonic_s() + READY_WITHIN_S
        while self._clock.monotonic_s() < give_up_s:
            if process.returncode is not None:
                raise NotStarted(f"{program.name} {_ending(process.returncode)}{_last_lines(program.log_file)}")
            if program.ready_url is None or await self._answers(program.ready_url):
                return
            await self._clock.sleep(READY_POLL_S)
        raise NotStarted(f"{program.name} was not ready within {READY_WITHIN_S:.0f} s{_last_lines(program.log_file)}")

    async def _answers(self, url: str) -> bool:
        answer = await self._http.send(HttpRequest("GET", url, {}, b"", READY_DEADLINE_S))
        return isinstance(answer, Answered) and answer.status == 200

    async def _keep(self, kept: "_Kept") -> None:
        """Wait for the program's end and start it again, for ever."""
        pause_s = 0.0
        while True:
            assert kept.process is not None, "started before it is kept"
            ending = _ending(await self._end_of(kept, kept.process))
            steady = self._clock.monotonic_s() - kept.started_s >= STEADY_S
            pause_s = 0.0 if steady else min(max(2 * pause_s, RESTART_FIRST_S), RESTART_MAX_S)
            self._say(f"{kept.program.name} {ending}: starting it again")
            await self._tell_fallen(kept, ending)
            await self._clock.sleep(pause_s)
            while True:
                try:
                    await self._launch(kept)
                    break
                except OSError as error:  # no memory, no process table entry: it may be better in a moment
                    self._say(f"{kept.program.name} cannot be started: {error}")
                    await self._clock.sleep(RESTART_MAX_S)

    async def _end_of(self, kept: "_Kept", process: asyncio.subprocess.Process) -> int:
        """Wait for the process' end; what was falling has risen once it has lived for long."""
        if kept.falling_since_s is not None:
            try:
                return await asyncio.wait_for(process.wait(), FALLEN_S)
            except TimeoutError:
                kept.falling_since_s = None
            if kept.told:
                kept.told = not await self._alerts.tell_over(_title(kept), "Over: it stays up.")
        return await process.wait()

    async def _tell_fallen(self, kept: "_Kept", ending: str) -> None:
        now_s = self._clock.monotonic_s()
        kept.falling_since_s = now_s if kept.falling_since_s is None else kept.falling_since_s
        if not kept.told and now_s - kept.falling_since_s >= FALLEN_S:
            what = f"It {ending}, again and again. What to do: docs/alerts.md#processdown"
            kept.told = await self._alerts.tell(_title(kept), what)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            await process.wait()


class _Kept:
    """A program and the process that runs it at present."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.started_s = 0.0
        self.falling_since_s: float | None = None
        self.told = False


def _title(kept: _Kept) -> str:
    """The same for both, as of every alert."""
    return f"ProcessDown: {kept.program.name} does not stay up."


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        try:
            process.send_signal(number)
        except ProcessLookupError:
            return


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".old.log"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _last_lines(path: Path | None) -> str:
    if path is None or not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64 * 1024))
        lines = file.read().decode(errors="replace").splitlines()[-LAST_LINES:]
    return f"; the end of {path}:\n" + "\n".join(lines)
