"""Processes of the simulated world: each runs what the real `build(settings, ports)` gives, and may die at any await.

Killing a node cancels its tasks while its ports are dead already, so nothing that they do on their way out has an
effect: as after kill -9. What it had in memory is lost; a new incarnation is built from nothing but settings and ports.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final

from tallystick.kernel.service import Asgi, Service, Worker
from tallystick.simulation.ports import VirtualClock

if TYPE_CHECKING:
    from tallystick.simulation.database import VirtualDatabase
    from tallystick.simulation.world import World

NODE: ContextVar["Node | None"] = ContextVar("NODE", default=None)
LOOK: ContextVar["Look | None"] = ContextVar("LOOK", default=None)

TASKS_PRUNED_AT: Final = 256


class Look:
    """What a worker found since it slept last: the tables of its statements, and the rows that they gave or touched.
    `began_s` and `version`: the time, and which commits it may have seen, as it began."""

    __slots__ = ("began_s", "rows", "tables", "version")

    def __init__(self) -> None:
        self.end()

    def end(self) -> None:
        """It sleeps; the next look is another one."""
        self.tables: set[str] = set()
        self.rows = 0
        self.began_s = 0.0
        self.version = 0

    def at(self, tables: frozenset[str], now_s: float, version: int) -> None:
        """It looks into these tables."""
        if not self.tables:
            self.began_s, self.version = now_s, version
        self.tables |= tables


class Node:
    """One process. `build` makes what it runs from its ports, anew at every start."""

    def __init__(self, world: "World", name: str, service: str, build: Callable[["Node"], Service] | None) -> None:
        self.world = world
        self.name = name
        self.service = service
        self.clock = VirtualClock(self)
        self.skew_s = 0.0
        self.ahead_s = 0.0  # how much of that an operator asked for: the sandbox's time
        self.alive = False
        self.stalled_until_s = 0.0
        self.asgi: Asgi | None = None
        self.databases: list[VirtualDatabase] = []
        self._build = build
        self._tasks: list[asyncio.Task[Any]] = []
        self._context = copy_context()
        self._context.run(NODE.set, self)

    def start(self) -> None:
        """A new process, with nothing in memory."""
        assert not self.alive
        self.alive, self.stalled_until_s = True, 0.0
        self.databases = []
        if self._build is None:
            return
        running = self._context.copy().run(self._build, self)
        self.asgi = running.asgi
        for worker in running.workers:
            self.begin(self._work(worker), looking=True)

    def begin(self, work: Any, *, looking: bool = False) -> "asyncio.Task[Any]":
        """Run a coroutine as part of this process."""
        return self.world.loop.create_task(work, context=self.context(looking=looking))

    def context(self, *, looking: bool = False) -> Context:
        context = self._context.copy()
        if looking:
            context.run(LOOK.set, Look())
        return context

    async def _work(self, worker: Worker) -> None:
        try:
            await worker.run()
        except Exception as error:
            self.world.broke(self, f"a worker ended: {type(error).__name__}: {error}")

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """A task was begun in this process."""
        self._tasks.append(task)
        if len(self._tasks) > TASKS_PRUNED_AT:
            self._tasks = [each for each in self._tasks if not each.done()]

    def kill(self) -> None:
        """The process is gone, now."""
        if not self.alive:
            return
        self.alive, self.asgi = False, None
        for database in self.databases:
            database.cut()
        current = asyncio.current_task(self.world.loop)
        for task in self._tasks:
            if task is not current:
                task.cancel()

    @property
    def tasks(self) -> list["asyncio.Task[Any]"]:
        """Tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]

    async def awake(self) -> None:
        """Go on only in a process that lives and is not stopped. Raises CancelledError in a dead one."""
        if not self.alive:
            raise asyncio.CancelledError
        while (rest_s := self.stalled_until_s - self.world.loop.now_s) > 0:
            await asyncio.sleep(rest_s)
            if not self.alive:
                raise asyncio.CancelledError
