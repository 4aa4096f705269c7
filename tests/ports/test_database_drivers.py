"""The same SQL text runs unchanged through asyncpg and through psycopg's connection (DESIGN §2.5, §8).

Each test runs twice, once for each driver; what goes in and what comes out must be the same.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import (
    ConstraintViolated,
    Database,
    DatabaseError,
    DatabaseUnavailable,
    SerializationFailed,
    Statement,
    StatementRefused,
    parse_statements,
)
from tallystick.ports.synchronous import SynchronousConnection, SynchronousDatabase

AT = datetime(2026, 11, 23, 12, 34, 56, 789012, tzinfo=UTC)

ROUND_TRIP = Statement(
    "round_trip",
    """
    SELECT $1::text AS words, $2::bigint AS amount, $3::boolean AS flag, $4::timestamptz AS at, $5::bytea AS raw,
           $6::jsonb AS facts, $7::text[] AS names, $8::bigint[] AS amounts, $9::text AS nothing
    """,
)

STORE = Statement(
    "store",
    """
    INSERT INTO tally (owner_id, id, amount, paid, at, raw, facts, note)
    SELECT u.owner_id, u.id, u.amount, u.paid, u.at, u.raw, u.facts, u.note
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::timestamptz[], $6::bytea[], $7::jsonb[],
      $8::text[])
           AS u(owner_id, id, amount, paid, at, raw, facts, note)
     ORDER BY u.owner_id, u.id
        ON CONFLICT DO NOTHING
    RETURNING id
    """,
)

LOAD = Statement(
    "load",
    """
    SELECT owner_id, id, amount, paid, at, raw, facts, note
      FROM tally
     WHERE owner_id = $1::text AND at < $2::timestamptz + make_interval(secs => $3::float8)
     ORDER BY id
    """,
)

TOUCH = Statement("touch", "UPDATE tally SET amount = amount + $2::bigint WHERE owner_id = $1::text")

CREATE = Statement(
    "create",
    """
    CREATE TABLE tally (
        owner_id text, id text, amount bigint CONSTRAINT tally_positive CHECK (amount > 0), paid boolean, at
        timestamptz, raw bytea, facts jsonb, note text, PRIMARY KEY (owner_id, id)
    )
    """,
)


@pytest.fixture(params=["asyncpg", "psycopg"])
async def database(request: pytest.FixtureRequest, gateway_dsn: str) -> AsyncIterator[Database]:
    opened: Database = (
        await open_database(gateway_dsn) if request.param == "asyncpg" else SynchronousDatabase(gateway_dsn)
    )
    yield opened
    await opened.close()


async def test_values_go_in_and_come_out_alike(database: Database) -> None:
    [row] = await database.rows(
        ROUND_TRIP,
        "größer",
        999_999_999_999,
        True,
        AT,
        b"\0\xff",
        '{"b": 1, "a": [2]}',
        ["x", None, "'\"\\"],
        [1, 2**40],
        None,
    )
    assert dict(row) == {
        "words": "größer",
        "amount": 999_999_999_999,
        "flag": True,
        "at": AT,
        "raw": b"\0\xff",
        "facts": '{"a": [2], "b": 1}',
        "names": ["x", None, "'\"\\"],
        "amounts": [1, 2**40],
        "nothing": None,
    }
    assert isinstance(row["at"], datetime)
    assert row["at"].utcoffset() == timedelta(0)


async def test_a_batch_goes_in_as_arrays_and_comes_out_as_rows(database: Database) -> None:
    await database.execute(CREATE)
    batch = (
        ["m"] * 3,
        ["3", "1", "2"],
        [30, 10, 20],
        [True, False, True],
        [AT] * 3,
        [b"c", b"a", b"b"],
        ["{}", "[1]", "null"],
        ["n", None, ""],
    )
    stored = await database.rows(STORE, *batch)
    assert sorted(row["id"] for row in stored) == ["1", "2", "3"]
    assert list(await database.rows(STORE, *batch)) == [], "the second time they are known"
    loaded = await database.rows(LOAD, "m", AT, 0.5)
    assert [(row["id"], row["amount"], row["paid"], row["raw"], row["facts"], row["note"]) for row in loaded] == [
        ("1", 10, False, b"a", "[1]", None),
        ("2", 20, True, b"b", "null", ""),
        ("3", 30, True, b"c", "{}", "n"),
    ]


async def test_an_empty_batch_is_a_batch(database: Database) -> None:
    await database.execute(CREATE)
    assert list(await database.rows(STORE, [], [], [], [], [], [], [], [])) == []


async def test_rows_touched_are_counted(database: Database) -> None:
    await database.execute(CREATE)
    await database.rows(STORE, ["m", "m"], ["1", "2"], [1, 2], [True] * 2, [AT] * 2, [b""] * 2, ["{}"] * 2, [None] * 2)
    assert await database.execute(TOUCH, "m", 5) == 2
    assert await database.execute(TOUCH, "nobody", 5) == 0


async def test_a_transaction_commits_as_a_whole_or_not_at_all(database: Database) -> None:
    await database.execute(CREATE)
    one = (["m"], ["1"], [1], [True], [AT], [b""], ["{}"], [None])

    async def broken_off() -> None:
        async with database.transaction() as tx:
            await tx.rows(STORE, *one)
            raise RuntimeError("the process had other plans")

    with pytest.raises(RuntimeError):
        await broken_off()
    assert list(await database.rows(LOAD, "m", AT, 1.0)) == []
    async with database.transaction() as tx:
        await tx.rows(STORE, *one)
    assert len(await database.rows(LOAD, "m", AT, 1.0)) == 1


async def test_what_the_server_refuses_has_one_name_in_both_drivers(database: Database) -> None:
    await database.execute(CREATE)
    with pytest.raises(ConstraintViolated) as refused:
        await database.rows(STORE, ["m"], ["1"], [0], [True], [AT], [b""], ["{}"], [None])
    assert refused.value.constraint == "tally_positive"
    with pytest.raises(StatementRefused):
        await database.rows(STORE, ["m"], ["1"], [1], [True], [AT], [b""], ["{not json"], [None])
    with pytest.raises(StatementRefused):
        await database.rows(Statement("wrong", "SELECT * FROM nowhere"))
    # A value that fits no column is the statement's fault: a batch that holds it can be split, the database is there.
    for poison in (("m\x00", 1), ("m\ud800", 1), ("m", 2**63)):
        with pytest.raises(StatementRefused):
            await database.rows(STORE, [poison[0]], ["1"], [poison[1]], [True], [AT], [b""], ["{}"], [None])


async def test_what_is_refused_only_when_it_is_committed_has_the_same_name(database: Database) -> None:
    await database.execute(Statement("late", "CREATE TABLE late (id int CONSTRAINT once UNIQUE DEFERRABLE)"))

    async def write() -> None:
        async with database.transaction() as tx:
            await tx.execute(Statement("defer", "SET CONSTRAINTS once DEFERRED"))
            await tx.execute(Statement("twice", "INSERT INTO late VALUES (1), (1)"))

    with pytest.raises(ConstraintViolated) as refused:
        await write()
    assert refused.value.constraint == "once"


async def test_a_server_that_takes_no_writes_is_unavailable(database: Database) -> None:
    """A standby, or a primary that was relieved in a failover: nothing is wrong with what was to be written."""
    await database.execute(CREATE)
    read_only = Statement("read_only", "SET TRANSACTION READ ONLY")

    async def write() -> None:
        async with database.transaction() as tx:
            await tx.execute(read_only)
            await tx.execute(TOUCH, "acct_1", 1)

    with pytest.raises(DatabaseUnavailable):
        await write()


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ("io_error", DatabaseUnavailable),  # a disk that fails is no fault of what was to be written
        ("out_of_memory", DatabaseUnavailable),
        ("query_canceled", DatabaseUnavailable),
        ("cannot_connect_now", DatabaseUnavailable),
        ("invalid_password", DatabaseUnavailable),
        ("deadlock_detected", SerializationFailed),
        ("lock_not_available", SerializationFailed),
        ("program_limit_exceeded", StatementRefused),  # a value too long for its index: no server takes it
        ("insufficient_privilege", StatementRefused),
        ("exclusion_violation", ConstraintViolated),
    ],
)
async def test_a_servers_error_has_one_name_in_both_drivers(
    database: Database, condition: str, name: type[DatabaseError]
) -> None:
    raised = Statement("raised", f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{condition}'; END $$")
    with pytest.raises(name):
        await database.execute(raised)


async def test_a_full_disk_is_told_in_the_log(empty_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Reads go on and the server answers, so nothing else would say why calls are refused; once a minute is enough."""
    full = Statement("full", "DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$")
    opened = await open_database(empty_dsn)
    try:
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await opened.execute(full)
    finally:
        await opened.close()
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert "DiskFullError" in told[0]


