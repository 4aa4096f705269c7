"""Who may do what in the databases: every table is listed, nobody may do more than its statements need, and what a role
must not do is tried and refused. RULES §12.

The databases here belong to `tallystick_owner` and are migrated by it, as in a real installation; each role connects
with its own password.
"""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from msgspec import Struct
from psycopg.sql import SQL, Identifier

import tallystick
from tallystick.cli.doctor.examining import examine
from tallystick.cli.doctor.findings import Finding
from tallystick.kernel.grants import GATEWAY, GATEWAY_PII, MERCHANT, OWNER, PII, READER, ROLES, VAULT, read_grants
from tallystick.kernel.migrations import MigrationRefused, migrate, missing_roles
from tallystick.ports.database import Statement, Statements
from tallystick.ports.postgres import create_databases
from tallystick.ports.postgres_roles import give_database, may_change_tables

SOURCE = Path(tallystick.__file__).parent
SERVICES = {"gateway": GATEWAY, "merchant": MERCHANT}

# Rooms whose statements run as another role than their service's.
ROLE_OF_ROOM = {
    "gateway/vault": VAULT,
    "merchant/customers": PII,
    "gateway/people": GATEWAY_PII,
    "kernel/audit/purging": OWNER,
}
# Rooms of the kernel that one service does not use yet, so that it has not got their tables.
UNUSED: set[str] = set()
# What a role may do although no statement of its rooms does it, each with its reason.
GRANTED_FOR_OTHERS = {
    "gateway schema_version SELECT": "`serve` looks whether the schema is up to date",
    "merchant schema_version SELECT": "`serve` looks whether the schema is up to date",
    **{
        f"gateway pii.customer_detail {privilege}": "the version before writes here until it is stopped"
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE")
    },
}

APPEND_ONLY = {
    "gateway": {
        *("ledger_transaction", "event", "message", "delivery_attempt", "settlement_report", "outcome_resolution"),
        *("audit_entry", "audit_outcome", "pii.access"),
    },
    "merchant": {
        "pii.access",
        "timeline",
        "audit",
        "audit_entry",
        "audit_outcome",
        "message",
        "delivery_attempt",
        "settlement_file",
    },
}
# What a reader must not see: (service, table, column); * for all of a table.
NOT_FOR_READERS = {
    ("gateway", "api_key", "*"),
    ("gateway", "operator_key", "*"),
    ("gateway", "operator_user", "*"),
    ("gateway", "operator_session", "*"),
    ("gateway", "operator_second_factor", "*"),
    ("gateway", "login_failure", "*"),
    ("gateway", "payment_tries", "*"),
    ("gateway", "charge_address", "*"),
    ("gateway", "operator_place", "*"),
    ("merchant", "operator_user", "*"),
    ("merchant", "operator_session", "*"),
    ("merchant", "operator_second_factor", "*"),
    ("merchant", "login_failure", "*"),
    ("merchant", "operator_place", "*"),
    ("gateway", "idempotency_key", "*"),
    ("gateway", "webhook_endpoint", "secrets"),
    ("gateway", "vault.card", "*"),
    ("gateway", "pii.customer_detail", "*"),
    ("gateway", "pii.customer", "*"),
    ("gateway", "pii.subject_key", "*"),
    ("gateway", "pii.lookup", "*"),
    ("gateway", "pii.access", "*"),
    ("gateway", "payment_method", "vault_token"),
    ("merchant", "api_key", "*"),
    ("merchant", "operator_key", "*"),
    ("merchant", "idempotency_key", "*"),
    ("merchant", "notification_endpoint", "secrets"),
    ("merchant", "merchant", "stock_secret"),
    ("merchant", "inbox", "raw"),
    ("merchant", "settlement_upload", "*"),
    ("merchant", "pii.customer", "*"),
    ("merchant", "pii.subject_key", "*"),
    ("merchant", "pii.lookup", "*"),
    ("merchant", "pii.access", "*"),
}


AsRole = Callable[[str, str], str]


class Installation(Struct, frozen=True):
    """Two databases that belong to the owner, on a server that has all roles."""

    administrator: dict[str, str]
    as_role: AsRole

    def dsn(self, service: str, role: str) -> str:
        """The DSN of `role` for the database of `service`."""
        return self.as_role(self.administrator[service], role)

    def connect(self, service: str, role: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn(service, role), autocommit=True)


