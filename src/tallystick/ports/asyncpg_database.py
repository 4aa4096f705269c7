"""The database port of production: asyncpg connections, and DSNs that are rotated while the service runs."""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg

from tallystick.ports.connections import Connections
from tallystick.ports.database import (
    BULK_SETTINGS,
    BULK_TIMEOUT_S,
    SESSION_SETTINGS,
    STATEMENT_TIMEOUT_S,
    DatabaseError,
    DatabaseUnavailable,
    Record,
    Statement,
    StatementRefused,
    Transaction,
    copied,
    named,
)
from tallystick.ports.shortages import Shortages

log = logging.getLogger(__name__)

ACQUIRE_TIMEOUT_S = 5.0  # how long a caller waits for a free connection before the service says 503
CONNECTIONS_MAX = 8  # per process; natural batching needs few


class DsnSource(Protocol):
    """A DSN that may change while the service runs, such as by a rotated password."""

    async def now(self) -> str:
        """The DSN as it is known."""
        ...

    async def again(self) -> str:
        """The DSN, and whoever keeps it is asked anew: the server refused the one that was known."""
        ...


async def open_database(dsn: str | DsnSource, *, connections_max: int = CONNECTIONS_MAX) -> "AsyncpgDatabase":
    """Connect to PostgreSQL by asyncpg. Raises DatabaseUnavailable."""
    dialer = Dialer(_Fixed(dsn) if isinstance(dsn, str) else dsn)
    database = AsyncpgDatabase(Connections(dialer.connect, connections_max, ACQUIRE_TIMEOUT_S), dialer)
    await database.check()
    return database


