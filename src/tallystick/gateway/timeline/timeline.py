"""Reads the gateway's half of a payment's timeline.

    id → whose, and which payment → its objects → its events → what each source tells behind a place → one page

An id may be of a payment intent, session, charge, refund, dispute, acquirer request or event. Every source gives at
most one page behind the cursor, so a page costs the same however long the story is; many failed tries of one delivery
are one line with their count.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tallystick.gateway.accounts.accounts import SQL as ACCOUNTS
from tallystick.gateway.stripe_wire.currencies import exponent
from tallystick.kernel.timeline.entries import BEGINNING, PAGE_ROWS, Place, Timeline
from tallystick.kernel.timeline.reading import Messages, Reader, about, composed, told_by
from tallystick.kernel.timeline.telling import amount_in_words, harmless
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements

SQL = Statements.beside(__file__)

OBJECTS_MAX: Final = 20_000  # of one payment, its events too; one with more is told by its first ones
DUE_ROWS_MAX: Final = 20
KNOWN_BY_MAX: Final = 50
ORDER: Final = re.compile("[0-9A-Za-z_-]{1,64}")  # what a merchant wrote that looks like the id of an order
CAUSES: Final = {
    "charge": ("charge",),
    "request": ("capture", "void"),
    "refund": ("refund", "refund_paid", "refund_failure"),
    "dispute": ("dispute", "dispute_reversal", "dispute_lost"),
}
"""What is posted to the ledger for an object, as the ledger's references begin (`ledger/postings.py`)."""


class Payment(Struct, frozen=True):
    """A payment, or a session that nobody has paid by yet: then `intent` is None."""

    account_id: str
    livemode: bool
    intent: str | None
    session: str | None

    @property
    def id(self) -> str:
        """What it is called by."""
        found = self.intent or self.session
        assert found is not None, "a payment without an intent is a session"
        return found


class Timelines:
    """The timelines of all accounts' payments."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, id: str, *, account: str | None = None) -> Payment | None:
        """The payment that an id belongs to; `account`: only if it is this one's."""
        accounts = (
            [account] if account else [row["account_id"] for row in await self._database.rows(ACCOUNTS.list_accounts)]
        )
        rows = await self._database.rows(SQL.find_owner, accounts, id)
        if not rows:
            events = await self._database.rows(SQL.object_of_event, accounts, id)
            rows = [row for event in events for row in await self._owner_of(event)]
        return _payment(rows[0]) if rows else None

    async def _owner_of(self, event: Record) -> Sequence[Record]:
        return await self._database.rows(SQL.find_owner, [event["account_id"]], event["object_id"])

    async def read(self, payment: Payment, *, after: Place = BEGINNING, rows_max: int = PAGE_ROWS) -> Timeline:
        """A page of a payment's timeline, and what is next."""
        mode = (payment.account_id, payment.livemode)
        read = self._database.rows
        [standing] = await read(SQL.summary, *mode, payment.intent, payment.session)
        objects = await read(SQL.objects_of_payment, *mode, payment.intent, payment.session, OBJECTS_MAX)
        ids = [*([payment.intent] if payment.intent else []), *(row["id"] for row in objects)]
        events = await read(SQL.events_of_objects, *mode, ids, OBJECTS_MAX)
        keys = sorted({row["idempotency_key"] for row in events if row["idempotency_key"]})
        causes = [f"{cause}:{row['id']}" for row in objects for cause in CAUSES.get(row["kind"], ())]
        messages = Messages([row["id"] for row in events], [row["type"] for row in events])
        reader = Reader(self._database, after, rows_max)
        sources = [
            await reader.rows(SQL.tell_charges, *mode, ids),
            await reader.rows(SQL.tell_requests, *mode, ids),
            await reader.rows(SQL.tell_events, *mode, ids),
            await reader.rows(SQL.tell_cases, *mode, ids),
            await reader.rows(SQL.tell_calls, *mode, keys),
            await reader.rows(SQL.tell_money, *mode, causes),
            await told_by(reader, payment.account_id, messages),
            await about(reader, ids),
        ]
        due = [
            *await read(SQL.next_of_payment, *mode, ids, DUE_ROWS_MAX),
            *await read(SQL.next_of_money, *mode, causes, self._clock.now(), DUE_ROWS_MAX),
            *await reader.next_tries(payment.account_id, messages, DUE_ROWS_MAX),
        ]
        return composed(
            "gateway",
            sources,
            due,
            rows_max,
            exponent,
            id=payment.id,
            owner=payment.account_id,
            state=standing["state"] or "",
            amount=amount_in_words(standing["amount_minor"], standing["currency"], exponent),
            ids=_known_by(payment, standing, objects),
        )


def _payment(row: Record) -> Payment:
    return Payment(row["account_id"], row["livemode"], row["payment_intent"], row["checkout_session"])


def _known_by(payment: Payment, standing: Record, objects: Sequence[Record]) -> tuple[str, ...]:
    """The order first, where a merchant has named it; then intent, sessions, charges and the like."""
    order = standing["order_id"] or ""
    named = order if ORDER.fullmatch(order) and harmless(order) == order else None
    sessions = [row["id"] for row in objects if row["kind"] == "session"]
    found = [named, payment.intent, *sessions, *(row["id"] for row in objects[:KNOWN_BY_MAX])]
    return tuple(dict.fromkeys(id for id in found if id))
