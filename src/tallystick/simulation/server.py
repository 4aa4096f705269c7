"""The PostgreSQL servers of the simulated world: their connections, what transactions have written, who waits for them.

Nothing may wait in a server, where it would stop the only thread: `lock_timeout` is a millisecond. Whoever runs into it
waits here, in virtual time, until some transaction has ended. A server and its connections are kept over seeds.
"""

import asyncio
from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from tallystick.ports.database import SESSION_SETTINGS, Statement
from tallystick.ports.synchronous import SynchronousConnection
from tallystick.simulation.order import tables_of, tells_of_all_it_writes, written_by

if TYPE_CHECKING:
    from tallystick.simulation.world import World

TABLES: Final = Statement(
    "tables",
    """
SELECT t.table_name::text AS name, t.table_schema || '.' || quote_ident(t.table_name) AS place
  FROM information_schema.tables t
 WHERE t.table_type = 'BASE TABLE' AND t.table_schema NOT IN ('pg_catalog', 'information_schema')
   AND t.table_name <> 'schema_version'
 ORDER BY 2""",
)
VACUUM_ROWS: Final = 4_000  # what was written and deleted of a table slows down those who look into it
SETTINGS: Final = SESSION_SETTINGS | {
    "lock_timeout": "1",
    "synchronous_commit": "off",
    "statement_timeout": "60000",
    "idle_in_transaction_session_timeout": "0",
}


class Session:
    """One connection of the pool, and what the simulation knows of its transaction."""

    __slots__ = ("begun", "connection", "in_transaction", "lost", "number", "place", "touched")

    def __init__(self, connection: SynchronousConnection, place: int) -> None:
        self.connection = connection
        self.place = place  # among the connections of its server
        self.in_transaction = False
        self.begun = False  # whether the server knows of the transaction: BEGIN goes with its first statement
        self.lost = False
        self.number = 0  # of its transaction
        self.touched: set[str] = set()  # tables that its transaction has written so far


class VirtualServer:
    """One database of the simulated world, kept over seeds. `world` is the seed that uses it at present."""

    def __init__(self, dsn: str, name: str) -> None:
        self.name = name
        self._dsn = dsn
        self.control = SynchronousConnection(dsn, SETTINGS | {"lock_timeout": "10000"})
        # Which table refers to which is not looked for, and a setting that is changed has all plans made anew: so those
        # who empty have a connection of their own.
        self._emptier = SynchronousConnection(dsn, SETTINGS | {"session_replication_role": "replica"})
        tables = self.control.run(TABLES, ())[0]
        self.tables = frozenset(row["name"] for row in tables)
        self._deletes = {row["place"]: Statement("delete", f"DELETE FROM {row['place']}") for row in tables}
        self._names = {row["place"]: row["name"] for row in tables}
        self._written = set(self.tables)  # since they were emptied
        self._rows = Counter[str]()  # written to each table since it was vacuumed
        self._idle: list[tuple[int, Session]] = []  # a heap: the first ones have most statements planned already
        self._made = 0
        self.world: World
        self.open: dict[Session, None] = {}
        self.waiting: set[Session] = set()
        self.down_until_s = 0.0
        self._ended: list[asyncio.Future[None]] = []

    def begin_seed(self, world: "World") -> None:
        assert not self.open
        self.world, self.down_until_s = world, 0.0
        self.waiting.clear()
        self._ended = []

    def empty(self) -> None:
        """Delete what was written since the last time."""
        deletes = [self._deletes[place] for place, name in self._names.items() if name in self._written]
        self._emptier.run_together([(delete, ()) for delete in deletes])
        self._written.clear()

    def _vacuum(self) -> None:
        """Clear tables of rows that are dead, by what was written: the server's own vacuum comes when it likes."""
        full = {name for name, rows in self._rows.items() if rows > VACUUM_ROWS}
        for place, name in self._names.items():
            if name in full:
                self._emptier.command(f"VACUUM (TRUNCATE false) {place}")
                self._rows[name] = 0

    @property
    def down(self) -> bool:
        return self.world.loop.now_s < self.down_until_s

    def restart(self, down_s: float) -> None:
        """Every connection breaks, what was not committed is rolled back, and for a while nobody can connect."""
        self.down_until_s = self.world.loop.now_s + down_s
        for session in list(self.open):
            self.lose(session)

    def session(self) -> Session:
        """A connection in which nothing is going on."""
        if self._idle:
            session = heappop(self._idle)[1]
            session.lost = False
            return session
        self._made += 1
        return Session(SynchronousConnection(self._dsn, SETTINGS), self._made)

    def give_back(self, session: Session) -> None:
        if session.in_transaction:
            self.end(session, commit=False)
        heappush(self._idle, (session.place, session))

    def begin(self, session: Session) -> None:
        session.in_transaction, session.begun = True, False
        session.number += 1
        session.touched.clear()
        self.open[session] = None

    def end(self, session: Session, *, commit: bool) -> None:
        """COMMIT or ROLLBACK, and wake those who wait for a lock."""
        if session.begun:
            tag = session.connection.command("COMMIT" if commit else "ROLLBACK")
            assert tag == "COMMIT" or not commit, "nobody goes on in a transaction after an error"
        session.in_transaction = session.begun = False
        del self.open[session]
        self.waiting.discard(session)
        if commit:
            self.world.commits += 1
            self.tell(session)
        waiting, self._ended = self._ended, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def tables_of(self, statement: Statement) -> frozenset[str]:
        """The tables of a statement; all, where none is recognised."""
        return self.tables & tables_of(statement) or self.tables

    def wrote(self, session: Session, statement: Statement, rows: int) -> None:
        """A session has run a statement that may write."""
        if rows or not tells_of_all_it_writes(statement):
            written = self.tables & written_by(statement)
            session.touched |= written
            self._written |= written
            for table in written:
                self._rows[table] += max(rows, 1)
        if not session.in_transaction:
            self.world.commits += rows > 0
            self.tell(session)

    def tell(self, session: Session) -> None:
        """What a session has written is there now."""
        self.world.idling.touched(self.name, session.touched)
        if any(self._rows[table] > VACUUM_ROWS for table in session.touched):
            self._vacuum()
        session.touched.clear()

    def lose(self, session: Session) -> None:
        """The connection breaks: the server rolls back."""
        session.lost = True
        if session.in_transaction:
            self.end(session, commit=False)

    def end_idle(self, session: Session, number: int) -> None:
        """Break a connection that is still in the transaction `number`."""
        if session.in_transaction and session.number == number:
            self.lose(session)

    async def some_transaction_ended(self) -> None:
        """Until one of the transactions that are open now has ended, and with it its locks."""
        future: asyncio.Future[None] = self.world.loop.create_future()
        self._ended.append(future)
        await future
