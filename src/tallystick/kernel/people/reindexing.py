"""The search hashes of people are made anew with the newest key (RULES §12): then the key before it can go.

A batch at a time in the order of places. Each person is locked, so that what an update just wrote is not undone; who
breaks off begins again. It opens what is known of everybody, hands nothing of it out, and stands in the access log.
"""

from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.kernel.people.access import Access, AccessDenied, Asked, Asker, Entry
from tallystick.kernel.people.keys import KeyRefused
from tallystick.kernel.people.person import Field, Person, lookups_of, read_back
from tallystick.kernel.people.sealing import Damaged
from tallystick.kernel.people.tables import Owner, Reindexed, Tables
from tallystick.ports.database import Database, Record

PEOPLE_MAX: Final = 200  # of one commit
REINDEXER: Final = Asker("service", "reindexer", "reindexer")
REINDEX: Final = "reindex"


class Step(Struct, frozen=True):
    """What one batch did, and after whom the next begins; None: there is nobody left. `unreadable` are left alone."""

    after: tuple[Any, ...] | None
    reindexed: int
    unreadable: int


class Reindexing:
    """Makes hashes anew. `index_key` is the newest."""

    def __init__(
        self, database: Database, tables: Tables, statements: Reindexed, access: Access, index_key: bytes
    ) -> None:
        self._database = database
        self._tables = tables
        self._statements = statements
        self._access = access
        self._index_key = index_key

    @property
    def beginning(self) -> tuple[Any, ...]:
        """Before everybody."""
        return self._statements.beginning

    async def step(self, after: tuple[Any, ...], people_max: int = PEOPLE_MAX) -> Step:
        """Reindex the next batch. Raises AccessDenied, KeysUnavailable, DatabaseError; then it was not done."""
        fields = tuple(str(field) for field in self._tables.fields)
        asked = Asked(REINDEXER, "read", REINDEX, fields)
        ruling = await self._access.rule(asked)
        seen = await self._database.rows(self._statements.look, *after, people_max)
        if not seen:
            return Step(None, 0, 0)
        width = len(self._tables.owner) + 1
        places = [(*self._tables.owner_of(row).columns, row["customer_id"]) for row in seen]
        granted = fields if ruling.allowed else ()
        entries = [Entry(Owner(place[:-1]), place[-1], asked, granted, ruling.reason) for place in places]
        if not ruling.allowed:
            async with self._database.transaction() as tx:
                await self._access.note(tx, entries)
            raise AccessDenied(ruling.reason)
        for row in await self._database.rows(self._tables.load_people, *columns(width, places)):
            await self._hashes(row)  # so that no key is asked for outside while people are locked
        async with self._database.transaction() as tx:
            await self._access.note(tx, entries)
            await tx.rows(self._statements.lock, *columns(width, places))
            kinds: dict[tuple[Any, ...], set[str]] = {}
            for row in await tx.rows(self._statements.kinds, *columns(width, places)):
                kinds.setdefault((*self._tables.owner_of(row).columns, row["customer_id"]), set()).add(row["kind"])
            done, made = [], []
            rows = await tx.rows(self._tables.load_people, *columns(width, places))
            for row in rows:
                place = (*self._tables.owner_of(row).columns, row["customer_id"])
                found = await self._hashes(row)
                if found is None:
                    continue
                done.append(place)
                made += [(*place, kind, mac) for kind, mac in found.items() if kind in kinds.get(place, ())]
            await tx.execute(self._statements.forget, *columns(width, done))
            await tx.execute(self._statements.insert, *columns(width + 2, made))
        return Step(places[-1], len(done), len(rows) - len(done))

    async def _hashes(self, row: Record) -> dict[str, bytes] | None:
        """The hashes of a loaded person, by kind; None where they cannot be opened. Who is still in the clear is given
        hashes when they are sealed."""
        owner = self._tables.owner_of(row)
        try:
            seal = await self._access.seal_of(owner, row)
            opened: dict[Field, Any] = {
                field: read_back(field, seal.open(field, row[f"sealed_{field}"]))
                for field in self._tables.fields
                if row[f"sealed_{field}"] is not None
            }
        except (KeyRefused, Damaged):
            return None
        lookups = lookups_of(Person(**opened), owner.text, self._index_key)
        found = {"email": lookups.email, "phone": lookups.phone, "shopper": lookups.shopper}
        return {kind: mac for kind, mac in found.items() if mac is not None}
