"""The statements of the database port through psycopg, in the caller's own thread: nothing here ever waits in the loop.

The simulation builds its database on `SynchronousConnection` (DESIGN §8); `SynchronousDatabase` is the plain port.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumperUnknown, TextLoader

from tallystick.ports.database import (
    ConstraintViolated,
    DatabaseUnavailable,
    Record,
    SerializationFailed,
    Statement,
    StatementRefused,
    Transaction,
)

PREPARED_MAX = 2_000  # statements that a connection keeps prepared: more than there are


class SynchronousConnection:
    """One connection, outside any transaction until told otherwise. Statements are prepared at their first use."""

    def __init__(self, dsn: str, settings: Mapping[str, str]) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        with psycopg_errors():
            self._connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
                dsn, autocommit=True, row_factory=dict_row, options=options
            )
        self._connection.prepare_threshold = 0
        self._connection.prepared_max = PREPARED_MAX
        adapters = self._connection.adapters
        adapters.register_loader("jsonb", TextLoader)
        adapters.register_loader("json", TextLoader)
        adapters.register_dumper(str, StrDumperUnknown)
        adapters.register_dumper(int, Int8Dumper)  # one type for all sizes: one prepared statement for all values
        self._cursor = psycopg.RawCursor(self._connection, row_factory=dict_row)

    def run(self, statement: Statement, parameters: Sequence[Any]) -> tuple[Sequence[Record], int]:
        """The rows of `statement`, and how many it gave or touched. Raises DatabaseError."""
        cursor = self._cursor
        with psycopg_errors():
            cursor.execute(statement.text.encode(), parameters)
            gives_rows = cursor.pgresult is not None and cursor.pgresult.nfields > 0
            return (cursor.fetchall() if gives_rows else []), max(cursor.rowcount, 0)

    def simple(self, command: bytes) -> str:
        """Run a command without parameters or rows; its tag, such as COMMIT. Raises DatabaseError."""
        result = self._connection.pgconn.exec_(command)
        if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise StatementRefused("?????")
        return (result.command_status or b"").decode()

    def command(self, text: str) -> None:
        """Run a command of our own making by itself. Raises DatabaseError."""
        with psycopg_errors():
            self._connection.execute(text.encode(), prepare=False)

    def close(self) -> None:
        self._connection.close()


class SynchronousTransaction:
    """A transaction on a connection; its methods are coroutines that never wait."""

    def __init__(self, connection: SynchronousConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        return self._connection.run(statement, parameters)[0]

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        return self._connection.run(statement, parameters)[1]


class SynchronousDatabase(SynchronousTransaction):
    """The database port on one connection."""

    def __init__(self, dsn: str) -> None:
        super().__init__(SynchronousConnection(dsn, {"timezone": "UTC", "jit": "off"}))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self._connection.simple(b"BEGIN")
        try:
            yield SynchronousTransaction(self._connection)
        except BaseException:
            self._connection.simple(b"ROLLBACK")
            raise
        tag = self._connection.simple(b"COMMIT")
        assert tag == "COMMIT", "nobody goes on in a transaction after an error"

    async def close(self) -> None:
        self._connection.close()


@contextmanager
def psycopg_errors() -> Iterator[None]:
    """Raise psycopg's errors under our names for them."""
    try:
        yield
    except psycopg.IntegrityError as error:
        raise ConstraintViolated(error.diag.constraint_name or "unnamed") from error
    except (
        psycopg.errors.SerializationFailure,
        psycopg.errors.DeadlockDetected,
        psycopg.errors.LockNotAvailable,
    ) as error:
        raise SerializationFailed(type(error).__name__) from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(type(error).__name__) from error
    except UnicodeEncodeError as error:
        raise StatementRefused("22021") from error
    except psycopg.Error as error:
        raise StatementRefused(error.sqlstate or "?????") from error
