"""Control: the same intake tuned by hand with FastAPI and asyncpg.

No ORM, no pydantic on the path, our own HMAC, msgspec for JSON, no reset query on the pool, two statements between
BEGIN and COMMIT instead of four. What is left is one transaction and one commit per webhook.
"""

import hmac
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from fastapi import FastAPI, Request, Response

from benchmarks.controls.facts import learn, state_of

MERCHANT = os.environ["BENCHMARK_MERCHANT"]
SECRET = os.environ["BENCHMARK_WEBHOOK_SECRET"].encode()
TOLERANCE_S = 300

decode = msgspec.json.decode
encode = msgspec.json.encode

RECEIVE = """
WITH received AS (
    INSERT INTO inbox (merchant_id, connection_id, event_id, type, order_id, state, received_at, raw)
    VALUES ($1, $2, $3, $4, $5, 'applied', $6, $7) ON CONFLICT DO NOTHING RETURNING order_id
)
SELECT (SELECT count(*) FROM received) AS fresh, o.amount, o.currency, o.state, o.facts, o.version
  FROM (VALUES ($1, $5)) AS w(merchant_id, order_id)
  LEFT JOIN LATERAL (
       SELECT * FROM orders WHERE orders.merchant_id = w.merchant_id AND orders.order_id = w.order_id FOR UPDATE
       ) AS o ON true
"""
SAVE = """
WITH saved AS (
    UPDATE orders SET facts = $3, state = $4, amount_captured = $5, version = $6, updated_at = $7
     WHERE merchant_id = $1 AND order_id = $2
)
INSERT INTO timeline (merchant_id, order_id, number, at, source, fact, state_before, state_after, reference)
VALUES ($1, $2, $6, $7, 'webhook', $8, $9, $4, $10)
"""
PARK = "UPDATE inbox SET state = 'parked' WHERE merchant_id = $1 AND connection_id = $2 AND event_id = $3"


class Connection(asyncpg.Connection):  # type: ignore[misc]
    def get_reset_query(self) -> str:
        return ""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    size = int(os.environ["BENCHMARK_POOL"])
    app.state.pool = await asyncpg.create_pool(
        os.environ["BENCHMARK_DSN"], min_size=size, max_size=size, connection_class=Connection
    )
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


def verified(header: str, body: bytes) -> bool:
    items = [item.partition("=") for item in header.split(",")]
    timestamp = next((value for name, _, value in items if name == "t"), "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    expected = hmac.digest(SECRET, b"%b.%b" % (timestamp.encode(), body), "sha256").hex()
    return any(name == "v1" and hmac.compare_digest(value, expected) for name, _, value in items)


@app.post("/webhooks/{connection_id}")
async def webhook(connection_id: str, request: Request) -> Response:
    body = await request.body()
    if not verified(request.headers.get("stripe-signature", ""), body):
        return Response(status_code=400)
    event: dict[str, Any] = decode(body)
    now = datetime.now(UTC)
    order_id = event["data"]["object"]["client_reference_id"]
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            RECEIVE, MERCHANT, connection_id, event["id"], event["type"], order_id, now, body
        )
        if not row["fresh"]:
            return Response()
        if row["state"] is None:
            await connection.execute(PARK, MERCHANT, connection_id, event["id"])
            return Response()
        facts, fact = learn(decode(row["facts"]), event)
        state = state_of(facts, row["amount"], row["currency"])
        await connection.execute(
            SAVE,
            MERCHANT,
            order_id,
            encode(facts).decode(),
            state,
            row["amount"] if state == "PAID" else 0,
            row["version"] + 1,
            now,
            encode(fact).decode(),
            row["state"],
            event["id"],
        )
    return Response()
