"""Notifications whose tries are exhausted, as operators look through them and redrive them (RULES §6)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.delivery.protocol import EndpointKey
from tallystick.kernel.delivery.redrive import Dead, Filter, Letter, Place
from tallystick.kernel.delivery.states import OUR_FAULTS
from tallystick.merchant.notifications.listeners import SQL
from tallystick.ports.database import Database, Record, Transaction

NEVER: Final = Place(datetime(1970, 1, 1, tzinfo=UTC), "", "")


class DeadLetter(Struct, frozen=True):
    """A notification that the shop did not take. `fault` is whose: the endpoint's, or ours."""

    id: str
    merchant: str
    event: str
    type: str
    endpoint: str
    url: str
    reason: str
    fault: str
    tries: int
    created_at: datetime
    died_at: datetime


class DeadLetters:
    """The rows of dead letters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, filter: Filter, *, after: Place = NEVER, letters_max: int) -> list[DeadLetter]:
        """Those that fit, the first to die first, behind a place."""
        rows = await self._database.rows(
            SQL.page_of_dead_letters, *_fits(filter), *after, letters_max, sorted(OUR_FAULTS)
        )
        return [_letter(row) for row in rows]

    async def count(self, filter: Filter) -> Dead:
        """How many fit."""
        [row] = await self._database.rows(SQL.count_dead_letters, *_fits(filter), sorted(OUR_FAULTS))
        return Dead(row["letters"], row["last_at"])

    async def next(self, tx: Transaction, filter: Filter, after: Place, letters_max: int) -> Sequence[Letter]:
        """Those that fit and come next in the order of dying."""
        rows = await tx.rows(SQL.page_of_dead_letters, *_fits(filter), *after, letters_max, sorted(OUR_FAULTS))
        return [
            Letter(
                Place(row["finished_at"], row["owner_id"], row["id"]),
                EndpointKey(row["owner_id"], row["livemode"], row["endpoint"]),
            )
            for row in rows
        ]


def _fits(filter: Filter) -> tuple[Any, ...]:
    return (
        filter.owner,
        filter.endpoint,
        filter.reason,
        filter.delivery,
        filter.since,
        filter.until,
        filter.type,
        filter.ours,
    )


def _letter(row: Record) -> DeadLetter:
    return DeadLetter(
        id=row["id"],
        merchant=row["owner_id"],
        event=row["message"],
        type=row["type"] or "",
        endpoint=row["endpoint"],
        url=row["url"] or "",
        reason=row["reason"] or "",
        fault="ours" if row["reason"] in OUR_FAULTS else "endpoint",
        tries=row["tries"],
        created_at=row["created_at"],
        died_at=row["finished_at"],
    )
