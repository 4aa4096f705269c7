"""Who hears of what: endpoints, as far as it matters when events are written."""

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from tallystick.gateway.stripe_wire import objects
from tallystick.ports.database import Database, Statements, Transaction

SQL = Statements.beside(__file__)

ALL_EVENTS = "*"  # what an endpoint that wants every type has in `enabled_events`
OWNERS_MAX: Final = 10_000  # of which is remembered who listens; about 10 MB

Owner = tuple[str, bool]
"""Account and livemode."""


class Listener(Struct, frozen=True):
    """An endpoint as far as it matters who hears of what. `mark` is another text when anything of that has changed."""

    id: str
    enabled: bool
    enabled_events: frozenset[str]
    api_version: str
    mark: str = ""

    def wants(self, type: str) -> bool:
        """Whether events of `type` are sent here."""
        return type in self.enabled_events or ALL_EVENTS in self.enabled_events


async def listeners_of(reader: Database | Transaction, owners: Collection[Owner]) -> dict[Owner, list[Listener]]:
    """The endpoints of each owner, in the order of their ids; none for an owner who has none."""
    listeners: dict[Owner, list[Listener]] = {owner: [] for owner in sorted(owners)}
    account_ids, livemodes = [owner[0] for owner in listeners], [owner[1] for owner in listeners]
    for row in await reader.rows(SQL.listeners_of, account_ids, livemodes):
        listener = Listener(
            id=row["id"],
            enabled=row["status"] == "enabled",
            enabled_events=frozenset(row["enabled_events"]),
            api_version=row["api_version"] or objects.API_VERSION,
            mark=row["mark"],
        )
        listeners[row["account_id"], row["livemode"]].append(listener)
    return listeners


class Listeners:
    """Remembers who listens. What is remembered may be out of date: whoever writes by it lets the statement that writes
    compare the marks, and forgets when they differ."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[Owner, list[Listener]] = {}

    async def of(self, owners: Collection[Owner]) -> dict[Owner, list[Listener]]:
        """The endpoints of each owner as they were not long ago. Raises DatabaseError."""
        unknown = [owner for owner in owners if owner not in self._known]
        if unknown:
            if len(self._known) + len(unknown) > OWNERS_MAX:
                self._known.clear()
                unknown = list(owners)
            self._known.update(await listeners_of(self._database, unknown))
        return {owner: self._known[owner] for owner in owners}

    def forget(self, owners: Collection[Owner]) -> None:
        """Look anew next time."""
        for owner in owners:
            self._known.pop(owner, None)
