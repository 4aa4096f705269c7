"""Who hears of a merchant's orders, remembered for a few seconds: nearly every change would ask."""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct

from tallystick.merchant.notifications.events import ALL
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements, Transaction

SQL = Statements.beside(__file__)

FRESH_S: Final = 5.0  # how late a new endpoint may begin to hear; a query per merchant and not per change
REMEMBERED_MAX: Final = 10_000  # merchants; then all are forgotten


class Listener(Struct, frozen=True):
    """An endpoint as far as it matters who hears of what."""

    endpoint_id: str
    enabled: bool
    enabled_events: frozenset[str]

    def wants(self, type: str) -> bool:
        """Whether events of `type` are sent here."""
        return type in self.enabled_events or ALL in self.enabled_events


class Listeners:
    """Finds the endpoints of merchants."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[Listener, ...]]] = {}

    async def of(
        self, reader: Database | Transaction, merchant_ids: Collection[str]
    ) -> Mapping[str, tuple[Listener, ...]]:
        """The endpoints of each of these merchants."""
        now_s = self._clock.monotonic_s()
        stale = sorted(id for id in merchant_ids if id not in self._known or now_s - self._known[id][0] >= FRESH_S)
        if stale:
            if len(self._known) + len(stale) > REMEMBERED_MAX:
                self._known.clear()
            found: dict[str, list[Listener]] = {id: [] for id in stale}
            for row in await reader.rows(SQL.listeners_of, stale):
                enabled_events = frozenset(row["enabled_events"])
                listener = Listener(row["endpoint_id"], row["status"] == "enabled", enabled_events)
                found[row["merchant_id"]].append(listener)
            self._known |= {id: (now_s, tuple(listeners)) for id, listeners in found.items()}
        return {id: self._known[id][1] if id in self._known else () for id in merchant_ids}
