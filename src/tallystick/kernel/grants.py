"""Who may do what in a database: a service's `schema/grants.sql`, applied after the migrations. RULES §12.

The roles are the server's and are made by whoever administers it (docs/database-roles.md). Where the tables belong to
another role than `tallystick_owner`, an installation has one single role that does everything: nothing is granted then.
"""

import re
from typing import Any, Protocol

from msgspec import Struct

OWNER = "tallystick_owner"  # owns the tables and migrates; no service connects as this
GATEWAY = "tallystick_gateway"
MERCHANT = "tallystick_merchant"
VAULT = "tallystick_vault"  # stored cards
PII = "tallystick_pii"  # personal data of merchants' customers
GATEWAY_PII = "tallystick_gateway_pii"  # and of accounts': who reads the one does not read the other
READER = "tallystick_reader"  # people and tools that look
ROLES = (OWNER, GATEWAY, MERCHANT, VAULT, PII, GATEWAY_PII, READER)

GRANTS_FILE = "grants.sql"

_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_GRANT = re.compile(r"(?P<what>GRANT .+) TO (?P<roles>[a-z_]+(?:,\s*[a-z_]+)*)", re.DOTALL)


class Connection(Protocol):
    """As much of a connection as is needed here: SQLAlchemy's, in a transaction."""

    def exec_driver_sql(self, statement: str, /) -> Any: ...


class Grant(Struct, frozen=True):
    """One statement of a grants file, such as `GRANT SELECT ON event`, and the roles that it is for."""

    what: str
    roles: tuple[str, ...]


def read_grants(text: str) -> list[Grant]:
    """The statements of a grants file. Raises ValueError for what is no GRANT to roles of ours."""
    grants = []
    for statement in _COMMENT.sub("", text).split(";"):
        if not statement.strip():
            continue
        match = _GRANT.fullmatch(statement.strip())
        roles = tuple(re.split(r",\s*", match["roles"])) if match else ()
        if match is None or not set(roles) <= set(ROLES):
            raise ValueError(f"no grant to a role of ours: {statement.strip()}")
        grants.append(Grant(match["what"], roles))
    return grants


def apply_grants(connection: Connection, grants: list[Grant]) -> None:
    """Make the privileges in this database exactly `grants`; those of roles that the server has not got are left out.

    Run it in a transaction: nobody sees a moment without privileges.
    """
    if tables_owner(connection) != OWNER:
        return
    there = roles_there(connection)
    _revoke_everything(connection, there)
    for grant in grants:
        roles = [role for role in grant.roles if role in there]
        if roles:
            connection.exec_driver_sql(f"{grant.what} TO {', '.join(roles)}")
    _grant_connect(connection, there, {role for grant in grants for role in grant.roles})


def roles_missing(connection: Connection, grants: list[Grant]) -> list[str]:
    """The roles that should be there and are not: the owner and those that the grants name."""
    return sorted({OWNER, *(role for grant in grants for role in grant.roles)} - roles_there(connection))


def tables_owner(connection: Connection) -> str | None:
    """Whose the tables are; None where nothing was ever migrated."""
    rows = connection.exec_driver_sql(_TABLES_OWNER).fetchall()
    return str(rows[0][0]) if rows else None


def roles_there(connection: Connection) -> set[str]:
    """The roles of ours that the server has."""
    names = ", ".join(f"'{role}'" for role in ROLES)
    rows = connection.exec_driver_sql(f"SELECT rolname FROM pg_roles WHERE rolname IN ({names})").fetchall()
    return {str(name) for (name,) in rows}


def _revoke_everything(connection: Connection, roles: set[str]) -> None:
    """Of what this connection's role owns; a privilege on a table takes those on its columns with it."""
    losers = ", ".join([*sorted(roles - {OWNER}), "PUBLIC"])
    for kind, name in connection.exec_driver_sql(_OWNED).fetchall():
        connection.exec_driver_sql(f"REVOKE ALL ON {kind} {name} FROM {losers}")


def _grant_connect(connection: Connection, there: set[str], wanted: set[str]) -> None:
    """Let nobody else into the database, where it is this connection's role's to say."""
    for (name,) in connection.exec_driver_sql(_OWN_DATABASE).fetchall():
        losers = ", ".join([*sorted(there - {OWNER}), "PUBLIC"])
        connection.exec_driver_sql(f"REVOKE ALL ON DATABASE {name} FROM {losers}")
        if wanted & there:
            connection.exec_driver_sql(f"GRANT CONNECT ON DATABASE {name} TO {', '.join(sorted(wanted & there))}")


_MINE = "pg_has_role({owner}, 'USAGE')"
_EXTENSIONS = "SELECT objid FROM pg_depend WHERE deptype = 'e'"
_SCHEMAS = "SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
_OWNED = f"""
SELECT 'SCHEMA', quote_ident(n.nspname) FROM pg_namespace n
 WHERE n.oid IN ({_SCHEMAS}) AND {_MINE.format(owner="n.nspowner")}
UNION ALL
SELECT 'TABLE', c.oid::regclass::text FROM pg_class c
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace IN ({_SCHEMAS}) AND {_MINE.format(owner="c.relowner")}
   AND c.oid NOT IN ({_EXTENSIONS})
UNION ALL
SELECT 'SEQUENCE', c.oid::regclass::text FROM pg_class c
 WHERE c.relkind = 'S' AND c.relnamespace IN ({_SCHEMAS}) AND {_MINE.format(owner="c.relowner")}
   AND c.oid NOT IN ({_EXTENSIONS})
UNION ALL
SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p
 WHERE p.pronamespace IN ({_SCHEMAS}) AND {_MINE.format(owner="p.proowner")}
   AND p.oid NOT IN ({_EXTENSIONS})
 ORDER BY 1, 2
"""
_OWN_DATABASE = f"""
SELECT quote_ident(d.datname) FROM pg_database d
 WHERE d.datname = current_database() AND {_MINE.format(owner="d.datdba")}
"""
_TABLES_OWNER = f"""
SELECT pg_get_userbyid(c.relowner) FROM pg_class c
 WHERE c.relkind = 'r' AND c.relnamespace IN ({_SCHEMAS}) AND c.relname = 'schema_version'
"""
