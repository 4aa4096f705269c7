"""What roles may do in a database, beside what its grants say that they may: what is missing, what is too much.

It is looked at as the server decides it, so that what comes by way of another role, of PUBLIC or of an administrator's
rights is seen too. Anybody may look.
"""

import re
from typing import Final

from msgspec import Struct

from tallystick.kernel.grants import OWNER, Connection, Grant, roles_there, tables_owner

WHOLE: Final = ""  # in place of a column: the table itself

_ON: Final = re.compile(r"GRANT (?P<verbs>.+?) ON (?:(?P<kind>SCHEMA|FUNCTION|TABLE) )?(?P<names>.+)", re.DOTALL)
_VERB: Final = re.compile(r"(?P<verb>[A-Z]+)(?: \((?P<columns>[^)]*)\))?")
_OF_COLUMNS: Final = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
_OF_TABLES: Final = ("DELETE", "TRUNCATE", "TRIGGER")


class Privilege(Struct, frozen=True, order=True):
    """One thing that a role may do: a verb, on a column of a table, on a table (`WHOLE`), or on a schema."""

    role: str
    thing: str
    column: str
    verb: str


class Differences(Struct, frozen=True):
    """What a role has not got and should, and has and should not: as `INSERT on event`, each thing once."""

    role: str
    missing: tuple[str, ...]
    too_much: tuple[str, ...]


def differences(connection: Connection, grants: list[Grant]) -> list[Differences] | None:
    """For every role of ours that the server has, in order; None where one single role does everything.

    Tables that the grants name and the database has not got are a matter of its version and are left out.
    """
    if tables_owner(connection) != OWNER:
        return None
    roles = sorted(roles_there(connection) - {OWNER})
    columns = [(str(table), str(column)) for table, column in connection.exec_driver_sql(_COLUMNS).fetchall()]
    schemas = {str(name) for (name,) in connection.exec_driver_sql(_SCHEMAS).fetchall()}
    wanted = {each for each in _wanted(grants, columns, schemas) if each.role in roles}
    found = _found(connection, roles)
    return [_of(role, wanted, found) for role in roles]


def _of(role: str, wanted: set[Privilege], found: set[Privilege]) -> Differences:
    def told(privileges: set[Privilege]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f"{each.verb} on {each.thing}" for each in sorted(privileges) if each.role == role))

    harmless = {each for each in found if each.verb == "USAGE"}  # of a schema: by itself it shows and changes nothing
    return Differences(role, told(wanted - found), told(found - wanted - harmless))


def _wanted(grants: list[Grant], columns: list[tuple[str, str]], schemas: set[str]) -> set[Privilege]:
    """The grants, each table told by its columns as the server tells them."""
    of_table: dict[str, list[str]] = {}
    for table, column in columns:
        of_table.setdefault(table, []).append(column)
    found = set()
    for grant in grants:
        match = _ON.fullmatch(grant.what)
        if match is None or match["kind"] == "FUNCTION":  # functions only compute (tests/test_catalogue.py)
            continue
        names = [name.strip() for name in match["names"].split(",")]
        for verb, only in _VERB.findall(match["verbs"]):
            for name in names:
                if match["kind"] == "SCHEMA":
                    places = [WHOLE] if name in schemas else []
                elif verb in _OF_COLUMNS:
                    named = [column.strip() for column in only.split(",")] if only else of_table.get(name, [])
                    places = [column for column in named if column in of_table.get(name, [])]
                else:
                    places = [WHOLE] if name in of_table else []
                found |= {Privilege(role, name, place, verb) for role in grant.roles for place in places}
    return found


def _found(connection: Connection, roles: list[str]) -> set[Privilege]:
    if not roles:
        return set()
    names = ", ".join(f"('{role}')" for role in roles)
    rows = connection.exec_driver_sql(_PRIVILEGES.replace("{roles}", names)).fetchall()
    return {Privilege(*map(str, row)) for row in rows}


def _verbs(verbs: tuple[str, ...]) -> str:
    return ", ".join(f"('{verb}')" for verb in verbs)


_OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_EXTENSIONS = "SELECT objid FROM pg_depend WHERE deptype = 'e'"
_TABLES = f"c.relkind IN ('r', 'p') AND {_OURS} AND c.oid NOT IN ({_EXTENSIONS})"
_NAME = "CASE n.nspname WHEN 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END"
_SCHEMAS = f"SELECT n.nspname FROM pg_namespace n WHERE {_OURS}"
_COLUMNS = f"""
SELECT {_NAME}, a.attname
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE {_TABLES}
 ORDER BY 1, a.attnum
"""
_PRIVILEGES = f"""
SELECT r.role, {_NAME}, a.attname, v.verb
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 CROSS JOIN (VALUES {{roles}}) AS r(role)
 CROSS JOIN (VALUES {_verbs(_OF_COLUMNS)}) AS v(verb)
 WHERE {_TABLES} AND has_column_privilege(r.role, c.oid, a.attnum, v.verb)
UNION ALL
SELECT r.role, {_NAME}, '', v.verb
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN (VALUES {{roles}}) AS r(role)
 CROSS JOIN (VALUES {_verbs(_OF_TABLES)}) AS v(verb)
 WHERE {_TABLES} AND has_table_privilege(r.role, c.oid, v.verb)
UNION ALL
SELECT r.role, n.nspname, '', v.verb
  FROM pg_namespace n
 CROSS JOIN (VALUES {{roles}}) AS r(role)
 CROSS JOIN (VALUES ('USAGE'), ('CREATE')) AS v(verb)
 WHERE {_OURS} AND has_schema_privilege(r.role, n.oid, v.verb)
"""
