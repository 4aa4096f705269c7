"""What the house says of the database: keys begin with the owner, and every statement fits the schema in both drivers.

The catalogue of the freshly migrated databases is read, so a later migration cannot slip past. DESIGN §2.5, §2.6.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

import tallystick
from tallystick.ports.database import Statement, Statements

SOURCE = Path(tallystick.__file__).parent
OWNERS = {"merchant_id", "account_id", "owner_id"}

# Tables whose keys do not begin with the owner, each with its reason.
OWNERLESS = {
    "merchant schema_version": "one row: the version of the schema",
    "gateway schema_version": "one row: the version of the schema",
    "merchant api_key": "key directory: the hash of a key finds its owner",
    "gateway heartbeat": "what runs: the workers, the processes",
    "merchant heartbeat": "what runs: the workers, the processes",
    "gateway alert": "rules belong to the installation",
    "merchant alert": "rules belong to the installation",
    "gateway alert_count": "what the processes of the installation counted",
    "merchant alert_count": "what the processes of the installation counted",
    "gateway alert_gauge": "what the processes of the installation know",
    "merchant alert_gauge": "what the processes of the installation know",
    "gateway fault": "an operator's, for one account or for all",
    "gateway api_key": "key directory: the hash of a key finds its owner",
    "gateway sandbox_clock": "one row: the sandbox has one time",
    "merchant sandbox_clock": "one row: the sandbox has one time",
    "gateway operator_user": "operators belong to the installation",
    "gateway operator_session": "operators belong to the installation: the hash of a cookie finds its holder",
    "gateway operator_second_factor": "operators belong to the installation",
    "gateway operator_place": "operators belong to the installation",
    "gateway login_failure": "operators belong to the installation: hashes of what is counted",
    "merchant operator_user": "operators belong to the installation",
    "merchant operator_session": "operators belong to the installation: the hash of a cookie finds its holder",
    "merchant operator_second_factor": "operators belong to the installation",
    "merchant operator_place": "operators belong to the installation",
    "merchant login_failure": "operators belong to the installation: hashes of what is counted",
    "gateway redrive": "a job of operators, which may span owners",
    "merchant redrive": "a job of operators, which may span owners",
    "gateway operator_key": "operators belong to the installation: the hash of a key finds its holder",
    "gateway audit_entry": "operators belong to the installation, and so does what they did",
    "gateway audit_outcome": "operators belong to the installation, and so does what they did",
    "merchant audit_entry": "operators belong to the installation, and so does what they did",
    "merchant audit_outcome": "operators belong to the installation, and so does what they did",
    "merchant operator_key": "operators belong to the installation: the hash of a key finds its holder",
}
# Gateway tables that know no mode: the second column of every other key there is `livemode` (or `mode`).
MODELESS = {
    "account": "an account has both modes",
    "message": "the id of a message is unique in both modes, and its delivery has the mode",
    "delivery": "the id of a delivery is unique in both modes; the mode stands beside it",
    "delivery_attempt": "belongs to a delivery",
    "simulated_authentication": "the simulated bank's memory, which only test mode writes",
    "simulated_operation": "the simulated bank's memory, which only test mode writes",
}
EXACT_TYPES = {"text", "bytea", "boolean", "integer", "smallint", "bigint", "jsonb", "date", "timestamp with time zone"}

# Whatever schema a table of ours stands in: all but the server's own are looked at.
SYSTEM_SCHEMAS = """
WITH system_schemas AS (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')
"""
INDEXES = """
SELECT c.oid::regclass::text, i.relname, x.indisprimary, x.indisunique,
       ARRAY(SELECT coalesce(a.attname, '(expression)')
               FROM unnest(x.indkey::smallint[]) WITH ORDINALITY AS k(attnum, position)
               LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum AND k.attnum > 0
              ORDER BY k.position)::text[]
  FROM pg_index x
  JOIN pg_class c ON c.oid = x.indrelid
  JOIN pg_class i ON i.oid = x.indexrelid
 WHERE c.relnamespace NOT IN (SELECT oid FROM system_schemas)
"""
FOREIGN_KEYS = """
SELECT f.conname, f.conrelid::regclass::text, f.confrelid::regclass::text,
       ARRAY(SELECT a.attname FROM unnest(f.conkey) WITH ORDINALITY AS k(n, position)
               JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.n ORDER BY k.position)::text[],
       ARRAY(SELECT a.attname FROM unnest(f.confkey) WITH ORDINALITY AS k(n, position)
               JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.n ORDER BY k.position)::text[]
  FROM pg_constraint f
 WHERE f.contype = 'f' AND f.connamespace NOT IN (SELECT oid FROM system_schemas)
"""
COLUMNS = """
SELECT c.oid::regclass::text, a.attname, format_type(a.atttypid, NULL), a.attidentity::text,
       coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace NOT IN (SELECT oid FROM system_schemas) AND c.relkind IN ('r', 'p')
   AND a.attnum > 0 AND NOT a.attisdropped
"""
OTHER_THINGS = """
SELECT 'sequence', oid::regclass::text FROM pg_class
           WHERE relkind = 'S' AND relnamespace NOT IN (SELECT oid FROM system_schemas)
UNION ALL SELECT 'trigger', tgname::text FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'rule', rulename::text FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
           WHERE c.relnamespace NOT IN (SELECT oid FROM system_schemas) AND c.relkind <> 'v'
UNION ALL SELECT 'event trigger', evtname::text FROM pg_event_trigger
UNION ALL SELECT 'volatile function', proname::text FROM pg_proc
           WHERE pronamespace NOT IN (SELECT oid FROM system_schemas) AND provolatile <> 'i'
"""


class Catalogue:
    """The catalogue of one service's migrated database, read once."""

    def __init__(self, service: str, dsn: str) -> None:
        self.service = service
        with psycopg.connect(dsn) as connection:
            self.indexes = connection.execute((SYSTEM_SCHEMAS + INDEXES).encode()).fetchall()
            self.foreign_keys = connection.execute((SYSTEM_SCHEMAS + FOREIGN_KEYS).encode()).fetchall()
            self.columns = connection.execute((SYSTEM_SCHEMAS + COLUMNS).encode()).fetchall()
            self.other_things = connection.execute((SYSTEM_SCHEMAS + OTHER_THINGS).encode()).fetchall()

    def tables(self) -> set[str]:
        return {table for table, *_ in self.columns}


@pytest.fixture(params=["gateway", "merchant"])
def catalogue(request: pytest.FixtureRequest) -> Catalogue:
    return Catalogue(request.param, request.getfixturevalue(f"{request.param}_dsn"))


@pytest.fixture
def both(gateway_dsn: str, merchant_dsn: str) -> list[Catalogue]:
    return [Catalogue("gateway", gateway_dsn), Catalogue("merchant", merchant_dsn)]


def test_there_is_something_to_check(catalogue: Catalogue) -> None:
    assert len(catalogue.tables()) >= 8
    assert len(catalogue.indexes) >= len(catalogue.tables())
    assert "pii.customer" in catalogue.tables(), "all schemas are looked at"


def test_every_table_has_a_primary_key(catalogue: Catalogue) -> None:
    keyed = {table for table, _, primary, _, _ in catalogue.indexes if primary}
    assert catalogue.tables() - keyed == set()


def test_primary_keys_and_unique_constraints_begin_with_the_owner(catalogue: Catalogue) -> None:
    for table, index, _, unique, columns in catalogue.indexes:
        if unique and f"{catalogue.service} {table}" not in OWNERLESS:
            assert columns[0] in OWNERS, f"{table}.{index} begins with {columns[0]}"


def test_the_gateways_keys_name_the_mode_next(gateway_dsn: str) -> None:
    """Neither mode sees the other's objects. DESIGN §5."""
    for table, index, _, unique, columns in Catalogue("gateway", gateway_dsn).indexes:
        if unique and f"gateway {table}" not in OWNERLESS and table not in MODELESS:
            assert columns[1:2] in (["livemode"], ["mode"]), f"{table}.{index} is {columns}"


def test_an_owner_has_one_name_in_a_table_and_is_never_null(catalogue: Catalogue) -> None:
    for table in catalogue.tables():
        if f"{catalogue.service} {table}" not in OWNERLESS:
            owners = [column for there, column, *_ in catalogue.columns if there == table and column in OWNERS]
            assert len(owners) == 1, f"{table}: {owners}"


def test_foreign_keys_stay_with_one_owner(catalogue: Catalogue) -> None:
    for name, table, other, columns, others in catalogue.foreign_keys:
        pairs = list(zip(columns, others, strict=True))
        assert any(mine in OWNERS and theirs in OWNERS for mine, theirs in pairs), f"{name}: {table} -> {other} {pairs}"


def test_there_are_no_triggers_sequences_or_rules_and_functions_only_compute(catalogue: Catalogue) -> None:
    assert catalogue.other_things == []


def test_columns_are_exact_and_are_filled_by_the_application(catalogue: Catalogue) -> None:
    """No floats for money, no times without a zone, no identity column, no default that reads a clock or makes ids."""
    for table, column, kind, identity, default in catalogue.columns:
        if table == "schema_version":
            continue
        assert kind.removesuffix("[]") in EXACT_TYPES, f"{table}.{column} is {kind}"
        assert identity == "", f"{table}.{column} is an identity column"
        assert not re.search(r"\b(?!ARRAY)\w+\(", default), f"{table}.{column} has the default {default}"


def test_no_column_could_carry_a_card_number(catalogue: Catalogue) -> None:
    """RULES §9: tokens, first six, last four; nothing between."""
    forbidden = re.compile(r"(^|_)(pan|cvc|cvv|cvn|card_number|number_full|track[12]?)($|_)")
    assert [(table, column) for table, column, *_ in catalogue.columns if forbidden.search(column)] == []


def test_every_exception_is_needed(both: list[Catalogue]) -> None:
    ownerless = {
        f"{catalogue.service} {table}"
        for catalogue in both
        for table, _, _, unique, columns in catalogue.indexes
        if unique and columns[0] not in OWNERS
    }
    assert set(OWNERLESS) <= ownerless
    modeless = {
        table
        for table, _, _, unique, columns in both[0].indexes
        if unique and columns[1:2] not in (["livemode"], ["mode"])
    }
    assert set(MODELESS) <= modeless


# Statements


def statements_of(service: str) -> Iterator[tuple[str, Statement]]:
    """The statements that run in the service's database, with their room; those of the kernel run in both."""
    for path in sorted(SOURCE.rglob("*.sql")):
        if path.parent.name != "schema" and path.relative_to(SOURCE).parts[0] in (service, "kernel"):
            room = path.parent.relative_to(SOURCE).as_posix()
            for statement in Statements.beside(str(path), path.name):
                yield room, statement


@pytest.mark.parametrize("service", ["gateway", "merchant"])
async def test_every_statement_prepares_through_both_drivers(service: str, request: pytest.FixtureRequest) -> None:
    """Against the real schema; both drivers see the same parameters and the same columns."""
    dsn = request.getfixturevalue(f"{service}_dsn")
    faults = []
    prepared = 0
    asynchronous = await asyncpg.connect(dsn)
    with psycopg.connect(dsn, autocommit=True) as synchronous:
        for room, statement in statements_of(service):
            try:
                seen = await asyncpg_sees(asynchronous, statement)
                assert seen == psycopg_sees(synchronous, statement)
                prepared += 1
            except (asyncpg.PostgresError, psycopg.Error, AssertionError) as error:
                faults.append(f"{room} {statement.name}: {error}")
    await asynchronous.close()
    assert faults == [], "\n".join(faults)
    assert prepared > 0


async def asyncpg_sees(connection: Any, statement: Statement) -> tuple[int, list[tuple[str, int]]]:
    """How many parameters the statement takes, and the names and types of the columns that it gives."""
    prepared = await connection.prepare(statement.text)
    return len(prepared.get_parameters()), [(column.name, column.type.oid) for column in prepared.get_attributes()]


def psycopg_sees(connection: psycopg.Connection[Any], statement: Statement) -> tuple[int, list[tuple[str, int]]]:
    """The same through libpq, as psycopg's RawCursor would send it."""
    result = connection.pgconn.prepare(b"", statement.text.encode())
    if result.status == psycopg.pq.ExecStatus.COMMAND_OK:
        result = connection.pgconn.describe_prepared(b"")
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.DatabaseError(result.error_message.decode(errors="replace"))
    columns = [((result.fname(n) or b"").decode(), result.ftype(n)) for n in range(result.nfields)]
    return result.nparams, columns