@pytest.fixture(scope="module")
def installation(postgres_dsn: str, as_role: AsRole) -> Iterator[Installation]:
    names = {service: f"tallystick_roles_{secrets.token_hex(4)}_{service}" for service in SERVICES}
    create_databases(postgres_dsn, names.values())
    dsns = {service: urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}")) for service, name in names.items()}
    made = Installation(dsns, as_role)
    for service, dsn in dsns.items():
        give_database(dsn, OWNER)
        migrate(made.dsn(service, OWNER), f"tallystick.{service}.schema")
    yield made
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for name in names.values():
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


# The grants


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_stands_in_the_grants(installation: Installation, service: str) -> None:
    """A new table cannot be forgotten, and one that is gone cannot stay."""
    assert tables_granted(service) == tables(installation, service)


@pytest.mark.parametrize("service", SERVICES)
def test_the_services_role_may_run_every_statement(installation: Installation, service: str) -> None:
    """The server checks privileges when a plan is started, so that EXPLAIN needs the same ones as the statement."""
    faults = []
    for room, statement in statements_of(service):
        with installation.connect(service, ROLE_OF_ROOM.get(room, SERVICES[service])) as connection:
            try:
                start(connection, statement)
            except psycopg.errors.InsufficientPrivilege as error:
                faults.append(f"{room} {statement.name}: {error}")
    assert faults == [], "\n".join(faults)


@pytest.mark.parametrize("service", SERVICES)
def test_no_role_of_a_service_may_do_more_than_its_statements(installation: Installation, service: str) -> None:
    needed = {
        f"{service} {need}" for room, each in statements_of(service) for need in needs(each) if room not in ROLE_OF_ROOM
    }
    granted = {
        f"{service} {table} {verb}"
        for table in tables(installation, service)
        for verb in privileges(installation, service, SERVICES[service], table)
    }
    assert granted - needed == {each for each in GRANTED_FOR_OTHERS if each.startswith(service)}


def test_granting_again_changes_nothing_and_takes_back_what_was_given_by_hand(installation: Installation) -> None:
    before = acls(installation, "gateway")
    with installation.connect("gateway", OWNER) as owner:
        owner.execute("GRANT DELETE ON ledger_transaction TO tallystick_gateway")
        owner.execute("GRANT UPDATE (amounts) ON ledger_transaction TO tallystick_reader")
        owner.execute("GRANT SELECT ON api_key TO PUBLIC")
        owner.execute("GRANT CREATE ON SCHEMA public TO tallystick_gateway")
    assert acls(installation, "gateway") != before
    migrate(installation.dsn("gateway", OWNER), "tallystick.gateway.schema")
    assert acls(installation, "gateway") == before


async def test_the_doctor_tells_for_every_role_what_it_lacks_and_what_it_has_too_much(
    installation: Installation,
) -> None:
    """Reading and writing, of one column too, and what comes by way of PUBLIC."""

    async def told(service: str) -> dict[str, list[Finding]]:
        prefix = f"TALLYSTICK_{service.upper()}_"
        environ = {f"{prefix}DATABASE_DSN": installation.dsn(service, SERVICES[service]), f"{prefix}PORT": "1"}
        grants = [each for each in await examine(service, environ) if each.check == "grant"]
        return {role: [each for each in grants if each.subject == role] for role in sorted(set(ROLES) - {OWNER})}

    for service in SERVICES:
        assert {each.state for found in (await told(service)).values() for each in found} == {"good"}
        assert all((await told(service)).values()), "every role is looked at"
    with installation.connect("gateway", OWNER) as owner:
        owner.execute("REVOKE INSERT ON pii.access FROM tallystick_gateway_pii")
        owner.execute("GRANT UPDATE (amounts) ON ledger_transaction TO tallystick_gateway")
        owner.execute("GRANT DELETE ON audit_entry TO PUBLIC")
        owner.execute("REVOKE USAGE ON SCHEMA vault FROM tallystick_vault")
        owner.execute("REVOKE SELECT ON event FROM tallystick_reader")
        owner.execute("GRANT SELECT ON api_key TO tallystick_reader")
    try:
        found = await told("gateway")
    finally:
        migrate(installation.dsn("gateway", OWNER), "tallystick.gateway.schema")
    says = {role: " / ".join(each.says for each in findings) for role, findings in found.items()}
    assert says[GATEWAY_PII] == "it lacks INSERT on pii.access / it should not have DELETE on audit_entry"
    assert says[GATEWAY] == "it should not have DELETE on audit_entry, UPDATE on ledger_transaction"
    assert says[VAULT] == "it lacks USAGE on vault / it should not have DELETE on audit_entry"
    assert says[READER] == "it lacks SELECT on event / it should not have SELECT on api_key, DELETE on audit_entry"
    assert says[MERCHANT] == "it should not have DELETE on audit_entry"
    assert all(each.state == "bad" and "database migrate" in each.do for each in found[READER])
    assert {each.state for findings in (await told("gateway")).values() for each in findings} == {"good"}


