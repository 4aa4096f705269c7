"""Roles on a server that is our own: made, given their passwords, and given what is there. On a server of somebody
else's, its administrator does the same by hand (docs/database-roles.md).
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

import psycopg
from msgspec import Struct
from psycopg import sql

# Whatever stands in the database and is not the server's own, each with the command that gives it away.
_NOT_YET_THE_OWNERS = b"""
WITH ours AS (
    SELECT oid, nspname, nspowner FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
SELECT 'SCHEMA', quote_ident(n.nspname) FROM ours n WHERE n.nspname <> 'public' AND n.nspowner <> %(owner)s::regrole
UNION ALL
SELECT 'TABLE', c.oid::regclass::text FROM pg_class c
 WHERE c.relkind = 'r' AND c.relnamespace IN (SELECT oid FROM ours) AND c.relowner <> %(owner)s::regrole
UNION ALL
SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p
 WHERE p.pronamespace IN (SELECT oid FROM ours) AND p.proowner <> %(owner)s::regrole
 ORDER BY 1, 2
"""


_MAY_CHANGE_TABLES = b"""
SELECT EXISTS (SELECT FROM pg_class c WHERE c.relname = 'schema_version' AND pg_has_role(c.relowner, 'USAGE'))
"""


def make_roles(dsn: str, passwords: Mapping[str, str]) -> None:
    """Make the roles that are not there yet, each without any right, and give each its password.

    `dsn` is an administrator's. The server gets a verifier; a password itself is not sent, so no log can show it.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role, password in passwords.items():
            with contextlib.suppress(psycopg.errors.DuplicateObject):
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(
                sql.SQL(
                    "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
                ).format(sql.Identifier(role), sql.Literal(verifier))
            )


def may_change_tables(dsn: str) -> bool:
    """Whether the role that `dsn` names could change or drop what it works on. Services should not. RULES §12.

    False where nobody answers: that is told by whoever needs the database.
    """
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            return bool(connection.execute(_MAY_CHANGE_TABLES).fetchall()[0][0])
    except psycopg.OperationalError:
        return False


_UNREADABLE = b"""
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind = 'r'
   AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'))
 ORDER BY 1
"""


def unreadable(dsn: str, schema: str) -> list[str]:
    """The tables of a schema that the role of `dsn` cannot read. Nobody answers: none, whoever needs it tells."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            return [str(row[0]) for row in connection.execute(_UNREADABLE, {"schema": schema}).fetchall()]
    except psycopg.OperationalError:
        return []


def give_database(dsn: str, owner: str) -> None:
    """Make the database behind the administrator's `dsn` the role's, with everything that stands in it."""
    with psycopg.connect(dsn) as connection:
        name = connection.info.dbname
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(owner)))
        for kind, thing in connection.execute(_NOT_YET_THE_OWNERS, {"owner": owner}).fetchall():
            connection.execute(f"ALTER {kind} {thing} OWNER TO {sql.Identifier(owner).as_string()}".encode())


class Seen(Struct, frozen=True):
    """A server as a role finds it. `encrypted` is whether the connection is."""

    version: int
    role: str
    superuser: bool
    at: datetime
    encrypted: bool


_SEEN = b"""
SELECT current_user::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), clock_timestamp(),
       COALESCE((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
"""


def look_at(dsn: str) -> Seen | None:
    """What the role of `dsn` finds; None where it cannot connect."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            [(role, superuser, at, encrypted)] = connection.execute(_SEEN).fetchall()
            return Seen(connection.info.server_version, role, superuser, at.astimezone(UTC), encrypted)
    except psycopg.Error:  # its text may repeat what the DSN says
        return None
