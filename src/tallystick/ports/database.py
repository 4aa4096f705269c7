"""The database port: hand-written statements on PostgreSQL, through asyncpg in production (`asyncpg_database.py`) and
psycopg in the simulation (`synchronous.py`).

The SQL text is the same for both drivers: `$1` parameters with explicit casts. What differs between the drivers is
evened out in their modules: `jsonb` travels as text both ways, `timestamptz` as aware UTC datetimes, errors as the tree
below.

    DatabaseError
      DatabaseUnavailable     no connection, or it broke: whether a commit arrived is unknown
      ConstraintViolated      a unique, check or foreign key constraint said no; `.constraint` names it
      SerializationFailed     deadlock or serialization failure: the transaction may be run again
      StatementRefused        anything else that the server refused: a fault of ours (or of a poison item)
"""

import re
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

Record = Mapping[str, Any]

STATEMENT_TIMEOUT_S = 30.0  # no statement of ours is meant to take longer; the server cancels it

SESSION_SETTINGS = {
    "timezone": "UTC",
    "jit": "off",
    # One plan for a statement, whatever the length of its arrays. Left to itself, PostgreSQL plans small batches anew
    # each time, which takes it longer than running them.
    "plan_cache_mode": "force_generic_plan",
    # What a batch touches is in memory, or on a disk without a head to move. And our tables only grow: the plan of a
    # small table should be that of a large one.
    "random_page_cost": "1.1",
    # Of a table that autovacuum has found empty PostgreSQL believes that walking it costs nothing, and the plan stays
    # when rows come: webhooks took five times the CPU. Every statement of ours is meant to go by an index; where there
    # is none, it walks all the same.
    "enable_seqscan": "off",
    "statement_timeout": str(int(STATEMENT_TIMEOUT_S * 1000)),
    "idle_in_transaction_session_timeout": str(int(STATEMENT_TIMEOUT_S * 1000)),
}

BULK_TIMEOUT_S = 900.0  # a transaction over a whole day's lines may take long; millions of them take minutes
BULK_SETTINGS = {
    "statement_timeout": str(int(BULK_TIMEOUT_S * 1000)),
    "idle_in_transaction_session_timeout": str(int(BULK_TIMEOUT_S * 1000)),
    # Its statements run once each, over what was just written: a plan of their own, made for it, in more memory.
    "plan_cache_mode": "force_custom_plan",
    "work_mem": "64MB",
    # Of tables that were just filled the planner knows nothing, and of a loop over an index that begins with the owner
    # it believes that it ends soon. Sets of this size are hashed; what is meant to be looked up one by one says so.
    "enable_nestloop": "off",
}


class DatabaseError(Exception):
    """Root of what the database port raises."""


class DatabaseUnavailable(DatabaseError):
    """No connection could be had, or it broke; whether a commit under way arrived is unknown."""


class ConstraintViolated(DatabaseError):
    """A constraint refused a row."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"constraint {constraint}")
        self.constraint = constraint


class SerializationFailed(DatabaseError):
    """Deadlock or serialization failure; nothing was done, the transaction may be run again."""


class StatementRefused(DatabaseError):
    """The server refused the statement or a value in it. The text names SQLSTATE only, never the values."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"SQLSTATE {sqlstate}")
        self.sqlstate = sqlstate


_AGAIN = {"40001", "40P01", "55P03"}  # a conflict, a deadlock, a lock that was not waited for
_UNAVAILABLE = (
    "08",  # the connection broke
    "25006",  # it takes no writes: a standby, or a primary that was relieved
    "28",  # it refuses our role or its password, which are rotated
    "3D000",  # it has no such database
    "53",  # no room, no memory, no connection left
    "55",  # it takes no connections at the moment
    "57",  # it was told to stop, or the statement was cancelled
    "58",  # its disk fails
)
"""SQLSTATEs, or how they begin, of a server that cannot do at present what is asked: nothing is wrong with that."""


def named(sqlstate: str, name: str, constraint: str | None) -> DatabaseError:
    """A server's error under our name for it, the same for both drivers; `name` is the driver's."""
    if sqlstate.startswith("23"):
        return ConstraintViolated(constraint or "unnamed")
    if sqlstate in _AGAIN:
        return SerializationFailed(name)
    if sqlstate.startswith(_UNAVAILABLE):
        return DatabaseUnavailable(name)
    return StatementRefused(sqlstate)


class Statement(Struct, frozen=True):
    """One statement: the name under which it stands in its `statements.sql`, and its text."""

    name: str
    text: str


class Statements:
    """The statements of one room, read from the `statements.sql` beside its code: `SQL.load_locked`.

    A statement begins with a line `-- its_name`, then comment lines with at least one sentence, then the SQL up to the
    `;`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_name = {statement.name: statement for statement in parse_statements(path.read_text(encoding="utf-8"))}

    @classmethod
    def beside(cls, file: str, name: str = "statements.sql") -> "Statements":
        """The statements in the file `name` of the folder in which the module `file` stands."""
        return _load(Path(file).parent / name)

    def __getattr__(self, name: str) -> Statement:
        try:
            return self._by_name[name]
        except KeyError:
            raise AttributeError(f"{self.path.name} has no statement {name}") from None

    def __iter__(self) -> Any:
        return iter(self._by_name.values())


@cache
def _load(path: Path) -> Statements:
    return Statements(path)


_STATEMENT = re.compile(
    r"^-- (?P<name>[a-z][a-z0-9_]*)\n(?P<text>(?:--[^\n]*\n)+.*?;)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


def parse_statements(text: str) -> list[Statement]:
    """Split a `.sql` file into its named statements."""
    return [Statement(match["name"], _without_comments(match["text"])) for match in _STATEMENT.finditer(text)]


def _without_comments(text: str) -> str:
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("--")]
    return "\n".join(lines).rstrip().removesuffix(";")


_COPY = re.compile(r"\s*COPY (\w+) \(([\w\s,]+)\) FROM STDIN\s*", re.DOTALL)


def copied(statement: Statement) -> tuple[str, list[str]]:
    """The table and the columns of a COPY statement."""
    match = _COPY.fullmatch(statement.text)
    assert match is not None, f"{statement.name} is no COPY of ours"
    return match[1], [column.strip() for column in match[2].split(",")]


class Transaction(Protocol):
    """Statements that commit together or not at all."""

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        """Run `statement` and give its rows, `row["column"]`."""
        ...

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        """Run `statement` and give the number of rows that it touched."""
        ...

    async def copy(self, statement: Statement, blocks: AsyncIterable[bytes]) -> int:
        """Run `COPY table (columns) FROM STDIN` with these blocks of its text format; the number of rows."""
        ...


class Database(Protocol):
    """A PostgreSQL database. `rows` and `execute` run one statement with a commit of its own. A `bulk` transaction may
    take minutes, and its statements are planned for what they find.
    """

    def transaction(self, *, bulk: bool = False) -> AbstractAsyncContextManager[Transaction]: ...

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]: ...

    async def execute(self, statement: Statement, *parameters: Any) -> int: ...

    async def close(self) -> None: ...
