"""The pool of database connections: never more than allowed, first come first served, nothing broken is used again."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest

from tallystick.ports.asyncpg_database import AsyncpgDatabase, open_database
from tallystick.ports.connections import Connections
from tallystick.ports.database import Database, DatabaseUnavailable, Statement, StatementRefused

SLEEP = Statement("sleep", "SELECT pg_sleep($1::float8)")
WHO = Statement("who", "SELECT pg_backend_pid() AS pid, $1::int AS given")
OTHERS = Statement(
    "others",
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name <> 'supply of databases' ORDER BY pid",
)
KILL_OTHERS = Statement(
    "kill_others",
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
)


class Line:
    """A connection that only remembers what was done to it."""

    def __init__(self) -> None:
        self.closed = False
        self.in_transaction = False

    def is_closed(self) -> bool:
        return self.closed

    def is_in_transaction(self) -> bool:
        return self.in_transaction

    def terminate(self) -> None:
        self.closed = True

    async def close(self, timeout: float) -> None:
        self.closed = True


def lines(connections_max: int, wait_s: float = 5.0) -> tuple[Connections, list[Line]]:
    made: list[Line] = []

    async def connect() -> Any:
        await asyncio.sleep(0)
        made.append(Line())
        return made[-1]

    return Connections(connect, connections_max, wait_s), made


async def test_the_connection_used_last_is_used_first_and_none_is_opened_without_need() -> None:
    pool, made = lines(3)
    first, second = await pool.take(), await pool.take()
    pool.give_back(first)
    pool.give_back(second)
    for _ in range(10):
        assert await pool.take() is second
        pool.give_back(second)
    assert len(made) == 2


async def test_who_waits_longest_is_served_first_and_never_are_there_more_than_allowed() -> None:
    pool, made = lines(2)
    served: list[int] = []
    busy = 0

    async def use(number: int) -> None:
        nonlocal busy
        connection = await pool.take()
        busy += 1
        assert busy <= 2
        served.append(number)
        await asyncio.sleep(0.001)
        busy -= 1
        pool.give_back(connection)

    await asyncio.gather(*map(use, range(50)))
    assert served == list(range(50))
    assert len(made) == 2


async def test_a_broken_connection_makes_room_for_a_new_one() -> None:
    pool, made = lines(1)
    broken = await pool.take()
    waiting = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    pool.drop(broken)
    assert await waiting is made[1]
    assert broken.closed

    made[1].in_transaction = True
    pool.give_back(made[1])
    third = await pool.take()
    assert third is made[2]
    pool.give_back(third)
    third.closed = True  # by the server, while it was idle
    assert await pool.take() is made[3]


async def test_who_waits_in_vain_is_told_and_loses_nothing() -> None:
    pool, _ = lines(1, wait_s=0.01)
    connection = await pool.take()
    with pytest.raises(TimeoutError):
        await pool.take()
    pool.give_back(connection)
    assert await pool.take() is connection


@pytest.mark.parametrize("dropped", [False, True])
async def test_a_connection_that_comes_in_the_moment_of_giving_up_is_passed_on(dropped: bool) -> None:
    pool, _ = lines(1)
    connection = await pool.take()
    waiting = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    if dropped:
        pool.drop(connection)
    else:
        pool.give_back(connection)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.wait_for(pool.take(), 1) is not None


async def test_a_connection_that_cannot_be_opened_leaves_its_place_free() -> None:
    attempts = 0

    async def connect() -> Any:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        if attempts < 3:
            raise ConnectionRefusedError
        return Line()

    pool = Connections(connect, 1, 5.0)
    first, second = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    for task in (first, second):
        with pytest.raises(ConnectionRefusedError):
            await task
    assert await pool.take() is not None


async def test_what_was_opened_before_is_retired_when_it_falls_free() -> None:
    pool, made = lines(2)
    idle, busy = await pool.take(), await pool.take()
    pool.give_back(idle)
    pool.retire()
    assert idle.closed
    assert not busy.closed, "who has it works on"
    waiting = [asyncio.create_task(pool.take()) for _ in range(2)]
    await asyncio.sleep(0.01)
    pool.give_back(busy)
    assert busy.closed
    taken = await asyncio.gather(*waiting)
    assert {id(each) for each in taken} == {id(each) for each in made[2:]}, "the places are free for new ones"
    for each in taken:
        pool.give_back(each)
    assert await pool.take() is taken[-1]


# --- on a real server ---


@pytest.fixture
def users(merchant_dsn: str) -> Iterator[list[str]]:
    """DSNs of two users of one database, of whom the second may not log in yet."""
    names = [f"rotated_{os.getpid()}_{number}" for number in (1, 2)]
    with psycopg.connect(merchant_dsn, autocommit=True) as operator:
        for name, may in zip(names, ("LOGIN", "NOLOGIN"), strict=True):
            operator.execute(f"CREATE ROLE {name} {may} PASSWORD '{name}'".encode())
        parts = urlsplit(merchant_dsn)
        host = parts.netloc.rpartition("@")[2]
        yield [urlunsplit(parts._replace(netloc=f"{name}:{name}@{host}")) for name in names]
        for name in names:
            operator.execute(f"DROP ROLE {name}".encode())


class Kept:
    """A DSN that somebody else keeps and changes; `seen` is what is known of it here."""

    def __init__(self, dsn: str) -> None:
        self.seen = self.kept = dsn

    async def now(self) -> str:
        return self.seen

    async def again(self) -> str:
        self.seen = self.kept
        return self.seen


USER = Statement("user", "SELECT current_user::text AS name, pg_backend_pid() AS pid")


async def test_a_changed_dsn_is_used_by_all_connections(merchant_dsn: str, users: list[str]) -> None:
    source = Kept(users[0])
    database = await open_database(source)
    with psycopg.connect(merchant_dsn, autocommit=True) as operator:
        async with database.transaction() as tx:
            first = (await tx.rows(USER))[0]
            operator.execute(f"ALTER ROLE {_user(users[1])} LOGIN".encode())
            source.seen = users[1]
            await database.renew()
            assert (await database.rows(USER))[0]["name"] == _user(users[1])
            assert (await tx.rows(USER))[0]["pid"] == first["pid"], "who is at work works on"
        assert {row["name"] for row in [*(await database.rows(USER)), *(await database.rows(USER))]} == {
            _user(users[1])
        }
        await database.close()


async def test_a_dsn_that_opens_nothing_leaves_the_one_before_in_use(users: list[str]) -> None:
    """Vault has the new user already, and the database does not know it yet."""
    source = Kept(users[0])
    database = await open_database(source, connections_max=2)
    before = (await database.rows(USER))[0]
    source.seen = source.kept = users[1]
    with pytest.raises(DatabaseUnavailable):
        await database.renew()
    assert (await database.rows(USER))[0]["pid"] == before["pid"]
    async with database.transaction() as tx, database.transaction() as another:
        assert {(await each.rows(USER))[0]["name"] for each in (tx, another)} == {_user(users[0])}
    await database.close()


async def test_a_refused_user_makes_us_ask_for_the_dsn_anew(merchant_dsn: str, users: list[str]) -> None:
    """The database has changed already, and we have not looked yet."""
    source = Kept(users[0])
    database = await open_database(source, connections_max=2)
    with psycopg.connect(merchant_dsn, autocommit=True) as operator:
        operator.execute(f"ALTER ROLE {_user(users[1])} LOGIN".encode())
        operator.execute(f"ALTER ROLE {_user(users[0])} NOLOGIN".encode())
    source.kept = users[1]
    async with database.transaction() as tx:
        assert (await tx.rows(USER))[0]["name"] == _user(users[0])
        assert (await database.rows(USER))[0]["name"] == _user(users[1])
    await database.close()


def _user(dsn: str) -> str:
    return urlsplit(dsn).username or ""


async def test_a_host_without_an_address_is_a_database_that_is_away() -> None:
    with pytest.raises(DatabaseUnavailable):
        await open_database("postgresql://somebody@no.such.host.invalid/nothing")


async def test_a_cancelled_statement_is_not_seen_by_the_next_caller(merchant_dsn: str) -> None:
    database = await open_database(merchant_dsn, connections_max=1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(database.rows(SLEEP, 5.0), 0.05)
        assert (await database.rows(WHO, 7))[0]["given"] == 7

    async def cancelled_transaction() -> None:
        async with database.transaction() as tx:
            await tx.rows(SLEEP, 5.0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(cancelled_transaction(), 0.05)
    assert (await database.rows(WHO, 8))[0]["given"] == 8
    await database.close()


async def test_connections_that_the_server_ended_are_replaced(merchant_dsn: str) -> None:
    database, operator = await open_database(merchant_dsn), await open_database(merchant_dsn)
    await asyncio.gather(*(database.rows(SLEEP, 0.05) for _ in range(8)))
    await operator.rows(KILL_OTHERS)
    await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(database.rows(WHO, number) for number in range(20)))
    assert [answer[0]["given"] for answer in answers] == list(range(20))

    sleeping = [asyncio.create_task(database.rows(SLEEP, 5.0)) for _ in range(8)]
    await asyncio.sleep(0.2)
    await operator.rows(KILL_OTHERS)
    assert {type(error) for error in await asyncio.gather(*sleeping, return_exceptions=True)} == {DatabaseUnavailable}
    assert (await database.rows(WHO, 1))[0]["given"] == 1
    await database.close()
    await operator.close()


async def test_an_error_leaves_the_connection_in_use(merchant_database: Database) -> None:
    before = (await merchant_database.rows(WHO, 1))[0]["pid"]
    with pytest.raises(StatementRefused):
        await merchant_database.rows(Statement("wrong", "SELECT 1 / $1::int"), 0)

    async def refused() -> None:
        async with merchant_database.transaction() as tx:
            await tx.rows(Statement("wrong", "SELECT 1 / $1::int"), 0)

    with pytest.raises(StatementRefused):
        await refused()
    assert (await merchant_database.rows(WHO, 1))[0]["pid"] == before


async def test_a_connection_that_breaks_as_a_bulk_transaction_begins_is_unavailable() -> None:
    class Breaking(Line):
        said = 0

        async def execute(self, _text: str, **_how: Any) -> str:
            self.said += 1
            if self.said == 2:
                raise asyncpg.ConnectionDoesNotExistError("gone")
            return "BEGIN"

    async def connect() -> Any:
        return Breaking()

    nobody: Any = None
    database = AsyncpgDatabase(Connections(connect, 1, 5.0), nobody)

    async def work() -> None:
        async with database.transaction(bulk=True):
            pass

    with pytest.raises(DatabaseUnavailable):
        await work()


async def test_a_transaction_that_swallowed_an_error_does_not_look_committed(merchant_database: Database) -> None:
    async def careless() -> None:
        async with merchant_database.transaction() as tx:
            try:
                await tx.rows(Statement("wrong", "SELECT 1 / $1::int"), 0)
            except StatementRefused:
                pass

    with pytest.raises(AssertionError):
        await careless()
    assert (await merchant_database.rows(WHO, 1))[0]["given"] == 1


async def test_closing_ends_every_connection(merchant_dsn: str) -> None:
    database, operator = await open_database(merchant_dsn), await open_database(merchant_dsn)
    await asyncio.gather(*(database.rows(SLEEP, 0.01) for _ in range(4)))
    assert len(await operator.rows(OTHERS)) == 4
    await database.close()
    await asyncio.sleep(0.05)
    assert await operator.rows(OTHERS) == []
    await operator.close()
