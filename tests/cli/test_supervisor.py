"""What the supervisor promises: it waits for answers, starts again within a second what dies, leaves nothing behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from tallystick.cli import supervisor as supervisor_module
from tallystick.cli.supervisor import NotStarted, Program, Supervisor
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock

SERVER = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""
SLEEPER = "import time; time.sleep(60)"
LAST_WORDS = """
import signal, sys, time
def end(*_):
    open(sys.argv[2], "a").write(sys.argv[1] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end); print("up", flush=True); time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
async def said() -> list[str]:
    return []


@pytest.fixture
async def supervisor(said: list[str]) -> AsyncIterator[Supervisor]:
    http = AiohttpClient()
    supervisor = Supervisor(clock=SystemClock(), http=http, say=said.append)
    yield supervisor
    await supervisor.stop()
    await http.close()


def a_program(
    name: str, code: str, *arguments: str, ready_url: str | None = None, log_file: Path | None = None
) -> Program:
    return Program(name, (sys.executable, "-c", code, *arguments), dict(os.environ), ready_url, log_file)


def _says_up(log_file: Path) -> bool:
    return "up" in log_file.read_text()


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(true: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is awaited is a process, which sets no event
            await asyncio.sleep(0.01)


async def test_start_returns_when_the_program_answers(supervisor: Supervisor, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    await supervisor.start(a_program("server", SERVER, str(free_port), ready_url=url))
    _, writer = await asyncio.open_connection("127.0.0.1", free_port)
    writer.close()


async def test_what_dies_is_started_again_within_a_second_and_it_is_said(
    supervisor: Supervisor, said: list[str]
) -> None:
    await supervisor.start(a_program("sleeper", SLEEPER))
    before = supervisor.pid_of("sleeper")
    os.kill(before, signal.SIGKILL)
    await until(lambda: supervisor.pid_of("sleeper") != before, within_s=1.0)
    assert said == ["sleeper was ended by SIGKILL: starting it again"]


async def test_a_program_that_keeps_dying_is_started_ever_more_slowly(supervisor: Supervisor, said: list[str]) -> None:
    await supervisor.start(a_program("broken", "import time; time.sleep(0.05); raise SystemExit(3)"))
    await asyncio.sleep(1.5)
    assert 2 <= len(said) <= 4, "0.2 s, 0.4 s, 0.8 s apart"
    assert said[0] == "broken ended with exit code 3: starting it again"


async def test_a_program_that_ends_before_it_is_ready_is_an_error_with_the_end_of_its_log(
    supervisor: Supervisor, free_port: int, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{free_port}/"
    program = a_program(
        "broken", "raise SystemExit('no such setting')", ready_url=url, log_file=tmp_path / "broken.log"
    )
    with pytest.raises(NotStarted, match=r"broken ended with exit code 1(.|\n)*no such setting"):
        await supervisor.start(program)


async def test_stop_ends_the_last_started_first_and_is_not_answered_with_a_restart(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    ends = tmp_path / "ends"
    for name in ("first", "second"):
        await supervisor.start(a_program(name, LAST_WORDS, name, str(ends), log_file=tmp_path / f"{name}.log"))
        log_file = tmp_path / f"{name}.log"
        await until(partial(_says_up, log_file), within_s=5)
    pids = [supervisor.pid_of("first"), supervisor.pid_of("second")]
    await supervisor.stop()
    assert not any(alive(pid) for pid in pids)
    assert ends.read_text().split() == ["second", "first"]
    assert said == []


async def test_what_ignores_sigterm_is_killed(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tallystick.cli.supervisor.STOP_WITHIN_S", 0.2)
    await supervisor.start(a_program("stubborn", STUBBORN, log_file=tmp_path / "stubborn.log"))
    await until(partial(_says_up, tmp_path / "stubborn.log"), within_s=5)
    pid = supervisor.pid_of("stubborn")
    await supervisor.stop()
    assert not alive(pid)


async def test_nothing_is_left_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    """The tether: the kernel ends a program whose supervisor was ended by kill -9."""
    script = f"""
import asyncio, os, sys
from tallystick.cli.supervisor import Program, Supervisor
from tallystick.ports.clock import SystemClock
from tallystick.ports.aiohttp_http import AiohttpClient
async def main():
    supervisor = Supervisor(clock=SystemClock(), http=AiohttpClient(), say=print)
    await supervisor.start(Program("sleeper", (sys.executable, "-c", {SLEEPER!r}), dict(os.environ)))
    print(supervisor.pid_of("sleeper"), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    sleeper = int(await asyncio.wait_for(process.stdout.readline(), 10))
    # Not before the tether has become the program: what it does when its parent is gone already is another matter.
    command_line = Path(f"/proc/{sleeper}/cmdline")
    await until(lambda: "time.sleep" in (now := command_line.read_text()) and "tether" not in now, within_s=5)
    process.kill()
    await process.wait()
    await until(lambda: not alive(sleeper), within_s=2)


class Pager:
    """Remembers what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def tell(self, title: str, text: str) -> bool:
        self.told.append((title, text))
        return True

    async def tell_over(self, title: str, text: str) -> bool:
        self.told.append((title, text))
        return True


async def test_what_does_not_stay_up_is_told_once_and_so_is_that_it_does_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A service that is gone as a whole can tell nobody itself."""
    monkeypatch.setattr(supervisor_module, "FALLEN_S", 1.0)
    monkeypatch.setattr(supervisor_module, "RESTART_MAX_S", 0.1)
    well = tmp_path / "well"
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).exists() or sys.exit(3); time.sleep(60)"
    http, pager = AiohttpClient(), Pager()
    supervisor = Supervisor(clock=SystemClock(), http=http, say=lambda _: None, alerts=pager)
    try:
        well.touch()
        await supervisor.start(a_program("gateway", code, str(well)))
        first = supervisor.pid_of("gateway")
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pid_of("gateway") != first, within_s=10)
        await asyncio.sleep(0.3)
        assert pager.told == [], "dying once is no news: it is there again"
        well.unlink()
        os.kill(supervisor.pid_of("gateway"), signal.SIGKILL)
        await until(lambda: bool(pager.told), within_s=30)
        await asyncio.sleep(0.5)
        well.touch()
        await until(lambda: len(pager.told) == 2, within_s=30)
    finally:
        await supervisor.stop()
        await http.close()
    assert [title for title, _ in pager.told] == ["ProcessDown: gateway does not stay up."] * 2
    assert pager.told[0][1].startswith("It ended with exit code 3, again and again.")
    assert pager.told[1][1] == "Over: it stays up."
