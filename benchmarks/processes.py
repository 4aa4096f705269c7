"""The processes that are measured: PostgreSQL, servers, the load client; and what CPU time each has used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped]

from benchmarks.load import Job, Result
from tallystick.ports.postgres import EmbeddedPostgres, binary

ROOT = Path(__file__).parent.parent
TALLYSTICK = (str(Path(sys.executable).with_name("tallystick")),)
START_DEADLINE_S = 30.0
CORES = 2  # client, PostgreSQL and servers share them, so that figures of different machines can be compared


def share_cores() -> int:
    """From here on this process, and whatever it starts, runs on CORES cores. How many of them are here."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)
    return len(cores)


class Postgres:
    """The PostgreSQL that comes with Tallystick, durable as in production, in a folder that is thrown away."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._embedded = embedded
        self.folder = embedded.data_dir
        self.pid = int((embedded.data_dir / "cluster" / "postmaster.pid").read_text().split()[0])

    def dsn(self, database: str) -> str:
        return self._embedded.dsn(database)

    def psql(self, database: str, sql: str) -> str:
        """Run `sql` in `database`; the answer unaligned, without headings."""
        command = [
            str(binary("psql")),
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            self.dsn(database),
            "-f",
            "-",
        ]
        answer = subprocess.run(command, input=sql, text=True, stdout=subprocess.PIPE, check=True)
        return answer.stdout.strip()

    def create(self, database: str, *schemas: Path) -> None:
        """A fresh database with the given schema files."""
        self._embedded.create_databases([database])
        for schema in schemas:
            self.psql(database, schema.read_text(encoding="utf-8"))


@contextmanager
def postgres(kept: Path | None = None) -> Iterator[Postgres]:
    """Start a fresh server and throw it away at the end, or one in a folder that is kept and used again."""
    with ExitStack() as stack:
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-benchmark-"))
        yield Postgres(stack.enter_context(EmbeddedPostgres(folder)))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def server(
    command: Sequence[str], port: int, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command`, wait until `port` of 127.0.0.1 answers, stop it at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=ROOT, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command} did not start:\n{log.read_text(errors='replace')[-4000:]}") from None
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def uvicorn(application: str, port: int, *, workers: int, factory: bool = False) -> list[str]:
    """The command that serves `application` as one would in production: uvloop, httptools, no access log."""
    command = [sys.executable, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port)]
    command += [
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "warning",
        "--lifespan",
        "on",
    ]
    command += ["--workers", str(workers)] if workers > 1 else []
    return [*command, "--factory"] if factory else command


@contextmanager
def load(job: Job) -> Iterator[LoadClient]:
    """Start the load client; it is warm when this returns."""
    command = [sys.executable, "-m", "benchmarks.load"]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        client = LoadClient(process)
        client.prepare(job)
        yield client
    finally:
        process.kill()
        process.wait()


class LoadClient:
    """The load client's process: prepared, then run once."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._write, self._read = process.stdin, process.stdout

    def prepare(self, job: Job) -> None:
        self._write.write(msgspec.json.encode(job).decode() + "\n")
        self._write.flush()
        line = self._read.readline()
        if line != "ready\n":
            raise RuntimeError(f"the load client did not become ready: {line!r}")

    def run(self) -> Result:
        self._write.write("go\n")
        self._write.flush()
        return msgspec.json.decode(self._read.readline(), type=Result)


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and its descendants, also of those that ended and were waited for."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
