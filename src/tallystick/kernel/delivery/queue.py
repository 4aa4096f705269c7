"""The rows of deliveries: read what is due, claim it, record what became of it and what it told of its endpoint, always
in batches (DESIGN §2.7).

A claim is a lease with a generation. The generation makes a holder's result count only while nobody has taken the
delivery over; the lease is longer than any try, so that normally nobody does.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.health import WELL, Health
from tallystick.kernel.delivery.protocol import Claimed, EndpointKey, Result, Seen
from tallystick.kernel.delivery.states import DEAD, DELIVERED
from tallystick.ports.database import Database, Record, Statements, Transaction

SQL = Statements.beside(__file__)


async def due(database: Database, *, at: datetime, without: Collection[str], items_max: int) -> list[Seen]:
    """Up to `items_max` deliveries that are due at `at`, longest due first.

    Left out are those of the endpoints `without`, and of endpoints that asked for time.
    """
    rows = await database.rows(SQL.due_deliveries, at, sorted(without), items_max)
    return [Seen(row["owner_id"], row["id"], row["generation"], _endpoint(row), _health(row)) for row in rows]


async def claim(database: Database, seen: Sequence[Seen], *, at: datetime, lease_s: float) -> list[Claimed]:
    """Those of `seen` that are now ours until `at` + `lease_s`.

    Raises SerializationFailed when another dispatcher claims them too.
    """
    healths = {(item.owner_id, item.id): item.health for item in seen}
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
            created_at=row["created_at"],
            health=healths[row["owner_id"], row["id"]],
            trace=row["trace"],
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


async def lock_health(tx: Transaction, keys: Collection[EndpointKey]) -> dict[EndpointKey, Health]:
    """How these endpoints stand, locked for `save_health`; without those that have no row."""
    rows = await tx.rows(SQL.lock_health, *columns(3, sorted(keys)))
    return {
        _endpoint(row): Health(
            width=row["width"],
            failures=row["failures"],
            failing_since=row["failing_since"],
            reason=row["reason"],
            backoffs=row["backoffs"],
            backed_off_at=row["backed_off_at"],
            slowed_until=row["slowed_until"],
            broken_until=row["broken_until"],
        )
        for row in rows
    }


async def save_health(tx: Transaction, healths: Mapping[EndpointKey, Health], *, at: datetime) -> None:
    """Write down how endpoints stand. One that is slowed down gets its backlog looked after."""
    rows = [
        (
            *key,
            health.width,
            health.failures,
            health.failing_since,
            health.reason,
            health.backoffs,
            health.backed_off_at,
            health.slowed_until,
            health.broken_until,
            at if health.is_slowed(at) else None,
        )
        for key, health in sorted(healths.items())
    ]
    await tx.execute(SQL.save_health, *columns(12, rows))


async def ask_keeper(database: Database | Transaction, keys: Iterable[EndpointKey], *, at: datetime) -> None:
    """Let the keeper (kernel/delivery/keeper) look after what waits for these endpoints."""
    await database.execute(SQL.ask_keeper, *columns(3, sorted(keys)), at)


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


def _health(row: Record) -> Health:
    if row["failures"] is None:
        return WELL
    return Health(
        width=row["width"],
        failures=row["failures"],
        failing_since=row["failing_since"],
        reason=row["reason"],
        broken_until=row["broken_until"],
    )


def _endpoint(row: Record) -> EndpointKey:
    return EndpointKey(row["owner_id"], row["livemode"], row["endpoint"])
