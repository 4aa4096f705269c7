"""The database port of the simulated world: real SQL on a real PostgreSQL, in the loop's own thread.

Every node has several logical connections, so transactions of one and of several nodes interleave. A statement that
would wait for a lock goes back to its savepoint and is run again when some transaction has ended (`server.py`). Here
are made the faults of statements, commits and connections.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from tallystick.ports.database import DatabaseUnavailable, Record, SerializationFailed, Statement, Transaction
from tallystick.simulation.nodes import LOOK
from tallystick.simulation.order import any_order, only_reads
from tallystick.simulation.server import Session, VirtualServer

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node

CONNECTIONS_MAX: Final = 6  # of one node: fewer than in production, so that they are contended for
LOCK_WAIT_MAX_S: Final = 30.0  # as the production port's statement timeout
IDLE_IN_TRANSACTION_S: Final = 30.0  # as the production port's setting: a stopped process does not hold locks for ever
LATENCY_SHARE: Final = 0.35
LATENCY_S: Final = (0.0001, 0.006)


class VirtualDatabase:
    """The database port of one process."""

    def __init__(self, server: VirtualServer, node: "Node") -> None:
        self._server = server
        self._node = node
        self._world = node.world
        self._held: dict[Session, None] = {}
        self._queue: list[asyncio.Future[None]] = []
        node.databases.append(self)

    @asynccontextmanager
    async def transaction(self, *, bulk: bool = False) -> AsyncIterator[Transaction]:
        session = await self._take()
        try:
            self._server.begin(session)
            yield VirtualTransaction(self, session)
            await self._commit(session)
        finally:
            self._give_back(session)

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        records, _ = await self._alone(statement, parameters)
        return records

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        _, touched = await self._alone(statement, parameters)
        return touched

    async def close(self) -> None:
        self.cut()

    def stalled(self) -> None:
        """The process has stopped: after a while the server ends the transactions that it left open."""
        for session in self._held:
            if session.in_transaction:
                self._world.loop.call_later(IDLE_IN_TRANSACTION_S, self._server.end_idle, session, session.number)

    def cut(self) -> None:
        """The process is gone: the server rolls back whatever it had open."""
        for session in list(self._held):
            self._server.lose(session)

    async def _take(self) -> Session:
        await self._node.awake()
        if self._server.down:
            await asyncio.sleep(0.05)
            raise DatabaseUnavailable("CannotConnectNowError")
        while len(self._held) >= CONNECTIONS_MAX:
            future: asyncio.Future[None] = self._world.loop.create_future()
            self._queue.append(future)
            await future
            await self._node.awake()
        session = self._server.session()
        self._held[session] = None
        return session

    def _give_back(self, session: Session) -> None:
        del self._held[session]
        self._server.give_back(session)
        while self._queue:
            future = self._queue.pop(0)
            if not future.done():
                future.set_result(None)
                break

    async def _alone(self, statement: Statement, parameters: tuple[Any, ...]) -> tuple[Sequence[Record], int]:
        """One statement with a commit of its own."""
        if self._known_in_vain(statement, parameters):
            await self._node.awake()
            if not self._server.down:
                return (), 0
        session = await self._take()
        try:
            fault = self._world.faults.commit() if not only_reads(statement) else None
            if fault in ("crash_before_commit", "commit_unknown_undone"):
                self._strike(fault, statement.name)
            result = await self.run(session, statement, parameters)
            if fault is not None:
                self._strike(fault, statement.name)
            return result
        finally:
            self._give_back(session)

    def _known_in_vain(self, statement: Statement, parameters: tuple[Any, ...]) -> bool:
        """Whether somebody asks for what is known not to be there."""
        if not only_reads(statement):
            return False
        idling, server, look = self._world.idling, self._server, LOOK.get()
        tables = server.tables_of(statement)
        if look is not None:
            look.at(tables, self._world.loop.now_s, idling.version(server.name))
        return idling.known_in_vain(server.name, statement, tables, parameters)

    async def _commit(self, session: Session) -> None:
        await self._pace()
        self._check(session)
        fault = self._world.faults.commit()
        if fault in ("crash_before_commit", "commit_unknown_undone"):
            self._strike(fault, "COMMIT")
        self._server.end(session, commit=True)
        self._world.trace("commit", self._node.name)
        if fault is not None:
            self._strike(fault, "COMMIT")
        await self._node.awake()

    async def run(
        self, session: Session, statement: Statement, parameters: tuple[Any, ...]
    ) -> tuple[Sequence[Record], int]:
        """One statement, with everything that may befall it."""
        await self._pace()
        self._check(session)
        fault = self._world.faults.statement()
        look = LOOK.get()
        if look is not None:
            tables = self._server.tables_of(statement)
            look.at(tables, self._world.loop.now_s, self._world.idling.version(self._server.name))
            look.rows += 1  # a look that fails is none that found nothing
        if fault == "serialization_failure" and only_reads(statement):
            fault = None  # what takes no lock is in nobody's way
        if fault is not None and fault != "crash_after_statement":
            if fault == "connection_lost":
                self._server.lose(session)
            self._strike(fault, statement.name)
        records, touched = await self._send(session, statement, parameters)
        if not only_reads(statement):
            self._server.wrote(session, statement, touched)
        world = self._world
        world.statements += 1
        world.trace("sql", self._node.name, statement.name, str(touched))
        if look is not None:
            look.rows += touched - 1
        if not touched and not session.in_transaction:
            world.idling.in_vain(self._server.name, statement, parameters)
        if fault is not None:
            self._strike(fault, statement.name)
        await self._node.awake()
        if len(records) > 1:
            records = any_order(statement, records, world.chance)
        return records, touched

    async def copy(self, session: Session, statement: Statement, blocks: AsyncIterable[bytes]) -> int:
        """A COPY: into rows of its own, so that nobody holds a lock that it needs."""
        await self._pace()
        self._check(session)
        if session.in_transaction and not session.begun:
            session.connection.command("BEGIN")
            session.begun = True
        touched = await session.connection.copy(statement, blocks)
        self._server.wrote(session, statement, touched)
        self._world.trace("sql", self._node.name, statement.name, str(touched))
        return touched

    async def _send(
        self, session: Session, statement: Statement, parameters: tuple[Any, ...]
    ) -> tuple[Sequence[Record], int]:
        """Run it, again as long as others hold a lock that it needs."""
        server, since_s = self._server, self._world.loop.now_s
        while True:
            others = len(server.open) - session.in_transaction
            guarded = bool(others) and session.in_transaction and not only_reads(statement)  # what reads never waits
            before = ("BEGIN",) if session.in_transaction and not session.begun else ()
            session.begun = session.in_transaction
            try:
                return session.connection.run(
                    statement,
                    parameters,
                    before=(*before, "SAVEPOINT s") if guarded else before,
                    after=("RELEASE s",) if guarded else (),
                )
            except SerializationFailed as error:
                if str(error) != "LockNotAvailable":
                    raise
            assert others, "nobody else could hold the lock"
            if guarded:
                session.connection.command("ROLLBACK TO s; RELEASE s")
            await self._wait_for_lock(session, statement, since_s)

    async def _wait_for_lock(self, session: Session, statement: Statement, since_s: float) -> None:
        server, world = self._server, self._world
        world.trace("waits", self._node.name, statement.name)
        world.lock_waits += 1
        if session.in_transaction:
            server.waiting.add(session)
            if len(server.waiting) == len(server.open):
                server.waiting.discard(session)
                raise SerializationFailed("DeadlockDetectedError")
        try:
            await server.some_transaction_ended()
        finally:
            server.waiting.discard(session)
        await asyncio.sleep(world.chance.random() * 0.001)
        await self._node.awake()
        self._check(session)
        if world.loop.now_s - since_s > LOCK_WAIT_MAX_S:
            raise DatabaseUnavailable("QueryCanceledError")

    async def _pace(self) -> None:
        """A statement takes a moment, in which others may come first."""
        world = self._world
        if world.chance.random() < LATENCY_SHARE:
            low, high = LATENCY_S
            await asyncio.sleep(low + (high - low) * world.chance.random())
        await self._node.awake()

    def _check(self, session: Session) -> None:
        if session.lost:
            raise DatabaseUnavailable("ConnectionDoesNotExistError")

    def _strike(self, fault: str, where: str) -> None:
        """Make the fault. Raises what the code sees of it."""
        world = self._world
        world.faults.made(fault)
        world.tell(self._node.name, f"{fault.replace('_', ' ')}: {where}")
        if fault.startswith("crash"):
            world.crash(self._node)
            raise asyncio.CancelledError
        if fault == "serialization_failure":
            raise SerializationFailed("SerializationError")
        raise DatabaseUnavailable("ConnectionDoesNotExistError")


class VirtualTransaction:
    """A transaction of one process."""

    __slots__ = ("_database", "_session")

    def __init__(self, database: VirtualDatabase, session: Session) -> None:
        self._database = database
        self._session = session

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        records, _ = await self._database.run(self._session, statement, parameters)
        return records

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        _, touched = await self._database.run(self._session, statement, parameters)
        return touched

    async def copy(self, statement: Statement, blocks: AsyncIterable[bytes]) -> int:
        return await self._database.copy(self._session, statement, blocks)