def test_a_connection_that_breaks_amid_several_statements_is_unavailable(empty_dsn: str) -> None:
    connection, other = SynchronousConnection(empty_dsn, {}), SynchronousConnection(empty_dsn, {})
    end_the_other = Statement(
        "end_the_other", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = $1::int"
    )
    backend = Statement("backend", "SELECT pg_backend_pid() AS pid")
    [row] = connection.run(backend, ())[0]
    other.run(end_the_other, (row["pid"],))
    with pytest.raises(DatabaseUnavailable):
        connection.run_together([(backend, ()), (backend, ())])
    other.close()


async def test_an_absent_server_is_unavailable() -> None:
    nowhere = "postgresql://postgres@127.0.0.1:1/nowhere"
    with pytest.raises(DatabaseUnavailable):
        await open_database(nowhere)
    with pytest.raises(DatabaseUnavailable):
        SynchronousDatabase(nowhere)


def test_a_statements_file_is_read_by_name() -> None:
    text = (
        "-- first_one\n-- Says what it is for.\nSELECT 1; \n\n"
        "-- second\n-- Two\n-- lines.\nSELECT ';' -- no end\n  FROM t\n WHERE a = 1;\n"
    )
    first, second = parse_statements(text)
    assert (first.name, first.text) == ("first_one", "SELECT 1")
    assert second.name == "second"
    assert second.text.startswith("SELECT ';'")
    assert second.text.endswith("WHERE a = 1")
