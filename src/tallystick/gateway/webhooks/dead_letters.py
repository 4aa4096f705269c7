"""Dead letters: webhooks whose tries are exhausted, as operators look through them and redrive them (RULES §6)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from tallystick.gateway.webhooks.listeners import SQL
from tallystick.kernel.delivery.protocol import EndpointKey
from tallystick.kernel.delivery.redrive import Dead, Filter, Letter, Place
from tallystick.kernel.delivery.states import OUR_FAULTS
from tallystick.ports.database import Database, Record, Transaction

EVER: Final = Place(datetime(9999, 1, 1, tzinfo=UTC), "", "")
ANSWER_CHARACTERS_MAX: Final = 2_000
"""Of a receiver's answer: enough to see what it was."""


class Attempt(Struct, frozen=True, kw_only=True):
    """One try as it was recorded. `answer` is the beginning of what the receiver said."""

    number: int
    started_at: datetime
    duration_ms: int
    status: int | None
    reason: str | None
    answer: str | None


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A webhook whose tries are exhausted. `fault` is whose: the endpoint's, or ours; `url` is without its query."""

    id: str
    account: str
    livemode: bool
    event: str
    type: str
    endpoint: str
    url: str
    reason: str
    fault: str
    tries: int
    created_at: datetime
    died_at: datetime

    @property
    def place(self) -> Place:
        """Its place in the order of dying."""
        return Place(self.died_at, self.account, self.id)


class DeadLetters:
    """The rows of dead letters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, filter: Filter, *, before: Place | None = None, letters_max: int) -> list[DeadLetter]:
        """Those that fit, the newest first, after the place `before`."""
        rows = await self._database.rows(SQL.page_of_dead_letters, *_fits(filter), *(before or EVER), letters_max)
        return [_letter(row) for row in rows]

    async def find(self, id: str) -> tuple[DeadLetter, list[Attempt]] | None:
        """One dead letter with every try, the first one first."""
        found = await self.page(Filter(delivery=id), letters_max=1)
        if not found:
            return None
        rows = await self._database.rows(SQL.attempts_of_delivery, found[0].account, id)
        return found[0], [_attempt(row) for row in rows]

    async def count(self, filter: Filter) -> Dead:
        """How many fit."""
        [row] = await self._database.rows(SQL.count_dead_letters, *_fits(filter))
        return Dead(row["letters"], row["last_at"])

    async def next(self, tx: Transaction, filter: Filter, after: Place, letters_max: int) -> Sequence[Letter]:
        """Those that fit and come next in the order of dying."""
        return [
            Letter(
                Place(row["finished_at"], row["owner_id"], row["id"]),
                EndpointKey(row["owner_id"], row["livemode"], row["endpoint"]),
            )
            for row in await tx.rows(SQL.next_dead_letters, *_fits(filter), *after, letters_max)
        ]


def address(url: str) -> str:
    """Where an endpoint is, without what its address may carry to prove who calls."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "…" if parts.query else "", ""))


def type_pattern(type: str) -> str:
    """A type as LIKE reads it: `*` stands for anything, and what LIKE would read otherwise stands for itself."""
    return type.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")


def _fits(filter: Filter) -> tuple[Any, ...]:
    return (
        filter.owner,
        filter.livemode,
        filter.endpoint,
        None if filter.type is None else type_pattern(filter.type),
        filter.reason,
        filter.ours,
        sorted(OUR_FAULTS),
        filter.since,
        filter.until,
        filter.delivery,
    )


def _letter(row: Record) -> DeadLetter:
    return DeadLetter(
        id=row["id"],
        account=row["owner_id"],
        livemode=row["livemode"],
        event=row["message"],
        type=row["type"] or "",
        endpoint=row["endpoint"],
        url=address(row["url"] or ""),
        reason=row["reason"] or "",
        fault="ours" if row["reason"] in OUR_FAULTS else "endpoint",
        tries=row["tries"],
        created_at=row["created_at"],
        died_at=row["finished_at"],
    )


def _attempt(row: Record) -> Attempt:
    answer = row["answer"]
    return Attempt(
        number=row["number"],
        started_at=row["started_at"],
        duration_ms=row["duration_ms"],
        status=row["status"],
        reason=row["reason"],
        answer=None if answer is None else answer.decode("utf-8", "replace")[:ANSWER_CHARACTERS_MAX],
    )
