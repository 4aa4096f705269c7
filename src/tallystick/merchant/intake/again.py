"""Webhooks that came to nothing, looked through and tried again in bulk (RULES §7, inbound dead letters).

To try again is to be due: the inbox's worker takes what is due, a batch at a time, so it goes on after a restart, and
each webhook is tried once by whoever holds its lease. That is all that is durable about it, and it is enough: a row of
its own that tells how far it has come, like a redrive's, would spare no receiver, for nobody is called. What broke off
is asked for again, and goes on with those that are not due yet.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from tallystick.kernel.identifiers import owner_of
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX, list_merchants
from tallystick.merchant.intake.commands import SQL
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record

Word = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Instant = Annotated[datetime, Meta(tz=True)]

BEHIND: Final = ("", "")
STEP_ROWS: Final = 5_000
"""That are let be due in one commit: it stays short, however many fit."""
MERCHANTS_AT_ONCE: Final = 1_000


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
        at, tried, place = self.clock.now(), 0, BEHIND
        while rows := await self.database.rows(
            SQL.let_unapplied_be_due, *asked.fits(merchant_id), at, *place, STEP_ROWS
        ):
            tried += len(rows)
            place = max((row["connection_id"], row["event_id"]) for row in rows)
        return tried

    async def owners(self, merchant_id: str | None, asked: Unapplied) -> list[str]:
        """Whose webhooks are meant: the merchant that is named, the connection's, or all there are."""
        if merchant_id is not None:
            return [merchant_id]
        if asked.connection is not None:
            owner = owner_of(asked.connection, MERCHANT_PREFIX)
            return [] if owner is None else [owner]
        found: list[str] = []
        while more := await list_merchants(self.database, after=found[-1] if found else "", rows_max=MERCHANTS_AT_ONCE):
            found += more
        return found
