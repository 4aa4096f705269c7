"""TLS to PostgreSQL, with Debian's server: the wheel's has no OpenSSL. RULES §12.

Both drivers reach the server by `verify-full` and speak TLS with it; an authority that is not known, a name that is not
the certificate's, and plain text come to nothing.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import trustme

from tallystick.kernel.migrations import migrate, newest_version
from tallystick.ports import postgres_guardian
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import DatabaseUnavailable, Statement

IS_ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid();"
ACCESS = """
local all all trust
hostssl all all 127.0.0.1/32 trust
hostnossl all all all reject
"""

Dsn = Callable[..., str]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_dsn(debians_postgres: Path, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dsn]:
    """DSNs of a server of Debian's that speaks TLS, its certificate being for `localhost`."""
    folder = tmp_path_factory.mktemp("debian")
    folder.chmod(0o700)
    guardian = [sys.executable, "-I", "-S", postgres_guardian.__file__]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    cluster = folder / "cluster"
    initdb = [
        str(debians_postgres / "initdb"),
        f"--pgdata={cluster}",
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]
    subprocess.run([*guardian, "run", *initdb], cwd=folder, env=environment, check=True, capture_output=True)
    certificate = authority.issue_cert("localhost")
    (cluster / "server.crt").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (cluster / "server.key").touch(mode=0o600)
    (cluster / "server.key").write_bytes(certificate.private_key_pem.bytes())
    owner = cluster.stat()
    for name in ("server.crt", "server.key"):
        os.chown(cluster / name, owner.st_uid, owner.st_gid)
    (cluster / "pg_hba.conf").write_text(ACCESS)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": str(folder), "ssl": "on",
        "ssl_min_protocol_version": "TLSv1.2", "fsync": "off",
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [*guardian, "guard", str(os.getpid()), str(debians_postgres / "postgres"), "-D", str(cluster), *options]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(f"postgresql://postgres@/postgres?host={folder}&port={port}", server, folder / "log")

        def dsn(host: str = "localhost", mode: str = "verify-full", ca: str = "ca.pem") -> str:
            return f"postgresql://postgres@{host}:{port}/postgres?sslmode={mode}&sslrootcert={folder / ca}"

        yield dsn
    finally:
        server.terminate()
        server.wait(60)


async def test_both_drivers_speak_verified_tls(tls_dsn: Dsn) -> None:
    database = await open_database(tls_dsn())
    [row] = await database.rows(Statement("is_encrypted", IS_ENCRYPTED))
    await database.close()
    with psycopg.connect(tls_dsn()) as connection:
        [seen] = connection.execute(IS_ENCRYPTED.encode()).fetchall()
    for encrypted, version in ((row["ssl"], row["version"]), seen):
        assert encrypted
        assert version in ("TLSv1.2", "TLSv1.3")


def test_the_schema_is_migrated_by_it(tls_dsn: Dsn) -> None:
    assert migrate(tls_dsn(), "tallystick.gateway.schema") == newest_version("tallystick.gateway.schema")


@pytest.mark.parametrize(
    "changed",
    [
        {"ca": "stranger.pem"},  # somebody else's authority
        {"host": "127.0.0.1"},  # the certificate is for another name
        {"mode": "disable"},  # plain text: this server does not speak it
    ],
    ids=["authority", "name", "plain"],
)
async def test_what_is_not_verified_is_not_spoken_to(tls_dsn: Dsn, changed: dict[str, str]) -> None:
    with pytest.raises(DatabaseUnavailable):
        await open_database(tls_dsn(**changed))
    with pytest.raises(DatabaseUnavailable):
        migrate(tls_dsn(**changed), "tallystick.gateway.schema")


def _wait(dsn: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            psycopg.connect(dsn).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    pytest.fail(log.read_text())
