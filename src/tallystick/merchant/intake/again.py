"""Webhooks that came to nothing, looked through and tried again in bulk (RULES §7, inbound dead letters).

To try again is to be due: the inbox's worker takes what is due, a batch at a time, so it goes on after a restart, and
each webhook is tried once by whoever holds its lease.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from tallystick.merchant.intake.commands import SQL
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record

Word = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Instant = Annotated[datetime, Meta(tz=True)]

BEHIND: Final = ("", "")


class Unapplied(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which webhooks: all that fit everything that is given. `since` and `until` bound when they came."""

    state: Literal["parked", "failed"] | None = None
    type: Word | None = None
    connection: Word | None = None
    event: Word | None = None
    since: Instant | None = None
    until: Instant | None = None

    def fits(self, merchant_id: str) -> tuple[Any, ...]:
        """As the statements take it."""
        return (merchant_id, self.state, self.type, self.connection, self.event, self.since, self.until)


class Again(Struct, frozen=True):
    """Looks through them, and lets them be tried again."""

    database: Database
    clock: Clock

    async def page(
        self, merchant_id: str, asked: Unapplied, *, after: tuple[str, str] = BEHIND, rows_max: int
    ) -> list[Record]:
        """Those that fit, by connection and event, behind a place."""
        return list(await self.database.rows(SQL.page_of_unapplied, *asked.fits(merchant_id), *after, rows_max))

    async def count(self, merchant_id: str, asked: Unapplied) -> int:
        """How many fit: the dry run."""
        [row] = await self.database.rows(SQL.count_unapplied, *asked.fits(merchant_id))
        return int(row["webhooks"])

    async def run(self, merchant_id: str, asked: Unapplied) -> int:
        """Let all that fit be due now; how many that were. One that is due already or just being tried is left out."""
        return await self.database.execute(SQL.let_unapplied_be_due, *asked.fits(merchant_id), self.clock.now())
