"""Redrive: dead letters are delivered after all, under their old `webhook-id`, so many a second (RULES §6).

A redrive is a row: what it concerns, how fast it may go, how far it has come. A step is one commit that lets the next
dead letters be due again and notes the progress, so it goes on after a restart where it stood, and any number of
workers may run. What dies again meanwhile is no part of it: it takes what was dead when it was made, in that order.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple, Protocol

import msgspec
from msgspec import Meta, Struct

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.protocol import EndpointKey
from tallystick.kernel.delivery.queue import SQL
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed, Transaction
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

RATE: Final = 50
RATE_MAX: Final = 1_000
"""Dead letters a second; a step of so many rows is still a short commit."""
STEP_S: Final = 1.0
LOOK_S: Final = 0.25
REDRIVES_MAX: Final = 10
"""Looked after in one round."""
LISTED_MAX: Final = 100

RUNNING: Final = "running"
DONE: Final = "done"

Word = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Instant = Annotated[datetime, Meta(tz=True)]


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which dead letters: all that fit everything that is given. `type` may end in `*`; `ours` is whose fault it is;
    `since` and `until` bound when it died."""

    delivery: Word | None = None
    owner: Word | None = None
    livemode: bool | None = None
    endpoint: Word | None = None
    type: Word | None = None
    reason: Word | None = None
    ours: bool | None = None
    since: Instant | None = None
    until: Instant | None = None


class Place(NamedTuple):
    """A place in the order of dying."""

    at: datetime
    owner_id: str
    id: str


class Letter(NamedTuple):
    """A dead letter as far as a redrive needs it."""

    place: Place
    endpoint: EndpointKey


class Dead(Struct, frozen=True):
    """How many dead letters there are, and when the last of them died, by the clock of whoever saw it die."""

    count: int
    last_at: datetime | None


class Letters(Protocol):
    """The dead letters of the service that uses the engine: it knows what types there are, and of what."""

    async def count(self, filter: Filter) -> Dead:
        """Those that fit."""
        ...

    async def next(self, tx: Transaction, filter: Filter, after: Place, letters_max: int) -> Sequence[Letter]:
        """Those that fit and come next in the order of dying."""
        ...


class Redrive(Struct, frozen=True, kw_only=True):
    """A redrive as operators see it."""

    id: str
    state: str
    filter: Filter
    rate_max: int
    matched: int
    redriven: int
    created_by: str
    created_at: datetime
    finished_at: datetime | None


class Redrives:
    """The commands of redrives."""

    def __init__(self, database: Database, letters: Letters, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._letters = letters
        self._clock = clock
        self._entropy = entropy

    async def count(self, filter: Filter) -> int:
        """What a redrive would concern now: the dry run."""
        return (await self._letters.count(filter)).count

    async def create(self, filter: Filter, *, rate_max: int, by: str) -> Redrive:
        """Begin a redrive of what is dead now and fits."""
        assert 1 <= rate_max <= RATE_MAX
        at = self._clock.now()
        dead = await self._letters.count(filter)
        made = Redrive(
            id=new_id("rdr", at, self._entropy),
            state=RUNNING,
            filter=_until(filter, at, dead.last_at),
            rate_max=rate_max,
            matched=dead.count,
            redriven=0,
            created_by=by,
            created_at=at,
            finished_at=None,
        )
        encoded = msgspec.json.encode(made.filter).decode()
        await self._database.execute(SQL.insert_redrive, made.id, encoded, rate_max, made.matched, by, at)
        return made

    async def find(self, id: str) -> Redrive | None:
        """One redrive as it stands."""
        rows = await self._database.rows(SQL.find_redrive, id)
        return _redrive(rows[0]) if rows else None

    async def newest(self) -> list[Redrive]:
        """The newest first, LISTED_MAX of them."""
        return [_redrive(row) for row in await self._database.rows(SQL.list_redrives, LISTED_MAX)]

    async def cancel(self, id: str) -> Redrive | None:
        """Stop a redrive that is running: what it has not reached stays dead. None when there is no such redrive."""
        await self._database.execute(SQL.cancel_redrive, id, self._clock.now())
        return await self.find(id)


class Redriver:
    """Carries redrives out until it is cancelled."""

    def __init__(self, database: Database, letters: Letters, clock: Clock) -> None:
        self._database = database
        self._letters = letters
        self._clock = clock

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self._look, self._clock, log, "redrives wait for the database", pause_s=LOOK_S)

    async def _look(self) -> None:
        with suppress(SerializationFailed):  # somebody was at the same rows
            await self.step()

    async def step(self) -> None:
        """One commit for each redrive whose time has come."""
        for row in await self._database.rows(SQL.due_redrives, self._clock.now(), REDRIVES_MAX):
            async with self._database.transaction() as tx:
                at = self._clock.now()
                next_at = at + timedelta(seconds=STEP_S)
                if await tx.execute(SQL.claim_redrive, row["id"], row["generation"], next_at):
                    await self._go_on(tx, row, at)

    async def _go_on(self, tx: Transaction, row: Record, at: datetime) -> None:
        after = FIRST if row["last_at"] is None else Place(row["last_at"], row["last_owner"], row["last_id"])
        letters = await self._letters.next(tx, _filter(row), after, row["rate_max"])
        redriven = 0
        if letters:
            keys = sorted({letter.endpoint for letter in letters})
            await tx.execute(SQL.rearm_alerts, *columns(3, keys))  # should they die again, it is told again
            rows = sorted((letter.place.owner_id, letter.place.id) for letter in letters)
            redriven = await tx.execute(SQL.redrive_deliveries, *columns(2, rows), at)
        done = len(letters) < row["rate_max"]
        place = letters[-1].place if letters else after
        await tx.execute(
            SQL.record_redrive, row["id"], redriven, *place, DONE if done else RUNNING, at if done else None
        )
        if done:
            log.info("redrive %s is done: %d dead letters", row["id"], row["redriven"] + redriven)


INSTANT: Final = timedelta(microseconds=1)
FIRST: Final = Place(datetime(1970, 1, 1, tzinfo=UTC), "", "")


def _until(filter: Filter, at: datetime, last_at: datetime | None) -> Filter:
    """Without an end of its own it ends now, for what it redrives may die again behind it; or, where a clock ahead of
    ours has seen a letter die, behind that one: it is dead, whatever the clocks say."""
    end = at if last_at is None else max(at, last_at + INSTANT)
    return msgspec.structs.replace(filter, until=end if filter.until is None else min(filter.until, end))


def _filter(row: Record) -> Filter:
    return msgspec.json.decode(row["filter"], type=Filter)


def _redrive(row: Record) -> Redrive:
    return Redrive(
        id=row["id"],
        state=row["state"],
        filter=_filter(row),
        rate_max=row["rate_max"],
        matched=row["matched"],
        redriven=row["redriven"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
