"""The control of the deliveries: the same work as jobs of pgqueuer, as its documentation writes them.

Sign both ways, POST with aiohttp as the services do but for deliveries, record the try; pgqueuer claims with SKIP
LOCKED, in batches, and notes by itself what is done. Its settings are the best of those tried here: a pool, batches of
100, 256 jobs at once.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from pgqueuer import Job, PgQueuer
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from tallystick.kernel.signatures import sign_standard, sign_stripe
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import Answered, HttpRequest

BATCH_JOBS = 100
JOBS_AT_ONCE = 256
CONNECTIONS = 8
ENTRYPOINT = "deliver"
TABLE = """
CREATE TABLE IF NOT EXISTS attempt (
    job bigint NOT NULL, started_at timestamptz NOT NULL, duration_ms int NOT NULL, status int, answer bytea
)
"""
RECORD = "INSERT INTO attempt (job, started_at, duration_ms, status, answer) VALUES ($1, $2, $3, $4, $5)"


async def rate(dsn: str, url: str, secret: str, body: bytes, deliveries: int) -> dict[str, float]:
    """A backlog is worked off."""
    pool = await asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    http = AiohttpClient()
    queuer = PgQueuer.from_asyncpg_pool(pool)
    assert isinstance(queuer.queries, Queries)
    await pool.execute(TABLE)
    if not await queuer.queries.has_table("pgqueuer"):
        await queuer.queries.install()
    await queuer.queries.enqueue([ENTRYPOINT] * deliveries, [body] * deliveries, [0] * deliveries)
    await pool.execute("VACUUM ANALYZE pgqueuer")

    @queuer.entrypoint(ENTRYPOINT)
    async def deliver(job: Job) -> None:
        assert job.payload is not None
        started_at, started = datetime.now(UTC), time.monotonic()
        timestamp, id = int(started_at.timestamp()), f"evt_{job.id}"
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_standard([secret], id, timestamp, job.payload),
            "Stripe-Signature": sign_stripe([secret], timestamp, job.payload),
        }
        answer: Any = await http.send(HttpRequest("POST", url, headers, job.payload, 15.0, 16384))
        assert isinstance(answer, Answered)
        duration_ms = int((time.monotonic() - started) * 1000)
        await pool.execute(RECORD, int(job.id), started_at, duration_ms, answer.status, answer.body)

    started, cpu_started = time.monotonic(), time.process_time()
    await queuer.run(
        dequeue_timeout=timedelta(seconds=1),
        batch_size=BATCH_JOBS,
        max_concurrent_tasks=JOBS_AT_ONCE,
        mode=QueueExecutionMode.drain,
    )
    seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
    done = await pool.fetchval("SELECT count(*) FROM attempt")
    await pool.execute("TRUNCATE attempt")
    assert done == deliveries
    await http.close()
    await pool.close()
    return {"per_s": round(deliveries / seconds, 1), "cpu_s_per_1000": round(cpu_s / deliveries * 1000, 3)}
