"""The embedded server: starts for root too, never outlives its starter, and loses nothing when everything is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tallystick.ports import postgres, postgres_guardian
from tallystick.ports.postgres import (
    EmbeddedPostgres,
    PostgresError,
    PostgresFailed,
    PostgresInUse,
    PostgresTooOld,
    binary,
    create_databases,
    require_supported_server,
)

GONE_S = 10.0  # "within seconds", on a busy machine

# A process that runs a server in argv[1] and writes one row after the other, each with its own commit.
STARTER = """
import sys, threading, psycopg
from tallystick.ports.postgres import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1])
start = threading.Thread(target=server.start)  # the thread that started it ends: the server must stay
start.start(); start.join()
with psycopg.connect(server.dsn(), autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS tally (notch int PRIMARY KEY)")
    notch = connection.execute("SELECT coalesce(max(notch), 0) FROM tally").fetchone()[0]
    while True:
        notch += 1
        connection.execute("INSERT INTO tally VALUES (%s)", [notch])
        print(notch, flush=True)
"""


class Starter:
    """A process that has a server in `data_dir` and writes to it without pause."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(data_dir)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self._output = self.process.stdout
        self._notches = [int(self._output.readline())]

    def guardians(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for path in children for child in path.read_text().split()]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_everything(self) -> None:
        """kill -9 of the starter, the guardian, the server and all its processes: a machine that loses its power."""
        guardians = self.guardians()
        assert guardians
        for process in (*processes_of(self.data_dir), *guardians, self.process.pid):
            with contextlib.suppress(ProcessLookupError):  # a backend that has ended by itself meanwhile
                os.kill(process, signal.SIGKILL)
        self.process.wait()

    def committed(self) -> int:
        """The last row whose commit the killed process had seen and told."""
        whole_lines = [line for line in self._output.readlines() if line.endswith("\n")]
        self._notches += map(int, whole_lines)
        return self._notches[-1]


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path / "data")
    yield starter
    starter.kill()


def processes_of(data_dir: Path) -> list[int]:
    return postgres._processes_in(data_dir / "cluster")


def wait_until_gone(data_dir: Path) -> None:
    until = time.monotonic() + GONE_S
    while processes_of(data_dir):
        assert time.monotonic() < until, "the server outlived its starter"
        time.sleep(0.02)


def test_first_start_is_fast_and_gives_a_working_database(tmp_path: Path) -> None:
    began = time.monotonic()
    with EmbeddedPostgres(tmp_path / "data") as server:
        assert time.monotonic() - began < 10
        server.create_databases(["tallystick_gateway", "tallystick_merchant"])
        server.create_databases(["tallystick_gateway"])
        with psycopg.connect(server.dsn("tallystick_gateway")) as connection:
            row = connection.execute("SELECT current_database(), current_setting('fsync')").fetchone()
            assert row == ("tallystick_gateway", "on")
            durable = connection.execute(
                "SELECT current_setting('synchronous_commit'), current_setting('full_page_writes')"
            ).fetchone()
            assert durable == ("on", "on")
        assert require_supported_server(server.dsn()) >= 180000
    assert not processes_of(tmp_path / "data")


