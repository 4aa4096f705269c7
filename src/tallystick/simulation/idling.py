"""Looking for work takes virtual time, not real time: a worker that found nothing rests until there may be something.

Workers look every few moments; three virtual days of that are millions of statements that find nothing. So a worker
whose last look gave no row is not woken at its next moment but at the first one after which something may have changed:
a commit made something due, or a time that stands in some row has come. To the worker it is as if it had looked in vain
in between.
"""

import asyncio
from collections.abc import Iterable, Mapping, Set
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tallystick.ports.database import Statement
from tallystick.simulation.nodes import LOOK
from tallystick.simulation.ports import EPOCH

if TYPE_CHECKING:
    from tallystick.simulation.database import VirtualServer
    from tallystick.simulation.nodes import Node
    from tallystick.simulation.world import World

REST_MAX_S: Final = 24 * 3600.0  # what no row tells of (a fault of the workers, perhaps) is noticed after that
LOOK_AGAIN_S: Final = 0.2  # how long a commit waits until resting workers are told; they look every 0.05 to 60 s anyway
COMMIT_S: Final = (
    5.0  # how long before its commit a row's time may have been read; who stalls for longer is noticed late
)
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


# Times that stay in a row when nothing is to happen at them any more: when they still mean something.
_ONLY_WHILE: Final[Mapping[str, str]] = {
    "payment_intent.capture_before_at": "status = 'requires_capture'",
    "checkout_session.expires_at": "status = 'open'",
    "idempotency_key.lease_until": "state = 'running'",
    "orders.expires_at": "state = 'PENDING'",
    "attempt.gateway_expires_at": "state IN ('open', 'authorised')",
    # Days are closed for ever; what is to be seen ends when everything is in a report and available.
    "balance_account.close_at": """
        EXISTS (SELECT FROM ledger_transaction t
                 WHERE (t.account_id, t.livemode, t.currency)
                     = (balance_account.account_id, balance_account.livemode, balance_account.currency)
                   AND NOT EXISTS (SELECT FROM settlement_line l
                                    WHERE (l.account_id, l.livemode, l.ledger_transaction)
                                        = (t.account_id, t.livemode, t.id)))
        OR EXISTS (SELECT FROM settlement_line l
                    WHERE (l.account_id, l.livemode, l.currency)
                        = (balance_account.account_id, balance_account.livemode, balance_account.currency)
                      AND l.net <> 0 AND l.kind <> 'payout'
                      AND NOT EXISTS (SELECT FROM balance_release r
                                       WHERE (r.account_id, r.livemode, r.ledger_transaction)
                                           = (l.account_id, l.livemode, l.ledger_transaction)))""",
    "ledger_transaction.available_at": "false",
    "settlement_line.available_at": "false",
    "settlement_report.ends_at": "false",
    "payout.arrival_at": "status = 'pending'",
    "dispute.evidence_due_at": "false",
    # A report that was asked for is due at once.
    "report_run.created_at": "status = 'pending'",
}


class DueTimes:
    """When the next thing is due in each table of a database: the first time after now that stands in any column."""

    def __init__(self, server: "VirtualServer") -> None:
        self._server = server
        columns: dict[str, list[str]] = {}
        for row in server.control.run(_TIMES, ())[0]:
            told = not row["name"].startswith(_PAST) and row["name"] != "at"
            if told or f"{_bare(row['place'])}.{row['name']}" in _ONLY_WHILE:
                columns.setdefault(row["place"], []).append(row["name"])
        self.tables = frozenset(_bare(place) for place in columns)
        self._first: dict[str, Statement] = {}
        for place, names in columns.items():
            whens = [(name, _ONLY_WHILE.get(f"{_bare(place)}.{name}", "true")) for name in names]
            firsts = ", ".join(
                f"min({name}) FILTER (WHERE {name} > $1::timestamptz AND {when})" for name, when in whens
            )
            self._first[_bare(place)] = Statement("due", f"SELECT least({firsts}) AS due FROM {place}")

    def after(self, at_s: float, tables: Iterable[str]) -> dict[str, float]:
        """The first time after `at_s`, for each of these tables that has one. Virtual seconds."""
        at, found = EPOCH + timedelta(seconds=at_s), {}
        for table in tables:
            [row], _ = self._server.control.run(self._first[table], (at,))
            if row["due"] is not None:
                found[table] = (row["due"] - EPOCH).total_seconds()
        return found


