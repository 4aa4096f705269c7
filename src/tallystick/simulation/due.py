"""When something is due: the times that stand in the rows of a database, as far as anything may happen at them."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tallystick.ports.database import Statement
from tallystick.simulation.order import words_of
from tallystick.simulation.ports import EPOCH

if TYPE_CHECKING:
    from tallystick.simulation.server import VirtualServer

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
    # A number that stays saved is looked at every now and then, and stays.
    "card.due_at": """
        NOT EXISTS (SELECT FROM payment_method m
                     WHERE (m.account_id, m.livemode, m.vault_token) = (card.account_id, card.livemode, card.token)
                       AND m.attached_at IS NOT NULL)""",
    "attempt.gateway_expires_at": "state IN ('open', 'authorised')",
    # Days are closed for ever; what is to be seen ends when everything is in a report and available.
    # Asked of all accounts at once: account by account it took most of the time of a long seed.
    "balance_account.close_at": """
        ((account_id, livemode, currency) IN (
            SELECT t.account_id, t.livemode, t.currency FROM ledger_transaction t
             WHERE NOT EXISTS (SELECT FROM settlement_line l
                                WHERE (l.account_id, l.livemode, l.ledger_transaction)
                                    = (t.account_id, t.livemode, t.id)))
        OR (account_id, livemode, currency) IN (
            SELECT l.account_id, l.livemode, l.currency FROM settlement_line l
             WHERE l.net <> 0 AND l.kind <> 'payout'
               AND NOT EXISTS (SELECT FROM balance_release r
                                WHERE (r.account_id, r.livemode, r.ledger_transaction)
                                    = (l.account_id, l.livemode, l.ledger_transaction))))""",
    "ledger_transaction.available_at": "false",
    "settlement_line.available_at": "false",
    "settlement_report.ends_at": "false",
    "payout.arrival_at": "status = 'pending'",
    "dispute.evidence_due_at": "false",
    # A report that was asked for is due at once.
    "report_run.created_at": "status = 'pending'",
}
_EPOCH_US: Final = round(EPOCH.timestamp() * 1e6)


class Times:
    """The times in one table that come after `from_s`, as they stood when they were asked for. Virtual seconds, by
    whatever clock."""

    __slots__ = ("at_s", "beside_s", "from_s")

    def __init__(self, from_s: float, at_s: Sequence[float], beside_s: Sequence[float]) -> None:
        self.from_s = from_s
        self.at_s = at_s  # in their order: at these something may happen
        self.beside_s = beside_s  # the others, in their order

    def first_after(self, at_s: float) -> float:
        """The first of them after `at_s`."""
        place = bisect_right(self.at_s, at_s)
        return self.at_s[place] if place < len(self.at_s) else NEVER

    def none_between(self, one_s: float, other_s: float) -> bool:
        """Whether it is known that none of all of them comes after the earlier of these, up to the later one."""
        low_s, high_s = min(one_s, other_s), max(one_s, other_s)
        if low_s == high_s:
            return True
        beside_s = self.beside_s
        return (
            low_s >= self.from_s
            and self.first_after(low_s) > high_s
            and bisect_right(beside_s, low_s) == bisect_right(beside_s, high_s)
        )

    def first_beside(self, before: "Times", until_s: float) -> float:
        """The first of them up to `until_s` that was not there before."""
        there = Counter(before.at_s)
        for at_s in self.at_s:
            if at_s > until_s:
                break
            if at_s > before.from_s:
                there[at_s] -= 1
                if there[at_s] < 0:
                    return at_s
        return NEVER


NONE: Final = Times(-NEVER, (), ())  # as it was before anything was there


class DueTimes:
    """What to ask of each table of a database. `timed`: all that have times; `tables`: those where something may
    happen at one."""

    def __init__(self, server: "VirtualServer") -> None:
        self._server = server
        columns: dict[str, dict[str, str]] = {}
        for row in server.control.run(_TIMES, ())[0]:
            only = _ONLY_WHILE.get(f"{_bare(row['place'])}.{row['name']}")
            columns.setdefault(row["place"], {})[row["name"]] = only or (
                "true" if _is_to_come(row["name"]) else "false"
            )
        self.timed = frozenset(_bare(place) for place in columns)
        columns = {place: only for place, only in columns.items() if set(only.values()) != {"false"}}
        self.tables = frozenset(_bare(place) for place in columns)
        # A time that means something only as long as other tables say so is asked for again when they are written.
        self.told_by: dict[str, set[str]] = {}
        for column, only in _ONLY_WHILE.items():
            for other in self.tables & words_of(only) - {column.partition(".")[0]}:
                self.told_by.setdefault(other, set()).add(column.partition(".")[0])
        self._statements = {_bare(place): _times(place, only) for place, only in columns.items()}

    def ask(self, tables: Iterable[str], from_s: float) -> dict[str, Times]:
        """The times after `from_s` in each of these tables, asked together."""
        asked = sorted(self.tables.intersection(tables))
        after = (EPOCH + timedelta(seconds=from_s),)
        answers = self._server.control.run_together([(self._statements[table], after) for table in asked])
        return {
            table: Times(from_s, _virtual(row["at_us"]), _virtual(row["beside_us"]))
            for table, [row] in zip(asked, answers, strict=True)
        }


def _is_to_come(name: str) -> bool:
    return not name.startswith(_PAST) and name != "at"


def _virtual(times_us: Iterable[int]) -> list[float]:
    return [(at_us - _EPOCH_US) / 1e6 for at_us in times_us]


def _times(place: str, columns: Mapping[str, str]) -> Statement:
    """The times of a table that something may happen at (`columns`: while that is so), and the others."""
    to_come = _sorted_us(place, {name: only for name, only in columns.items() if only != "false"})
    beside = _sorted_us(place, {name: f"NOT ({only})" for name, only in columns.items() if only != "true"})
    return Statement("due", f"SELECT {to_come} AS at_us, {beside} AS beside_us")


def _sorted_us(place: str, columns: Mapping[str, str]) -> str:
    if not columns:
        return "'{}'::bigint[]"
    each = " UNION ALL ".join(
        f"SELECT {name} AS at FROM {place} WHERE {name} > $1::timestamptz AND {only}" for name, only in columns.items()
    )
    return f"ARRAY(SELECT (extract(epoch FROM d.at) * 1000000)::bigint FROM ({each}) AS d ORDER BY d.at)"


def _bare(place: str) -> str:
    return place.rpartition(".")[2]
