"""Looking for work takes virtual time, not real time: a worker that found nothing rests until there may be something.

Workers look every few moments; three virtual days of that are millions of statements that find nothing. So a worker
whose last look gave no row is not woken at its next moment but at the first one after which something may have changed:
a commit made something due, or a time that stands in some row has come. To the worker it is as if it had looked in vain
in between.
"""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from tallystick.ports.database import Statement
from tallystick.simulation.nodes import LOOK
from tallystick.simulation.ports import EPOCH

if TYPE_CHECKING:
    from tallystick.simulation.database import VirtualServer
    from tallystick.simulation.nodes import Node
    from tallystick.simulation.world import World

REST_MAX_S: Final = 6 * 3600.0  # what no row tells of (a fault of the workers, perhaps) is noticed after that
LOOK_AGAIN_S: Final = 0.2  # how long a commit waits until resting workers are told; they look every 0.05 to 60 s anyway
NEVER: Final = float("inf")

_TIMES = Statement(
    "times",
    """
SELECT c.table_schema || '.' || quote_ident(c.table_name) AS place, quote_ident(c.column_name) AS name
  FROM information_schema.columns c
  JOIN information_schema.tables t USING (table_schema, table_name)
 WHERE c.data_type = 'timestamp with time zone' AND c.table_schema NOT IN ('pg_catalog', 'information_schema')
   AND t.table_type = 'BASE TABLE'
 ORDER BY 1, 2""",
)
_PAST: Final = ("created", "updated", "received", "started", "finished", "completed", "canceled", "revoked", "ended")


class DueTimes:
    """When the next thing is due in a database: the first time after now that stands in any column of any table."""

    def __init__(self, server: "VirtualServer") -> None:
        self._server = server
        columns = [(row["place"], row["name"]) for row in server.control.run(_TIMES, ())[0]]
        columns = [(place, name) for place, name in columns if not name.startswith(_PAST) and name != "at"]
        parts = " UNION ALL ".join(
            f"SELECT min({name}) AS due FROM {place} WHERE {name} > $1::timestamptz" for place, name in columns
        )
        self._statement = Statement("due", f"SELECT min(due) AS due FROM ({parts}) AS found")

    def after(self, at: datetime) -> datetime | None:
        """The first time after `at`."""
        due: datetime | None = self._server.control.run(self._statement, (at,))[0][0]["due"]
        return due


class _Rest:
    """A worker that rests: since when, how often it looks, and when it will be woken as things stand."""

    __slots__ = ("every_s", "future", "handle", "node", "since_s", "wake_s")

    def __init__(self, node: "Node", since_s: float, every_s: float, future: "asyncio.Future[None]") -> None:
        self.node = node
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

    def changed(self, service: str) -> None:
        """Something was committed, or a clock was put: what is due may be another thing now."""
        self._services[service].changed = True

    async def rested(self, node: "Node", seconds: float) -> bool:
        """Rest in the stead of a sleep, where the worker that sleeps has just found nothing; whether that was so."""
        look = LOOK.get()
        if look is None or node.service not in self._services:
            return False
        found_nothing = look.statements > 0 and look.rows == 0
        look.statements = look.rows = 0
        if not found_nothing or seconds <= 0:
            return False
        future: asyncio.Future[None] = self._world.loop.create_future()
        rest = _Rest(node, self._world.loop.now_s, seconds, future)
        self._rests[rest] = None
        due_s = self._services[node.service].due_s.get(node.skew_s)
        self._set(rest, self._world.loop.now_s if due_s is None else due_s)
        try:
            await future
        finally:
            self._rests.pop(rest, None)
            if rest.handle is not None:
                rest.handle.cancel()
        return True

    def look(self, next_timer_s: float | None) -> None:
        """Set the timers of those that must be woken before, or at, the next timer."""
        now_s = self._world.loop.now_s
        for name, service in self._services.items():
            if not service.changed and all(due_s > now_s for due_s in service.due_s.values()):
                continue
            if next_timer_s is None or next_timer_s - now_s > LOOK_AGAIN_S or now_s - service.seen_s > 1.0:
                self._refresh(name, service, now_s)

    def _refresh(self, name: str, service: "_Service", now_s: float) -> None:
        """Ask what is due since that was asked last, and when the next thing will be; set the timers by it."""
        nodes = [node for node in self._world.nodes if node.service == name]
        earliest_s = service.seen_s + min(0.0, *(node.skew_s for node in nodes))
        new_s = service.first_after(earliest_s) if service.changed else NEVER
        service.due_s = {}
        for skew_s in sorted({0.0, *(node.skew_s for node in nodes)}):
            theirs_s = now_s + skew_s
            is_next = service.changed and new_s > theirs_s
            service.due_s[skew_s] = (new_s if is_next else service.first_after(theirs_s)) - skew_s
            self._world.looks += 1
        for rest in self._rests:
            if rest.node.service == name:
                skew_s = rest.node.skew_s
                is_due = new_s <= now_s + skew_s
                self._set(rest, now_s if is_due else service.due_s.get(skew_s, now_s))
        service.changed, service.seen_s = False, now_s

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
        return min(due_s for service in self._services.values() for due_s in (*service.due_s.values(), NEVER))

    @property
    def settled(self) -> bool:
        """Whether nothing is due at any time, and nobody waits for anything but that."""
        return not any(service.changed for service in self._services.values()) and self.next_due_s == NEVER


class _Service:
    """What is known of the due times of one service's database. `due_s` is by the skew of those who look."""

    def __init__(self, due: DueTimes) -> None:
        self._due = due
        self.changed = True
        self.seen_s = 0.0
        self.due_s: dict[float, float] = {}

    def first_after(self, at_s: float) -> float:
        due = self._due.after(EPOCH + timedelta(seconds=at_s))
        return NEVER if due is None else (due - EPOCH).total_seconds()


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
