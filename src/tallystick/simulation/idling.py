"""Looking for work takes virtual time, not real time: a worker that found nothing rests until there may be something.

Workers look every few moments; three virtual days of that are millions of statements that find nothing. So a worker
whose last look gave no row is not woken at its next moment but at the first one after which something may have changed:
a commit made something due, or a time that stands in some row has come. To the worker it is as if it had looked in vain
in between. And where it looks all the same (its process has just begun, say), the database is not asked for what is
known to be nothing (`vain.py`).
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final

from tallystick.ports.database import Statement
from tallystick.simulation.due import NEVER, NONE, DueTimes, Times
from tallystick.simulation.nodes import LOOK
from tallystick.simulation.vain import Vain

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node
    from tallystick.simulation.world import World

REST_MAX_S: Final = 24 * 3600.0  # what no row tells of (a fault of the workers, perhaps) is noticed after that
LOOK_AGAIN_S: Final = 0.2  # how long a commit waits until resting workers are told; they look every 0.05 to 60 s anyway
COMMIT_S: Final = 5.0  # a row that was written may be due without a new time, if its time has just come
_NO_TABLES: Final[Set[str]] = frozenset()
WINDOW_S: Final = 1_300.0  # two clocks may be this far apart; a time before that, written only now, is told late


class _Rest:
    """A worker that rests: since when, how often it looks, and when it will be woken as things stand."""

    __slots__ = ("every_s", "future", "handle", "node", "since_s", "tables", "wake_s")

    def __init__(
        self, node: "Node", tables: Set[str], since_s: float, every_s: float, future: "asyncio.Future[None]"
    ) -> None:
        self.node = node
        self.tables = tables  # that it looked at: only what is due there concerns it
        self.since_s = since_s
        self.every_s = every_s
        self.future = future
        self.handle: asyncio.TimerHandle | None = None
        self.wake_s = NEVER

    def first_look_after(self, at_s: float) -> float:
        """The first of its moments at or after `at_s`, the first one at the earliest."""
        looks = max(1, -int(-(at_s - self.since_s) // self.every_s))
        return self.since_s + looks * self.every_s


class Idling:
    """All workers that rest. `look` is to be called before time jumps."""

    def __init__(self, world: "World", due_times: dict[str, DueTimes]) -> None:
        self._world = world
        self._services = {service: _Service(due) for service, due in due_times.items()}
        self._rests: dict[_Rest, None] = {}

    def touched(self, service: str, tables: Iterable[str]) -> None:
        """Something was committed in these tables."""
        self._services[service].touched(tables)

    def known_in_vain(self, service: str, statement: Statement, tables: Set[str], parameters: Sequence[Any]) -> bool:
        """Whether a statement by which a worker looks would find nothing, as it did before."""
        known = self._services[service]
        return known.vain.known(statement, tables, parameters, known)

    def in_vain(self, service: str, statement: Statement, parameters: Sequence[Any]) -> None:
        """A statement by which a worker looks has just found nothing."""
        known = self._services[service]
        known.vain.found_nothing(statement, parameters, known.version)

    def version(self, service: str) -> int:
        """Grows with each commit."""
        return self._services[service].version

    async def rested(self, node: "Node", seconds: float) -> bool:
        """Rest in the stead of a sleep, where the worker that sleeps has just found nothing; whether that was so."""
        look = LOOK.get()
        if look is None or node.service not in self._services:
            return False
        tables, version, began_s = look.tables, look.version, look.began_s
        found_nothing = bool(tables) and look.rows == 0
        look.end()
        if not found_nothing or seconds <= 0:
            return False
        future: asyncio.Future[None] = self._world.loop.create_future()
        rest = _Rest(node, tables, self._world.loop.now_s, seconds, future)
        self._rests[rest] = None
        known = self._services[node.service]
        # What was committed while it looked may have come too late for it.
        self._set(rest, began_s if known.changed_since(version, tables) else known.due_s(tables, began_s, node.skew_s))
        try:
            await future
        finally:
            self._rests.pop(rest, None)
            if rest.handle is not None:
                rest.handle.cancel()
        return True

    def clock_put(self, node: "Node") -> None:
        """What is due by a clock is another thing now."""
        for rest in self._rests:
            if rest.node is node:
                self._set(rest, self._world.loop.now_s)

    def wake_all(self) -> None:
        """Let everybody look once more, whatever is known: what no row tells of is found by none of the other looks."""
        for service in self._services.values():
            service.vain.forget()
        for rest in self._rests:
            self._set(rest, self._world.loop.now_s)

    def look(self, next_timer_s: float | None) -> None:
        """Set the timers of those that must be woken before, or at, the next timer."""
        now_s = self._world.loop.now_s
        for name, service in self._services.items():
            if service.stale and (
                next_timer_s is None or next_timer_s - now_s > LOOK_AGAIN_S or now_s - service.seen_s > 1.0
            ):
                self._refresh(name, service, now_s)

    def _refresh(self, name: str, service: "_Service", now_s: float) -> None:
        """Ask what is due in the tables in which something was committed; set the timers by it."""
        skews_s = [0.0, *(node.skew_s for node in self._world.nodes if node.service == name)]
        written = service.refresh(now_s + min(skews_s) - WINDOW_S, now_s + max(skews_s))
        for rest in self._rests:
            if rest.node.service == name and not written.keys().isdisjoint(rest.tables):
                skew_s = rest.node.skew_s
                concerned = [table for table in rest.tables if table in written]
                is_due = any(
                    written[table] <= now_s + skew_s
                    or service.times[table].first_after(service.seen_s + skew_s - COMMIT_S) <= now_s + skew_s
                    for table in concerned
                )
                self._set(rest, now_s if is_due else service.due_s(concerned, now_s, skew_s))
        service.seen_s = now_s

    def _set(self, rest: _Rest, due_s: float) -> None:
        wake_s = min(rest.first_look_after(due_s) if due_s < NEVER else NEVER, rest.since_s + REST_MAX_S)
        wake_s = max(wake_s, self._world.loop.now_s)
        if wake_s >= rest.wake_s:
            return
        if rest.handle is not None:
            rest.handle.cancel()
        rest.wake_s = wake_s
        rest.handle = self._world.loop.call_at(wake_s, _wake, rest.future)

    @property
    def next_due_s(self) -> float:
        """When the next thing is due in any of the databases, as far as is known."""
        now_s = self._world.loop.now_s
        skews_s = {(name, 0.0) for name in self._services}
        skews_s |= {(node.service, node.skew_s) for node in self._world.nodes if node.service in self._services}
        return min(
            self._services[name].due_s(self._services[name].times, now_s, skew_s) for name, skew_s in sorted(skews_s)
        )

    @property
    def settled(self) -> bool:
        """Whether nothing is due at any time, and nobody waits for anything but that."""
        return not any(service.stale for service in self._services.values()) and self.next_due_s == NEVER


class _Service:
    """What is known of one service's database as of `seen_s`: the times that stand in its tables. In the tables of
    `stale` something was committed since."""

    def __init__(self, due: DueTimes) -> None:
        self._due = due
        self.vain = Vain()
        self.times: dict[str, Times] = {}
        self.stale: set[str] = set(due.tables)
        self.seen_s = 0.0
        self.version = 0
        self._versions: dict[str, int] = {}

    def touched(self, tables: Iterable[str]) -> None:
        self.version += 1
        for table in tables:
            self._versions[table] = self.version
            if table in self._due.tables:
                self.stale.add(table)
            self.stale |= self._due.told_by.get(table, _NO_TABLES)

    def changed_since(self, version: int, tables: Iterable[str]) -> bool:
        """Whether something was committed in one of these tables since that version."""
        return any(self._versions.get(table, 0) > version for table in tables)

    def refresh(self, from_s: float, until_s: float) -> Mapping[str, float]:
        """Ask for the times of what is stale; of each such table, the first time up to `until_s` that is new there."""
        fresh = self._due.ask(self.stale, from_s)
        first_s = {table: times.first_beside(self.times.get(table, NONE), until_s) for table, times in fresh.items()}
        self.times |= fresh
        self.stale.clear()
        return first_s

    def due_s(self, tables: Iterable[str], since_s: float, skew_s: float) -> float:
        """When the first thing after `since_s` is due in these tables, by a clock that goes wrong by `skew_s`."""
        times, after_s = self.times, since_s + skew_s
        return min((times[table].first_after(after_s) for table in tables if table in times), default=NEVER) - skew_s

    def none_due_between(self, tables: Iterable[str], one_s: float, other_s: float) -> bool:
        """Whether it is known that no time in these tables comes between these two."""
        return not any(
            table in self.stale or table not in self.times or not self.times[table].none_between(one_s, other_s)
            for table in tables
            if table in self._due.timed
        )


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
