"""How endpoints stand, for operators: what the engine's rows say of those that are not simply well (RULES §6).

An endpoint that is well and has nothing waiting is not listed; it has no row, or one that says nothing.
"""

from datetime import datetime
from typing import Final

from msgspec import Struct

from tallystick.kernel.delivery.health import Health
from tallystick.kernel.delivery.queue import SQL
from tallystick.kernel.delivery.states import DUE, HELD
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

COUNTED_MAX: Final = 10_000
"""Waiting deliveries are counted so far: enough to see how bad it is, and a look stays cheap."""

BROKEN: Final = "broken"
SLOWED: Final = "slowed"
FAILING: Final = "failing"
RECOVERING: Final = "recovering"
WELL: Final = "well"


class Standing(Struct, frozen=True):
    """One endpoint. `at_once` is how many deliveries each process sends it at once, None: as many as to any.

    `due` and `held` count what waits, up to COUNTED_MAX.
    """

    owner: str
    livemode: bool
    endpoint: str
    standing: str
    until: datetime | None
    at_once: int | None
    failures: int
    failing_since: datetime | None
    reason: str | None
    due: int
    held: int


class Standings:
    """Reads how endpoints stand."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ailing(self, *, endpoint: str | None = None, rows_max: int) -> list[Standing]:
        """Endpoints that are not well or have something held, by owner; only `endpoint`, where one is named."""
        at = self._clock.now()
        rows = await self._database.rows(SQL.standings, at, endpoint, DUE, HELD, COUNTED_MAX, rows_max)
        found = []
        for row in rows:
            health = Health(
                width=row["width"],
                failures=row["failures"],
                slowed_until=row["slowed_until"],
                broken_until=row["broken_until"],
            )
            word, until = standing_of(health, at)
            found.append(
                Standing(
                    owner=row["owner_id"],
                    livemode=row["livemode"],
                    endpoint=row["endpoint"],
                    standing=word,
                    until=until,
                    at_once=health.width,
                    failures=health.failures,
                    failing_since=row["failing_since"],
                    reason=row["reason"],
                    due=row["due"],
                    held=row["held"],
                )
            )
        return found


def standing_of(health: Health, at: datetime) -> tuple[str, datetime | None]:
    """A word for `health`, and until when it is left alone, where it is."""
    if health.is_broken(at):
        return BROKEN, health.broken_until
    if health.is_slowed(at):
        return SLOWED, health.slowed_until
    if health.failures:
        return FAILING, None
    return (WELL if health.width is None else RECOVERING), None