class _Fixed:
    """A DSN that stays."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def now(self) -> str:
        return self._dsn

    async def again(self) -> str:
        return self._dsn


class Dialer:
    """Opens connections with the DSN as it is. Where that does not open one, a rotation may be under way: if the server
    refuses its user or password the source is asked anew, and the DSN that worked last is tried."""

    def __init__(self, source: DsnSource) -> None:
        self._source = source
        self._worked: str | None = None

    async def connect(self) -> Any:
        """A connection; raises what asyncpg raises."""
        dsn = await self._source.now()
        try:
            return await self._opened(dsn)
        except _ASYNCPG_ERRORS as error:
            others = await self._others(dsn, error)
            for other in others:
                try:
                    connection = await self._opened(other)
                except _ASYNCPG_ERRORS:
                    continue
                log.warning("the DSN opens no connection (%s); another one does and is in use", type(error).__name__)
                return connection
            raise

    async def check_newest(self) -> None:
        """Whether the DSN as it is now opens a connection; raises what asyncpg raises."""
        connection = await self._opened(await self._source.now())
        await connection.close(timeout=ACQUIRE_TIMEOUT_S)

    async def _others(self, dsn: str, error: Exception) -> list[str]:
        refused = isinstance(error, asyncpg.InvalidAuthorizationSpecificationError)
        found = [await self._source.again()] if refused else []
        found += [self._worked] if self._worked is not None else []
        return [each for each in dict.fromkeys(found) if each != dsn]

    async def _opened(self, dsn: str) -> Any:
        connection = await asyncpg.connect(
            dsn,
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            statement_cache_size=512,
            max_cached_statement_lifetime=0,
            server_settings=SESSION_SETTINGS,
        )
        self._worked = dsn
        return connection


class AsyncpgTransaction:
    """A transaction on an asyncpg connection."""

    __slots__ = ("_connection", "_timeout_s")

    def __init__(self, connection: Any, timeout_s: float = STATEMENT_TIMEOUT_S) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        try:
            records: Sequence[Record] = await self._connection.fetch(
                statement.text, *parameters, timeout=self._timeout_s
            )
        except _ASYNCPG_ERRORS as error:
            raise _named(error) from error
        return records

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        try:
            return _rows_touched(await self._connection.execute(statement.text, *parameters, timeout=self._timeout_s))
        except _ASYNCPG_ERRORS as error:
            raise _named(error) from error

    async def copy(self, statement: Statement, blocks: AsyncIterable[bytes]) -> int:
        table, columns = copied(statement)
        try:
            tag = await self._connection.copy_to_table(
                table, columns=columns, source=blocks, format="text", timeout=self._timeout_s
            )
        except _ASYNCPG_ERRORS as error:
            raise _named(error) from error
        return _rows_touched(tag)


class AsyncpgDatabase:
    """The production database: asyncpg connections."""

    def __init__(self, connections: Connections, dialer: Dialer) -> None:
        self._connections = connections
        self._dialer = dialer

    @asynccontextmanager
    async def transaction(self, *, bulk: bool = False) -> AsyncIterator[Transaction]:
        connection = await self._take()
        transaction = AsyncpgTransaction(connection, BULK_TIMEOUT_S if bulk else STATEMENT_TIMEOUT_S)
        try:
            await transaction.execute(_BEGIN_BULK if bulk else _BEGIN)
            yield transaction
            await self._commit(connection)
        except BaseException as error:
            await self._roll_back(connection, error)
            raise
        self._connections.give_back(connection)

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        connection = await self._take()
        try:
            records: Sequence[Record] = await connection.fetch(statement.text, *parameters)
        except BaseException as error:
            self._broken_off(connection, error)
            raise
        self._connections.give_back(connection)
        return records

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        connection = await self._take()
        try:
            tag = await connection.execute(statement.text, *parameters)
        except BaseException as error:
            self._broken_off(connection, error)
            raise
        self._connections.give_back(connection)
        return _rows_touched(tag)

    async def check(self) -> None:
        """Have at least one connection. Raises DatabaseUnavailable."""
        self._connections.give_back(await self._take())

    async def renew(self) -> None:
        """The DSN has changed: open every connection anew, as it falls free. Raises DatabaseError, and leaves them as
        they are, where the new one opens none."""
        try:
            await self._dialer.check_newest()
        except _ASYNCPG_ERRORS as error:
            raise _named(error) from error
        self._connections.retire()
        log.info("the DSN has changed: connections are opened anew")

    async def close(self) -> None:
        await self._connections.close()

    async def _take(self) -> Any:
        try:
            return await self._connections.take()
        except _ASYNCPG_ERRORS as error:
            raise _named(error) from error

    async def _commit(self, connection: Any) -> None:
        try:
            tag = await connection.execute("COMMIT")
        except _ASYNCPG_ERRORS as error:
            raise _named(error) from error
        # The server rolls back, without an error, what was committed although one of its statements had failed.
        assert tag == "COMMIT", "nobody goes on in a transaction after an error"

    async def _roll_back(self, connection: Any, error: BaseException) -> None:
        """End a transaction that broke off; a connection that may still be busy with it is dropped."""
        if isinstance(error, DatabaseUnavailable) or not isinstance(error, Exception):
            self._connections.drop(connection)
            return
        try:
            await connection.execute("ROLLBACK")
        except BaseException:
            self._connections.drop(connection)
        else:
            self._connections.give_back(connection)

    def _broken_off(self, connection: Any, error: BaseException) -> None:
        """Give the connection back, or drop it where it may still be busy. Raises our name for the error, if any."""
        named = _named(error) if isinstance(error, _ASYNCPG_ERRORS) else None
        if isinstance(named, DatabaseUnavailable) or not isinstance(error, Exception):
            self._connections.drop(connection)
        else:
            self._connections.give_back(connection)
        if named is not None:
            raise named from error


_BEGIN = Statement("begin", "BEGIN")
_BEGIN_BULK = Statement(
    "begin_bulk", "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{value}'" for name, value in BULK_SETTINGS.items())])
)


def _rows_touched(tag: str) -> int:
    """The row count of a command tag such as `UPDATE 3`; statements without one touched nothing."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


_ASYNCPG_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # refused, no such name, no such socket, timed out
)
_SHORTAGES = Shortages()  # of this process: each of its databases is told of alike


def _named(error: Exception) -> DatabaseError:
    """asyncpg's error under our name for it."""
    if isinstance(error, asyncpg.InsufficientResourcesError):
        _SHORTAGES.note(type(error).__name__, asyncio.get_running_loop().time())
    if isinstance(error, asyncpg.PostgresError):
        return named(error.sqlstate or "?????", type(error).__name__, error.constraint_name)
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return StatementRefused("22000")  # a value that the driver cannot encode: no other connection would take it
    return DatabaseUnavailable(type(error).__name__)