def test_only_the_owner_migrates(installation: Installation) -> None:
    """A migration of somebody else's would leave tables that are not the owner's."""
    with pytest.raises(MigrationRefused, match="tallystick_owner"):
        migrate(installation.administrator["merchant"], "tallystick.merchant.schema")
    assert missing_roles(installation.dsn("merchant", OWNER), "tallystick.merchant.schema") == []


def test_one_role_for_everything_goes_on_working(empty_dsn: str, installation: Installation) -> None:
    """An installation of an earlier version: the tables are its own role's, nothing is granted or taken away."""
    assert installation
    migrate(empty_dsn, "tallystick.gateway.schema")
    assert missing_roles(empty_dsn, "tallystick.gateway.schema") is None
    with psycopg.connect(empty_dsn) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relacl::text LIKE '%tallystick%'").fetchall()
    assert rows == []


def test_a_service_that_may_change_tables_is_noticed(installation: Installation, empty_dsn: str) -> None:
    for service, role in SERVICES.items():
        assert not may_change_tables(installation.dsn(service, role))
        assert may_change_tables(installation.dsn(service, OWNER))
        assert may_change_tables(installation.administrator[service]), "who may become anybody may do anything"
    assert not may_change_tables("postgresql:///nothing?host=/nowhere")
    assert not may_change_tables(empty_dsn)


def test_a_database_of_one_role_is_given_to_the_owner(empty_dsn: str, installation: Installation) -> None:
    """How the embedded server of an earlier version is brought up to date."""
    migrate(empty_dsn, "tallystick.merchant.schema")
    give_database(empty_dsn, OWNER)
    give_database(empty_dsn, OWNER)
    migrate(installation.as_role(empty_dsn, OWNER), "tallystick.merchant.schema")
    with psycopg.connect(installation.as_role(empty_dsn, MERCHANT)) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(0,)]
    with psycopg.connect(empty_dsn) as connection:
        owners = connection.execute(OWNERS).fetchall()
    assert owners == [(OWNER,)]


def test_the_documented_way_from_one_role_to_all_of_them(empty_dsn: str, installation: Installation) -> None:
    """The old role goes on meanwhile. docs/database-roles.md."""
    page = (SOURCE.parent.parent / "docs" / "database-roles.md").read_text(encoding="utf-8")
    fences = (block.split("```")[0] for block in page.split("```sql")[1:])
    creating, moving = (block.partition("\n")[2] for block in fences)  # without what the fence says of itself
    assert [f"CREATE ROLE {role} LOGIN" in creating for role in ROLES] == [True] * len(ROLES)
    database = urlsplit(empty_dsn).path.lstrip("/")
    with psycopg.connect(empty_dsn, autocommit=True) as administrator:
        administrator.execute("CREATE ROLE shop LOGIN PASSWORD 'shop'")
        try:
            administrator.execute(SQL("ALTER DATABASE {} OWNER TO shop").format(Identifier(database)))
            shop = urlunsplit(
                urlsplit(empty_dsn)._replace(netloc="shop:shop@" + urlsplit(empty_dsn).netloc.partition("@")[2])
            )
            migrate(shop, "tallystick.gateway.schema")
            with psycopg.connect(shop, autocommit=True) as running:
                administrator.execute(moving.replace("DATABASE tallystick_gateway", f'DATABASE "{database}"').encode())
                migrate(installation.as_role(empty_dsn, OWNER), "tallystick.gateway.schema")
                running.execute(
                    "INSERT INTO account (account_id, name, created_at) VALUES ('acct_1', 'H', '2026-01-01Z')"
                )
                refused(running, "DROP TABLE account")
        finally:
            administrator.execute("DROP OWNED BY shop CASCADE; DROP ROLE shop")


