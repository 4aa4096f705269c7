"""The statements of the database port through psycopg, in the caller's own thread: nothing here ever waits in the loop.

The simulation builds its database on `SynchronousConnection` (DESIGN §8); `SynchronousDatabase` is the plain port.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.types.string import TextLoader

from tallystick.ports.database import (
    DatabaseError,
    DatabaseUnavailable,
    Record,
    Statement,
    StatementRefused,
    Transaction,
    named,
)
from tallystick.ports.texts import NOT_IN_REPERTOIRE, text_of


class _Prepared:
    """A statement that a connection has prepared. `record` makes a record of a row's values."""

    __slots__ = ("name", "record")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.record: Callable[[Sequence[Any]], dict[str, Any]] | None = None


class SynchronousConnection:
    """One connection, outside any transaction until told otherwise. Statements are prepared at their first use.

    It speaks libpq itself: a seed of the simulation is a thousand small statements, and psycopg's cursor takes longer
    over one than the server does. As with asyncpg, the server says which types a statement's parameters have.
    """

    def __init__(self, dsn: str, settings: Mapping[str, str]) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        with _PSYCOPG_ERRORS:
            self._connection = psycopg.connect(dsn, autocommit=True, options=options)
        adapters = self._connection.adapters
        adapters.register_loader("jsonb", TextLoader)
        adapters.register_loader("json", TextLoader)
        self._server = self._connection.pgconn
        self._prepared: dict[str, _Prepared] = {}
        self._commands: dict[str, bytes] = {}
        self._values = Transformer(self._connection)

    def run(
        self,
        statement: Statement,
        parameters: Sequence[Any],
        *,
        before: Sequence[str] = (),
        after: Sequence[str] = (),
    ) -> tuple[Sequence[Record], int]:
        """The rows of `statement`, and how many it gave or touched. The commands `before` and `after` it (BEGIN, say)
        go with it in one message; those after it are not run if it fails. Raises DatabaseError."""
        with _PSYCOPG_ERRORS:
            prepared = self._prepared.get(statement.text) or self._prepare(statement)
            values: list[Any] = [None if value is None else text_of(value) for value in parameters]
            if not before and not after:
                return self._read(prepared, self._server.exec_prepared(prepared.name, values))
            first, last = ([self._prepared_command(each) for each in commands] for commands in (before, after))
            self._server.enter_pipeline_mode()
            for name in first:
                self._server.send_query_prepared(name, None)
            self._server.send_query_prepared(prepared.name, values)
            for name in last:
                self._server.send_query_prepared(name, None)
            results = self._piped()
            failed = next((each for each in results if each.status == ExecStatus.FATAL_ERROR), None)
            if failed is not None:
                raise self._error(failed)
            return self._read(prepared, results[len(before)])

    def run_together(self, asked: Sequence[tuple[Statement, Sequence[Any]]]) -> list[Sequence[Record]]:
        """The rows of statements, sent in one message, all done or none. Raises DatabaseError."""
        with _PSYCOPG_ERRORS:
            prepared = [self._prepared.get(statement.text) or self._prepare(statement) for statement, _ in asked]
            self._server.enter_pipeline_mode()
            for each, (_, parameters) in zip(prepared, asked, strict=True):
                values: list[Any] = [None if value is None else text_of(value) for value in parameters]
                self._server.send_query_prepared(each.name, values)
            results = self._piped()
            return [self._read(each, result)[0] for each, result in zip(prepared, results, strict=True)]

    def _piped(self) -> list[PGresult]:
        """The results of what was sent since the pipeline was entered, one for each; leaves it."""
        self._server.pipeline_sync()
        results: list[PGresult] = []
        while True:
            result = self._server.get_result()
            if result is None:  # the end of one statement's results
                if self._server.status != ConnStatus.OK:
                    raise psycopg.OperationalError("the connection is lost")
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                break
            results.append(result)
        self._server.exit_pipeline_mode()
        return results

    def _read(self, prepared: _Prepared, result: PGresult) -> tuple[Sequence[Record], int]:
        if result.status == ExecStatus.TUPLES_OK:
            return self._records(prepared, result), result.ntuples
        if result.status != ExecStatus.COMMAND_OK:
            raise self._error(result)
        return (), result.command_tuples or 0

    def _prepare(self, statement: Statement) -> _Prepared:
        prepared = _Prepared(b"s%d" % len(self._prepared))
        result = self._server.prepare(prepared.name, statement.text.encode())
        if result.status != ExecStatus.COMMAND_OK:
            raise self._error(result)
        self._prepared[statement.text] = prepared
        return prepared

    def _prepared_command(self, text: str) -> bytes:
        """The name under which a command without parameters is prepared."""
        name = self._commands.get(text)
        if name is None:
            name = self._commands[text] = b"c%d" % len(self._commands)
            result = self._server.prepare(name, text.encode())
            if result.status != ExecStatus.COMMAND_OK:
                raise self._error(result)
        return name

    def _records(self, prepared: _Prepared, result: PGresult) -> list[Record]:
        if not result.ntuples:
            return []
        if prepared.record is None:
            prepared.record = _record(result)
        self._values.set_pgresult(result)
        return self._values.load_rows(0, result.ntuples, prepared.record)

    def _error(self, result: PGresult) -> psycopg.Error:
        return psycopg.errors.error_from_result(result, encoding="utf-8")

    async def copy(self, statement: Statement, blocks: AsyncIterable[bytes]) -> int:
        """Run a COPY of ours with these blocks. Raises DatabaseError."""
        with _PSYCOPG_ERRORS:
            cursor = self._connection.cursor()
            with cursor.copy(statement.text.encode()) as copy:
                async for block in blocks:
                    copy.write(block)
            return max(cursor.rowcount, 0)

    def command(self, text: str) -> str:
        """Run a command without parameters or rows; its tag, such as COMMIT. Raises DatabaseError."""
        with _PSYCOPG_ERRORS:
            result = self._server.exec_(text.encode())
            if result.status != ExecStatus.COMMAND_OK:
                raise self._error(result)
            return (result.command_status or b"").decode()

    def close(self) -> None:
        self._connection.close()


