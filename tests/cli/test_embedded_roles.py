"""The embedded server has the roles of a real installation, and gives them what an earlier version made. RULES §12."""

import stat
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tallystick.cli.database_roles import DSN_FILES, dsn_file, give_roles
from tallystick.kernel.grants import OWNER, VAULT
from tallystick.kernel.migrations import migrate, missing_roles
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.postgres import EmbeddedPostgres

DATABASES = {"gateway": "tallystick_gateway", "merchant": "tallystick_merchant"}


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(tmp_path / "data", fast_and_unsafe=True)


def migrate_both(dsns: dict[str, str]) -> None:
    for service in DATABASES:
        migrate(dsns[f"{service}-owner"], f"tallystick.{service}.schema")


def test_every_role_connects_with_its_own_password_which_stays(server: EmbeddedPostgres) -> None:
    with server:
        server.create_databases(DATABASES.values())
        dsns = give_roles(server, DATABASES, SystemEntropy())
        migrate_both(dsns)
        for name, (role, _) in DSN_FILES.items():
            file = dsn_file(server, name)
            assert file.read_text().strip() == dsns[name]
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            if role == VAULT:  # nothing is granted to it before there are stored cards
                continue
            with psycopg.connect(dsns[name]) as connection:
                assert connection.execute("SELECT current_user").fetchall() == [(role,)]
            wrong = urlsplit(dsns[name])
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(urlunsplit(wrong._replace(netloc=f"{role}:{'0' * 48}@")))
        passwords = {role: urlsplit(dsns[name]).password for name, (role, _) in DSN_FILES.items()}
        assert len(set(passwords.values())) == len(passwords)
        assert all(password not in server.log_path.read_text() for password in passwords.values() if password)
    with server:
        assert give_roles(server, DATABASES, SystemEntropy()) == dsns


def test_a_lost_file_is_written_anew(server: EmbeddedPostgres) -> None:
    with server:
        server.create_databases(DATABASES.values())
        dsns = give_roles(server, DATABASES, SystemEntropy())
        dsn_file(server, "gateway").unlink()
        again = give_roles(server, DATABASES, SystemEntropy())
        assert again["gateway"] != dsns["gateway"]
        psycopg.connect(again["gateway"]).close()


def test_what_an_earlier_version_made_becomes_the_owners(server: EmbeddedPostgres) -> None:
    """Earlier versions had one role: the administrator, whose the tables were."""
    with server:
        server.create_databases(DATABASES.values())
        for service, database in DATABASES.items():
            migrate(server.dsn(database), f"tallystick.{service}.schema")
        with psycopg.connect(server.dsn(DATABASES["gateway"])) as before:
            before.execute(
                "INSERT INTO account (account_id, name, created_at) VALUES ('acct_1', 'Hazel', '2026-01-01Z')"
            )
    with server:
        dsns = give_roles(server, DATABASES, SystemEntropy())
        migrate_both(dsns)
        with psycopg.connect(dsns["gateway"]) as service_role:
            assert service_role.execute("SELECT name FROM account").fetchall() == [("Hazel",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service_role.execute("DROP TABLE account")
        for service in DATABASES:
            assert missing_roles(dsns[f"{service}-owner"], f"tallystick.{service}.schema") == []
            with psycopg.connect(dsns[f"{service}-owner"]) as connection:
                assert connection.execute(
                    "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'pii')"
                ).fetchall() == [(OWNER,)]