def test_what_is_no_grant_to_a_role_of_ours_is_refused() -> None:
    for text in (
        "GRANT SELECT ON event TO somebody;",
        "GRANT SELECT ON event TO tallystick_gateway, PUBLIC;",
        "GRANT SELECT ON event TO tallystick_gateway WITH GRANT OPTION;",
        "DROP TABLE event;",
        "REVOKE SELECT ON event FROM tallystick_gateway;",
    ):
        with pytest.raises(ValueError, match="no grant"):
            read_grants(text)


# What each role must not do


@pytest.mark.parametrize("service", SERVICES)
def test_what_happened_cannot_be_changed_or_taken_back(installation: Installation, service: str) -> None:
    with installation.connect(service, SERVICES[service]) as connection:
        for table in sorted(APPEND_ONLY[service]):
            column = first_column(installation, service, table)
            refused(connection, f"UPDATE {table} SET {column} = {column}")
            refused(connection, f"DELETE FROM {table}")
            refused(connection, f"TRUNCATE {table}")
        for table in sorted(tables(installation, service)):
            refused(connection, f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("role", sorted(set(ROLES) - {OWNER}))
def test_nobody_but_the_owner_changes_a_table(installation: Installation, service: str, role: str) -> None:
    if role not in {each for grant in grants_of(service) for each in grant.roles}:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            installation.connect(service, role)
        return
    before = acls(installation, service)
    with installation.connect(service, role) as connection:
        for table in sorted(tables(installation, service)):
            name = table if "." in table else f"public.{table}"
            refused(connection, f"ALTER TABLE {name} ADD COLUMN more text")
            refused(connection, f"DROP TABLE {name}")
            refused(connection, f"ALTER TABLE {name} OWNER TO {role}")
            refused(connection, f"ALTER TABLE {name} DISABLE TRIGGER ALL")
            with suppress(psycopg.errors.InsufficientPrivilege):  # who holds a privilege is only warned
                connection.execute(f"GRANT ALL ON {name} TO PUBLIC".encode())
        for command in (
            "CREATE TABLE public.more (id text PRIMARY KEY)",
            "CREATE TEMPORARY TABLE more (id text PRIMARY KEY)",
            "CREATE SCHEMA more",
            "CREATE FUNCTION public.more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE ROLE more",
            "CREATE DATABASE more",
            f"SET ROLE {OWNER}",
            "SET SESSION AUTHORIZATION postgres",
            f"ALTER ROLE {role} SUPERUSER",
            f"GRANT {OWNER} TO {role}",
            "SET session_replication_role = replica",
            "SELECT rolpassword FROM pg_authid",
            "SELECT pg_read_file('PG_VERSION')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "ALTER SYSTEM SET fsync = off",
        ):
            refused(connection, command)
    assert acls(installation, service) == before, "nobody passes on what was granted to it"


def test_a_service_does_not_get_into_the_other_ones_database(installation: Installation) -> None:
    strangers = (("gateway", MERCHANT), ("gateway", PII), ("merchant", GATEWAY), ("merchant", GATEWAY_PII))
    for service, role in strangers:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            installation.connect(service, role)


def test_who_sees_an_accounts_customers_sees_no_payment_and_never_forgets_who_looked(
    installation: Installation,
) -> None:
    with installation.connect("gateway", GATEWAY_PII) as pii:
        for text in (
            "SELECT 1 FROM public.customer",
            "SELECT 1 FROM public.payment_intent",
            "SELECT 1 FROM vault.card",
            "DELETE FROM pii.access",
            "UPDATE pii.access SET reason = ''",
            "UPDATE pii.lookup SET mac = mac",
        ):
            refused(pii, text)
    with installation.connect("gateway", GATEWAY) as gateway:
        for table in ("customer", "subject_key", "lookup", "access"):
            refused(gateway, f"SELECT 1 FROM pii.{table}")


def test_who_sells_sees_no_personal_data_and_who_sees_them_sees_no_sale(installation: Installation) -> None:
    insert = "INSERT INTO pii.customer (merchant_id, customer_id, created_at) VALUES ('mer_1', 'cus_1', '2026-01-01Z')"
    with installation.connect("merchant", MERCHANT) as merchant:
        refused(merchant, insert)
        refused(merchant, "SELECT sealed_email FROM pii.customer")
        refused(merchant, "SELECT mac FROM pii.lookup")
        refused(merchant, "DELETE FROM pii.access")
    with installation.connect("merchant", PII) as pii:
        pii.execute(insert.encode())
        refused(pii, "SELECT amount_minor FROM public.orders")
        refused(pii, "DELETE FROM pii.access")
        pii.execute("DELETE FROM pii.customer")


def test_who_takes_payments_sees_no_stored_card_and_who_has_them_sees_no_payment(installation: Installation) -> None:
    with installation.connect("gateway", GATEWAY) as gateway:
        refused(gateway, "SELECT sealed FROM vault.card")
        refused(gateway, "DELETE FROM vault.card")
    with installation.connect("gateway", VAULT) as vault:
        vault.execute("SELECT sealed FROM vault.card")
        refused(vault, "SELECT amount FROM public.payment_intent")


@pytest.mark.parametrize("service", SERVICES)
def test_a_reader_writes_nothing_and_sees_no_secret(installation: Installation, service: str) -> None:
    hidden = {(table, column) for where, table, column in NOT_FOR_READERS if where == service}
    with installation.connect(service, READER) as connection:
        for table in sorted(tables(installation, service)):
            refused(connection, f"DELETE FROM {table}")
            refused(connection, f"INSERT INTO {table} DEFAULT VALUES")
            refused(
                connection, f"UPDATE {table} SET {(column := first_column(installation, service, table))} = {column}"
            )
            refused(connection, f"SELECT FROM {table} FOR UPDATE")
            if not any(there == table for there, _ in hidden):
                connection.execute(f"SELECT * FROM {table}".encode())
        for table, column in sorted(hidden):
            refused(connection, f"SELECT {column} FROM {table}")


def test_every_column_that_sounds_secret_is_hidden_from_readers(installation: Installation) -> None:
    """A new one cannot be forgotten."""
    sounds = re.compile(r"secret(?!_refs?|_key_ref)|password|hash|token|(^|_)raw$|salt")
    known = {  # a browser gets it too
        ("gateway", "payment_intent", "client_secret"),
        ("gateway", "checkout_session", "client_secret"),
        ("merchant", "attempt", "client_secret"),
    }
    for service in SERVICES:
        with installation.connect(service, READER) as connection:
            rows = connection.execute(COLUMNS_READ).fetchall()
        seen = {(service, str(table), str(column)) for table, column in rows if sounds.search(str(column))}
        assert seen - known == set()


# How they are looked at


def refused(connection: psycopg.Connection[Any], command: str) -> None:
    """Try it; it must be refused for want of a privilege."""
    try:
        connection.execute(command.encode())
    except psycopg.errors.InsufficientPrivilege:
        return
    pytest.fail(f"{connection.info.user} may {command}")


def tables(installation: Installation, service: str) -> set[str]:
    with installation.connect(service, OWNER) as connection:
        return {str(name) for (name,) in connection.execute(TABLES)}


def first_column(installation: Installation, service: str, table: str) -> str:
    with installation.connect(service, OWNER) as connection:
        rows = connection.execute(FIRST_COLUMN, [table]).fetchall()
    return str(rows[0][0])


def privileges(installation: Installation, service: str, role: str, table: str) -> set[str]:
    """The verbs that a role may use on a table, or on one of its columns."""
    with installation.connect(service, OWNER) as connection:
        verbs = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
        return {verb for verb in verbs if may(connection, role, table, verb)}


def may(connection: psycopg.Connection[Any], role: str, table: str, verb: str) -> bool:
    query = "SELECT has_table_privilege(%(role)s, %(table)s, %(verb)s)"
    if verb in ("SELECT", "INSERT", "UPDATE", "REFERENCES"):
        query = "SELECT has_any_column_privilege(%(role)s, %(table)s, %(verb)s)"
    rows = connection.execute(query.encode(), {"role": role, "table": table, "verb": verb}).fetchall()
    return bool(rows[0][0])


def acls(installation: Installation, service: str) -> list[Any]:
    with installation.connect(service, OWNER) as connection:
        return connection.execute(ACLS).fetchall()


def grants_of(service: str) -> Any:
    return read_grants((SOURCE / service / "schema" / "grants.sql").read_text(encoding="utf-8"))


def tables_granted(service: str) -> set[str]:
    found: set[str] = set()
    for grant in grants_of(service):
        _, _, things = grant.what.partition(" ON ")
        if not things.startswith(("SCHEMA ", "FUNCTION ")):
            found |= {name.strip() for name in things.split(",")}
    return found


def statements_of(service: str) -> Iterator[tuple[str, Statement]]:
    """The statements that run in the service's database, with their room."""
    for path in sorted(SOURCE.rglob("*.sql")):
        if path.parent.name != "schema" and path.relative_to(SOURCE).parts[0] in (service, "kernel"):
            room = path.parent.relative_to(SOURCE).as_posix()
            for statement in Statements.beside(str(path), path.name) if f"{service} {room}" not in UNUSED else ():
                yield room, statement


def start(connection: psycopg.Connection[Any], statement: Statement) -> None:
    """Have the server start the statement without running it. COPY cannot be explained, its INSERT can."""
    text = re.sub(r"^--.*$", "", statement.text, flags=re.MULTILINE).strip().rstrip(";")
    if copy := re.match(r"COPY (\w+) \(([^)]*)\) FROM STDIN", text):
        nothing = ", ".join("NULL" for _ in copy[2].split(","))
        text = f"INSERT INTO {copy[1]} ({copy[2]}) VALUES ({nothing})"
    count = max([0, *(int(number) for number in re.findall(r"\$(\d+)", text))])
    given = f" ({', '.join(['NULL'] * count)})" if count else ""
    connection.execute(f"PREPARE looked_at AS {text}".encode(), prepare=False)
    connection.execute(f"EXPLAIN EXECUTE looked_at{given}".encode(), prepare=False)


NEEDS = (
    ("INSERT", r"\b(?:INSERT INTO|COPY) ([a-z_.]+)"),
    ("UPDATE", r"\bUPDATE ([a-z_.]+) (?:\w+\s+)?SET\b"),
    ("DELETE", r"\bDELETE FROM ([a-z_.]+)"),
    ("SELECT", r"(?<!DELETE )\b(?:FROM|JOIN|USING) ([a-z_.]+)"),
)


def needs(statement: Statement) -> set[str]:
    """Roughly what a statement needs, as `table VERB`: what it names, and of what it reads, the lock where it locks."""
    text = re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", statement.text))
    found = {f"{table} {verb}" for verb, pattern in NEEDS for table in re.findall(pattern, text)}
    upserts = re.findall(r"INSERT INTO ([a-z_.]+)(?:(?!INSERT INTO).)* ON CONFLICT[^;]*? DO UPDATE", text)
    found |= {f"{table} UPDATE" for table in upserts}
    changed = re.findall(r"\b(?:INSERT INTO|UPDATE|DELETE FROM) ([a-z_.]+)", text)  # with a WHERE or RETURNING it reads
    found |= {f"{table} SELECT" for table in changed if re.search(r"\b(WHERE|RETURNING|ON CONFLICT \()", text)}
    if re.search(r"\bFOR (NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)\b", text):
        found |= {f"{table} UPDATE" for table in re.findall(NEEDS[3][1], text)}
    return found


_OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
TABLES = f"""
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND {_OURS}
""".encode()
FIRST_COLUMN = b"SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1"
ACLS = f"""
SELECT 'schema', n.nspname, n.nspacl::text, '' FROM pg_namespace n WHERE {_OURS}
UNION ALL
SELECT 'table', c.oid::regclass::text, c.relacl::text,
       (SELECT string_agg(a.attname || a.attacl::text, ',' ORDER BY a.attnum) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL AND a.attacl::text <> '{{}}')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND {_OURS}
UNION ALL
SELECT 'function', p.oid::regprocedure::text, p.proacl::text, ''
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE {_OURS}
UNION ALL
SELECT 'database', d.datname, d.datacl::text, '' FROM pg_database d WHERE d.datname = current_database()
 ORDER BY 1, 2
""".encode()
OWNERS = f"""
SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND {_OURS}
""".encode()
COLUMNS_READ = f"""
SELECT c.oid::regclass::text, a.attname
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND {_OURS} AND a.attnum > 0 AND has_schema_privilege(n.oid, 'USAGE')
   AND has_column_privilege(c.oid, a.attnum, 'SELECT')
""".encode()
