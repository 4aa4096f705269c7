"""Backfill: after an outage the gateway's list of events is compared with what came in (RULES §7).

It starts by itself, by two rules that can be stated:

    nobody watched   the last note that the workers are there is older than UNWATCHED_S: this service was down, and
                     webhooks may have been given up meanwhile; wanted from that note on
    a look told      a look at the gateway told what no webhook had: webhooks do not come; wanted from the creation of
                     that attempt on, and not more often than every EVERY_S

and by command. It is a row with a cursor: a page is taken in as if its events had come as webhooks, then the cursor
moves; whoever dies is followed by somebody who begins at that page again. What is known already is no work.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.outcomes import Done
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.gateways.port import Connection, EventMalformed, EventPage, Gateway
from tallystick.merchant.intake.commands import SQL, Intake, Webhook
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed, Transaction
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

WATCH_EVERY_S: Final = 30.0  # a note that somebody watches; one small update
UNWATCHED_S: Final = 120.0  # four notes missed: the service was down, or as good as
MARGIN_S: Final = 900  # the gateway's clock may differ, and what happened may have been committed late (RULES §14)
EVERY_S: Final = 300  # a gateway whose webhooks do not come is listed this often, not more
CLAIMED_MAX: Final = 8  # backfills at once, a page each
LEASE_S: Final = 90.0  # a page with all its tries, and its commit
PAUSE_S: Final = 1.0  # between two looks when nothing was due
BACKOFF_MIN_S: Final = 5.0
BACKOFF_MAX_S: Final = 300.0


class Wanted(Struct, frozen=True):
    """A wish that a connection's events be compared from a time on."""

    merchant_id: str
    connection_id: str
    since: datetime


class Backfill(Struct, frozen=True):
    """A backfill that this worker holds."""

    merchant_id: str
    connection_id: str
    generation: int
    tries: int
    since: datetime
    cursor: str | None


async def want_backfills(tx: Transaction | Database, wanted: Sequence[Wanted], at: datetime) -> None:
    """Note that connections are to be backfilled, in the caller's transaction."""
    earliest: dict[tuple[str, str], datetime] = {}
    for each in wanted:
        key = (each.merchant_id, each.connection_id)
        earliest[key] = min(each.since, earliest.get(key, each.since))
    rows = [(*key, since - timedelta(seconds=MARGIN_S)) for key, since in sorted(earliest.items())]
    if rows:
        await tx.execute(SQL.want_backfills, at, *columns(3, rows), EVERY_S)


class BackfillWorker:
    """Watches over connections and backfills until it is cancelled. Any number of workers may run."""

    def __init__(
        self,
        database: Database,
        intake: Intake,
        gateways: Mapping[str, Gateway],
        directory: Directory,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self._intake = intake
        self._gateways = gateways
        self._directory = directory
        self._clock = clock
        self._entropy = entropy
        self._watched_s: float | None = None

    async def run(self) -> None:
        """Work for ever. What goes wrong is logged and tried again."""
        await looking.run(self.run_once, self._clock, log, "backfills wait", pause_s=PAUSE_S, drains=True)

    async def run_once(self) -> int:
        """Note that somebody watches, when it is time, and take in a page of each backfill that is due; how many."""
        now_s = self._clock.monotonic_s()
        if self._watched_s is None or now_s - self._watched_s >= WATCH_EVERY_S:
            await self.watch()
            self._watched_s = now_s
        claimed = await self._claim()
        outcomes = await asyncio.gather(*(self._page(backfill) for backfill in claimed), return_exceptions=True)
        for backfill, outcome in zip(claimed, outcomes, strict=True):
            if isinstance(outcome, Exception):
                # Its lease runs out and the page is asked for again.
                log.error("backfill of %s failed: %s", backfill.connection_id, type(outcome).__name__)
        return len(claimed)

    async def watch(self) -> None:
        """Note that somebody watches over every connection; what nobody watched for too long is to be backfilled."""
        at = self._clock.now()
        try:
            await self._database.execute(
                SQL.watch_connections,
                at,
                at - timedelta(seconds=WATCH_EVERY_S / 2),
                at - timedelta(seconds=UNWATCHED_S),
                MARGIN_S,
            )
        except SerializationFailed:  # another worker notes the same
            return

    async def _claim(self) -> list[Backfill]:
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_backfills, at, CLAIMED_MAX)
        if not seen:
            return []
        keys = [(row["merchant_id"], row["connection_id"], row["generation"]) for row in seen]
        try:
            rows = await self._database.rows(
                SQL.take_backfills, at + timedelta(seconds=LEASE_S), *columns(3, sorted(keys))
            )
        except SerializationFailed:
            return []
        return sorted((_backfill(row) for row in rows), key=lambda each: (each.merchant_id, each.connection_id))

    async def _page(self, backfill: Backfill) -> None:
        """Ask for the next page, take it in, and note how far that is."""
        connection = await self._directory.connection(backfill.merchant_id, backfill.connection_id)
        assert connection is not None, "connections are disabled, never deleted"
        gateway = self._gateways[connection.gateway]
        answer = await gateway.list_events(connection, backfill.since, backfill.cursor)
        at = self._clock.now()
        if not isinstance(answer, Done):
            log.warning("backfill of %s: %s", backfill.connection_id, type(answer).__name__)
            pause_s = min(BACKOFF_MIN_S * 2 ** min(backfill.tries - 1, 20), BACKOFF_MAX_S)
            later = at + timedelta(seconds=self._entropy.uniform(pause_s / 2, pause_s))
            await self._record(backfill, backfill.cursor, later, failed=True)
            return
        page = answer.value
        await asyncio.gather(*(self._intake.take_in(webhook) for webhook in _webhooks(gateway, connection, page)))
        more = page.has_more and page.last_id is not None
        await self._record(backfill, page.last_id, at if more else None, failed=False)

    async def _record(self, backfill: Backfill, cursor: str | None, due_at: datetime | None, *, failed: bool) -> None:
        await self._database.execute(
            SQL.record_backfill,
            backfill.merchant_id,
            backfill.connection_id,
            backfill.generation,
            self._clock.now(),
            backfill.since,
            cursor,
            due_at,
            failed,
        )


def _webhooks(gateway: Gateway, connection: Connection, page: EventPage) -> list[Webhook]:
    """The events of a page as the intake takes them, the oldest first; those that say nothing about orders are left
    out, since they were never subscribed to."""
    webhooks = []
    for raw in reversed(page.events):
        try:
            event = gateway.read_event(raw)
        except EventMalformed:
            continue
        if event.facts or event.error is not None:
            webhooks.append(Webhook(connection.merchant_id, connection.connection_id, raw, event))
    return webhooks


def _backfill(row: Record) -> Backfill:
    return Backfill(
        merchant_id=row["merchant_id"],
        connection_id=row["connection_id"],
        generation=row["generation"],
        tries=row["tries"],
        since=row["backfill_from"],
        cursor=row["backfill_cursor"],
    )
