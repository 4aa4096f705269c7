"""The rows of deliveries: read what is due, claim it, record what became of it, always in batches (DESIGN §2.7).

A claim is a lease with a generation. The generation makes a holder's result count only while nobody has taken the
delivery over; the lease is longer than any try, so that normally nobody does.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.protocol import Claimed, EndpointKey, Result, Seen
from tallystick.kernel.delivery.states import DEAD, DELIVERED
from tallystick.ports.database import Database, Record, Statements, Transaction

SQL = Statements.beside(__file__)


async def due(database: Database, *, at: datetime, without: Collection[str], items_max: int) -> list[Seen]:
    """Up to `items_max` deliveries that are due at `at`, longest due first; not those of the endpoints `without`."""
    rows = await database.rows(SQL.due_deliveries, at, sorted(without), items_max)
    return [Seen(row["owner_id"], row["id"], row["generation"], _endpoint(row)) for row in rows]


async def claim(database: Database, seen: Sequence[Seen], *, at: datetime, lease_s: float) -> list[Claimed]:
    """Those of `seen` that are now ours until `at` + `lease_s`.

    Raises SerializationFailed when another dispatcher claims them too.
    """
    rows = await database.rows(
        SQL.claim_deliveries,
        *columns(3, [(item.owner_id, item.id, item.generation) for item in seen]),
        at,
        at + timedelta(seconds=lease_s),
    )
    return [
        Claimed(
            owner_id=row["owner_id"],
            id=row["id"],
            generation=row["generation"],
            tries=row["tries"],
            message=row["message"],
            endpoint=_endpoint(row),
            body=row["body"],
        )
        for row in rows
    ]


async def record(tx: Transaction | Database, results: Sequence[Result]) -> set[tuple[str, str]]:
    """Write `results` down. Gives (owner, id) of those that counted; the others had lost their lease."""
    rows = await tx.rows(SQL.record_results, *columns(13, [_row(result) for result in results]))
    return {(row["owner_id"], row["id"]) for row in rows}


async def release(database: Database, claimed: Sequence[Claimed]) -> None:
    """Give up the leases of deliveries whose result will not be known here; they are due again at once."""
    await database.execute(
        SQL.release_deliveries, *columns(3, [(item.owner_id, item.id, item.generation) for item in claimed])
    )


def _row(result: Result) -> tuple[object, ...]:
    claimed, verdict, tried = result.claimed, result.verdict, result.tried
    finished_at = result.at if verdict.state in (DELIVERED, DEAD) else None
    delivery = (
        claimed.owner_id,
        claimed.id,
        claimed.generation,
        verdict.state,
        verdict.due_at,
        verdict.reason,
        finished_at,
    )
    if tried is None:
        return (*delivery, False, None, None, None, None, None)
    return (*delivery, True, tried.started_at, tried.duration_ms, tried.status, tried.reason, tried.answer)


def _endpoint(row: Record) -> EndpointKey:
    return EndpointKey(row["owner_id"], row["livemode"], row["endpoint"])