def _record(result: PGresult) -> Callable[[Sequence[Any]], dict[str, Any]]:
    names = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
    return lambda values: dict(zip(names, values, strict=True))


class SynchronousTransaction:
    """A transaction on a connection; its methods are coroutines that never wait."""

    def __init__(self, connection: SynchronousConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        return self._connection.run(statement, parameters)[0]

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        return self._connection.run(statement, parameters)[1]

    async def copy(self, statement: Statement, blocks: AsyncIterable[bytes]) -> int:
        return await self._connection.copy(statement, blocks)


class SynchronousDatabase(SynchronousTransaction):
    """The database port on one connection."""

    def __init__(self, dsn: str) -> None:
        super().__init__(SynchronousConnection(dsn, {"timezone": "UTC", "jit": "off"}))

    @asynccontextmanager
    async def transaction(self, *, bulk: bool = False) -> AsyncIterator[Transaction]:
        self._connection.command("BEGIN")
        try:
            yield SynchronousTransaction(self._connection)
        except BaseException:
            self._connection.command("ROLLBACK")
            raise
        tag = self._connection.command("COMMIT")
        assert tag == "COMMIT", "nobody goes on in a transaction after an error"

    async def close(self) -> None:
        self._connection.close()


class _PsycopgErrors:
    """Raises psycopg's errors under our names for them. A class, since a statement takes little longer than entering
    and leaving a generator."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is not None and (named := _named(error)) is not None:
            raise named from error


def _named(error: BaseException) -> DatabaseError | None:
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return named(error.sqlstate, type(error).__name__, error.diag.constraint_name)
    if isinstance(error, psycopg.OperationalError):  # no server said it
        return DatabaseUnavailable(type(error).__name__)
    if isinstance(error, UnicodeEncodeError):
        return StatementRefused(NOT_IN_REPERTOIRE)
    return StatementRefused("?????") if isinstance(error, psycopg.Error) else None


_PSYCOPG_ERRORS: Final = _PsycopgErrors()
