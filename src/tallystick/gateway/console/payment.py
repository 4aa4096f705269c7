"""Everything that is known of one payment: what was tried, what the bank said, what moved, who was told of it.

Not read at all: secrets of its pages, what the merchant wrote in descriptions and metadata (but for the order's own
reference), what receivers answered, fingerprints. What there is too much of is cut off at a limit, and said so.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.cases.concerns import WORDS
from tallystick.gateway.console.desk import SQL
from tallystick.kernel.card_numbers import without_card_numbers
from tallystick.ports.database import Database, Record

ROWS_MAX: Final = 100
"""Of each kind: a payment with more charges, refunds or events than that is a case of its own."""
TRIES_MAX: Final = 300

Key = tuple[str, bool, str]

_CAUSES: Final = {
    "charges": ("charge",),
    "requests": ("capture", "void"),
    "refunds": ("refund", "refund_paid", "refund_failure"),
    "disputes": ("dispute", "dispute_reversal", "dispute_lost"),
}
"""Under which references the ledger has what an object caused (`ledger/postings.py`)."""

Rows = Sequence[Record]


class Told(Struct, frozen=True):
    """An event, and for each delivery of it every try."""

    event: Record
    deliveries: Sequence[tuple[Record, Rows]]


async def load(database: Database, key: Key) -> dict[str, Any] | None:
    """What the page shows of a payment, None where there is none. Raises DatabaseError."""
    found = await database.rows(SQL.show_payment, *key)
    if not found:
        return None
    about = {
        "sessions": await database.rows(SQL.sessions_of_payment, *key, ROWS_MAX),
        "charges": await database.rows(SQL.charges_of_payment, *key, ROWS_MAX),
        "requests": await database.rows(SQL.requests_of_payment, *key, ROWS_MAX),
        "refunds": await database.rows(SQL.refunds_of_payment, *key, ROWS_MAX),
        "disputes": await database.rows(SQL.disputes_of_payment, *key, ROWS_MAX),
    }
    told = await _told(database, key, about)
    names = {each.event["idempotency_key"] for each in told} - {None}
    mode = "live" if key[1] else "test"
    keys = await database.rows(SQL.keys_by_name, key[0], mode, sorted(names), ROWS_MAX) if names else []
    return about | {
        "payment": found[0],
        "ledger": await database.rows(SQL.ledger_of_causes, *key[:2], _references(about), ROWS_MAX),
        "told": told,
        "keys": [{**row, "key": without_card_numbers(row["key"])} for row in keys],
        "cases": [
            {**row, "words": WORDS.get(row["kind"], "")}
            for row in await database.rows(SQL.cases_of_payment, *key, ROWS_MAX)
        ],
        "unknown": [row for row in (*about["charges"], *about["requests"]) if row["state"] == "unknown"],
        "cut": any(len(rows) == ROWS_MAX for rows in about.values()) or len(told) == ROWS_MAX,
    }


async def _told(database: Database, key: Key, about: dict[str, Rows]) -> list[Told]:
    objects = [key[2], *(row["id"] for name in ("sessions", "charges", "refunds", "disputes") for row in about[name])]
    events = await database.rows(SQL.events_of_objects, *key[:2], objects, ROWS_MAX)
    names = [event["id"] for event in events]
    deliveries = await database.rows(SQL.deliveries_of_events, key[0], names, ROWS_MAX) if names else []
    ids = [delivery["id"] for delivery in deliveries]
    tries = await database.rows(SQL.tries_of_deliveries, key[0], ids, TRIES_MAX) if ids else []
    made: dict[str, list[Record]] = {}
    for each in tries:
        made.setdefault(each["delivery"], []).append(each)
    of_event: dict[str, list[tuple[Record, Rows]]] = {}
    for delivery in deliveries:
        of_event.setdefault(delivery["message"], []).append((delivery, made.get(delivery["id"], [])))
    return [Told(event, of_event.get(event["id"], [])) for event in events]


def _references(about: dict[str, Rows]) -> list[str]:
    return [f"{cause}:{row['id']}" for name, causes in _CAUSES.items() for row in about[name] for cause in causes]