def test_there_is_no_network_and_only_we_may_enter(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
        assert server.running
        with psycopg.connect(server.dsn()) as connection:
            row = connection.execute("SELECT current_setting('listen_addresses')").fetchone()
            assert row == ("",)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "socket").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_root_without_user_namespaces_becomes_an_ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often forbid user namespaces; then the files change hands, and the server still starts for root."""
    forbidding = tmp_path / "guardian.py"
    text = Path(str(postgres_guardian.__file__)).read_text(encoding="utf-8")
    assert "if libc.unshare(CLONE_NEWUSER) != 0:" in text
    forbidding.write_text(text.replace("if libc.unshare(CLONE_NEWUSER) != 0:", "if True:"))
    monkeypatch.setattr(postgres_guardian, "__file__", str(forbidding))
    for _ in range(2):
        with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
            [first, *_] = processes_of(tmp_path / "data")
            assert f"Uid:\t{os.stat(tmp_path / 'data' / 'cluster').st_uid}" in Path(f"/proc/{first}/status").read_text()
            assert require_supported_server(server.dsn()) >= 180000
    monkeypatch.undo()
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
        assert require_supported_server(server.dsn()) >= 180000


def test_the_dsn_works_through_asyncpg_and_the_wheels_own_programs(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
        dumped = subprocess.run(
            [binary("pg_dump"), "--dbname", server.dsn()], capture_output=True, text=True, check=True
        ).stdout
        assert "PostgreSQL database dump complete" in dumped
        assert binary("pgbench").exists()


def test_a_data_folder_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    data_dir = tmp_path / ("a" * 60) / ("b" * 60)
    with EmbeddedPostgres(data_dir, fast_and_unsafe=True) as server:
        assert require_supported_server(server.dsn()) >= 180000
        assert server.dsn() == EmbeddedPostgres(data_dir).dsn()


def test_a_folder_that_somebody_else_has_put_for_the_socket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns it could enter it, and so administer the server; root, who takes over folders, too."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    server = EmbeddedPostgres(tmp_path / ("x" * 120))
    put = Path(server.dsn().partition("host=")[2])
    assert put.parent == tmp_path
    put.mkdir()
    if os.getuid() == 0:
        os.chown(put, 65534, -1)
    with pytest.raises(PostgresError, match="not a folder of this user"):
        server.start()


def test_restart_keeps_the_dsn_and_the_data(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    with server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 17 AS notch")
    began = time.monotonic()
    with server, psycopg.connect(server.dsn()) as connection:
        assert time.monotonic() - began < 5
        assert connection.execute("SELECT notch FROM kept").fetchone() == (17,)


def test_the_server_is_gone_soon_after_its_starter_was_killed(starter: Starter) -> None:
    assert processes_of(starter.data_dir)
    starter.kill()
    wait_until_gone(starter.data_dir)


def test_the_server_is_gone_soon_after_its_guardian_was_killed(starter: Starter) -> None:
    [guardian] = starter.guardians()
    os.kill(guardian, signal.SIGKILL)
    wait_until_gone(starter.data_dir)


def test_kill_9_of_everything_loses_no_committed_row(starter: Starter) -> None:
    time.sleep(0.2)
    starter.kill_everything()
    check_the_tally(starter)


def test_a_server_still_shutting_down_is_waited_for(starter: Starter) -> None:
    starter.kill()
    check_the_tally(starter)


@pytest.mark.proof
def test_twenty_times_kill_9_of_everything_in_the_same_folder(tmp_path: Path) -> None:
    for cycle in range(20):
        starter = Starter(tmp_path / "data")
        time.sleep(0.05 * (cycle % 5))
        starter.kill_everything()
        check_the_tally(starter)


def check_the_tally(starter: Starter) -> None:
    """All rows that the killed process knew of are there, and at most one more: a commit that it did not hear of."""
    committed = starter.committed()
    with EmbeddedPostgres(starter.data_dir) as server, psycopg.connect(server.dsn()) as connection:
        row = connection.execute("SELECT count(*), max(notch) FROM tally").fetchone()
    assert row is not None
    assert row[0] == row[1]
    assert committed <= row[1] <= committed + 1


def test_an_orphaned_server_is_taken_over(starter: Starter) -> None:
    """Starter and guardian are dead; the server, stopped for a moment, has not noticed when the next start comes."""
    first = postgres._postmaster(starter.data_dir / "cluster")
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    for guardian in starter.guardians():
        os.kill(guardian, signal.SIGKILL)
    starter.kill()
    thaw = threading.Timer(1.0, os.kill, (first, signal.SIGCONT))
    thaw.start()
    with EmbeddedPostgres(starter.data_dir) as server:
        assert postgres._postmaster(starter.data_dir / "cluster") != first
        assert server.running
    thaw.join()


def test_a_server_that_was_killed_alone_can_be_started_again(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
        first = postgres._postmaster(tmp_path / "data" / "cluster")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until = time.monotonic() + GONE_S
        while server.running:
            assert time.monotonic() < until
            time.sleep(0.02)
        server.start()
        assert require_supported_server(server.dsn()) >= 180000


def test_the_number_of_a_dead_server_may_have_become_another_process(tmp_path: Path) -> None:
    """PostgreSQL alone refuses to start when postmaster.pid names a live process, whoever that is."""
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True):
        stale = (tmp_path / "data" / "cluster" / "postmaster.pid").read_text().splitlines()
    for path in (
        tmp_path / "data" / "cluster" / "postmaster.pid",
        tmp_path / "data" / "socket" / ".s.PGSQL.5432.lock",
    ):
        path.write_text("\n".join([str(os.getpid()), *stale[1:]]) + "\n")
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
        assert require_supported_server(server.dsn()) >= 180000


def test_half_an_initdb_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "data" / "cluster.new").mkdir(parents=True)
    (tmp_path / "data" / "cluster.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
        assert require_supported_server(server.dsn()) >= 180000


def test_a_second_starter_is_refused_and_told_who_has_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_WAIT_S", 0.2)
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as first:
        with pytest.raises(PostgresInUse, match=str(os.getpid())):
            EmbeddedPostgres(tmp_path / "data").start()
        assert require_supported_server(first.dsn()) >= 180000


def test_two_starters_at_once_never_both_have_it(tmp_path: Path) -> None:
    """Both want a folder that is not there yet; the second has it when the first has stopped."""
    inside = threading.Semaphore(1)
    failures: list[str] = []

    def use() -> None:
        with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True):
            if not inside.acquire(blocking=False):
                failures.append("two servers at once")
                return
            time.sleep(0.2)
            inside.release()

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server:
        assert server.running


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True):
        pass
    (tmp_path / "data" / "cluster" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(PostgresFailed, match="no_such_setting"):
        EmbeddedPostgres(tmp_path / "data").start()


def test_the_log_never_tells_the_values_of_a_row(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True) as server,
        psycopg.connect(server.dsn(), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE person (email text PRIMARY KEY)")
        connection.execute("INSERT INTO person VALUES ('ada@example.com')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO person VALUES ('ada@example.com')")
    log = server.log_path.read_text()
    assert "person_pkey" in log
    assert "ada@" not in log


def test_a_server_older_than_15_is_refused(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SERVER_VERSION_MIN", 990000)
    with pytest.raises(PostgresTooOld, match="PostgreSQL 15 or newer"):
        require_supported_server(postgres_dsn)


def test_a_dsn_that_nobody_answers_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(PostgresFailed) as refused:
        require_supported_server(f"postgresql://someone:a-password@/db?host={tmp_path}")
    assert "a-password" not in str(refused.value)
    with pytest.raises(PostgresFailed) as refused:
        create_databases(f"postgresql://someone:a-password@/db?host={tmp_path}", ["tallystick_gateway"])
    assert "a-password" not in str(refused.value)