def _bare(place: str) -> str:
    return place.rpartition(".")[2]


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

    def concerned(self, due_s: Mapping[str, float]) -> float:
        """The first of these times, by table, that concerns it."""
        return min((at_s for table, at_s in due_s.items() if table in self.tables), default=NEVER)

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

    def touched(self, service: str, tables: Set[str]) -> None:
        """Something was committed in these tables; words that are none are left out."""
        known = self._services[service]
        known.stale |= known.due.tables & tables

    async def rested(self, node: "Node", seconds: float) -> bool:
        """Rest in the stead of a sleep, where the worker that sleeps has just found nothing; whether that was so."""
        look = LOOK.get()
        if look is None or node.service not in self._services:
            return False
        found_nothing, tables = bool(look.tables) and look.rows == 0, look.tables
        look.tables, look.rows = set(), 0
        if not found_nothing or seconds <= 0:
            return False
        future: asyncio.Future[None] = self._world.loop.create_future()
        rest = _Rest(node, tables, self._world.loop.now_s, seconds, future)
        self._rests[rest] = None
        due_s = self._services[node.service].due_s.get(node.skew_s)
        self._set(rest, self._world.loop.now_s if due_s is None else rest.concerned(due_s))
        try:
            await future
        finally:
            self._rests.pop(rest, None)
            if rest.handle is not None:
                rest.handle.cancel()
        return True

    def wake_all(self) -> None:
        """Let everybody look once more: what was written with a time before the last look at due times, and committed
        after it, is seen by none of those looks."""
        for rest in self._rests:
            self._set(rest, self._world.loop.now_s)

    def look(self, next_timer_s: float | None) -> None:
        """Set the timers of those that must be woken before, or at, the next timer."""
        now_s = self._world.loop.now_s
        for name, service in self._services.items():
            if not service.changed and service.next_s > now_s:
                continue
            if next_timer_s is None or next_timer_s - now_s > LOOK_AGAIN_S or now_s - service.seen_s > 1.0:
                self._refresh(name, service, now_s)

    def _refresh(self, name: str, service: "_Service", now_s: float) -> None:
        """Ask what is due since that was asked last, and when the next thing will be; set the timers by it."""
        skews_s = sorted({0.0, *(node.skew_s for node in self._world.nodes if node.service == name)})
        new_s = service.since(skews_s[0]) if service.changed else {}
        service.look(skews_s, now_s, new_s)
        for rest in self._rests:
            if rest.node.service == name:
                skew_s = rest.node.skew_s
                is_due = rest.concerned(new_s) <= now_s + skew_s
                due_s = service.due_s.get(skew_s)
                self._set(rest, now_s if is_due or due_s is None else rest.concerned(due_s))
        service.changed, service.seen_s = False, now_s
        service.stale.clear()
        self._world.looks += 1

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
        return min(service.next_s for service in self._services.values())

    @property
    def settled(self) -> bool:
        """Whether nothing is due at any time, and nobody waits for anything but that."""
        return not any(service.changed for service in self._services.values()) and self.next_due_s == NEVER


class _Service:
    """What is known of the due times of one service's database, by the skew of those who look and by table, as of
    `seen_s`: `due_s` by our time, `theirs_s` by the clocks that go wrong. Of the tables in `stale` something was
    committed since. Only they are asked again, and those whose time has come.
    """

    def __init__(self, due: DueTimes) -> None:
        self.due = due
        self.changed = True
        self.stale: set[str] = set(due.tables)
        self.seen_s = 0.0
        self.due_s: dict[float, dict[str, float]] = {}
        self.theirs_s: dict[float, dict[str, float]] = {}

    def since(self, skew_s: float) -> dict[str, float]:
        """The first times after those that were seen last, by a clock that goes wrong by `skew_s`; also what was
        committed since with a time from before."""
        known_s = self.theirs_s.get(skew_s)
        if known_s is None:
            return self.due.after(self.seen_s + skew_s - COMMIT_S, sorted(self.due.tables))
        fresh_s = {table: at_s for table, at_s in known_s.items() if table not in self.stale}
        return fresh_s | self.due.after(self.seen_s + skew_s - COMMIT_S, sorted(self.stale))

    def look(self, skews_s: Iterable[float], now_s: float, new_s: Mapping[str, float]) -> None:
        """What comes after now; `new_s` is what has come, or will, since the last look, where something changed."""
        known_s, self.theirs_s, self.due_s = self.theirs_s, {}, {}
        for skew_s in skews_s:
            next_s = new_s if self.changed else known_s.get(skew_s, {})
            past = sorted(table for table, at_s in next_s.items() if at_s <= now_s + skew_s)
            coming_s = {table: at_s for table, at_s in next_s.items() if at_s > now_s + skew_s}
            coming_s |= self.due.after(now_s + skew_s, past)
            self.theirs_s[skew_s] = coming_s
            self.due_s[skew_s] = {table: at_s - skew_s for table, at_s in coming_s.items()}

    @property
    def next_s(self) -> float:
        """The first of all of them."""
        return min((at_s for tables in self.due_s.values() for at_s in tables.values()), default=NEVER)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
