"""Control: `POST /v1/payment_intents` with an idempotency key, tuned by hand with FastAPI and asyncpg.

The claim of the key is committed first in its own statement, so that a second caller is answered at once; then the
intent, its event, the event's deliveries and the kept answer are one statement with one commit. No ORM, no pydantic on
the path, API keys remembered in memory, msgspec for JSON, no reset query on the pool.
"""

import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import asyncpg
import msgspec
from fastapi import FastAPI, Request, Response

LEASE = timedelta(seconds=60)
KNOWN = {"amount", "currency", "capture_method", "description"}

encode = msgspec.json.encode

CLAIM = """
INSERT INTO idempotency_key (owner_id, mode, key, fingerprint, state, lease_until, created_at)
VALUES ($1, $2, $3, $4, 'running', $5, $6) ON CONFLICT DO NOTHING RETURNING 1
"""
FIND = "SELECT fingerprint, state, status, body FROM idempotency_key WHERE owner_id = $1 AND mode = $2 AND key = $3"
SAVE = """
WITH intent AS (
    INSERT INTO payment_intent (account_id, livemode, id, status, amount, currency, capture_method, client_secret,
                                metadata, created_at)
    VALUES ($1, $2, $3, 'requires_payment_method', $4, $5, $6, $7, $8, $9)
), event AS (
    INSERT INTO event (account_id, livemode, id, type, object_id, object, request_id, idempotency_key, created_at)
    VALUES ($1, $2, $10, 'payment_intent.created', $3, $11, $12, $13, $9)
), delivery AS (
    INSERT INTO delivery (owner_id, id, message, endpoint, state, due_at, created_at)
    SELECT $1, 'dlv_' || $10 || e.id, $10, e.id, 'due', $9, $9
      FROM webhook_endpoint e
     WHERE e.account_id = $1 AND e.livemode = $2 AND e.status = 'enabled'
       AND e.enabled_events && ARRAY['*', 'payment_intent.created']
)
UPDATE idempotency_key SET state = 'done', status = 200, body = $14 WHERE owner_id = $1 AND mode = $15 AND key = $13
"""


class Connection(asyncpg.Connection):  # type: ignore[misc]
    def get_reset_query(self) -> str:
        return ""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    size = int(os.environ["BENCHMARK_POOL"])
    app.state.pool = await asyncpg.create_pool(
        os.environ["BENCHMARK_DSN"], min_size=size, max_size=size, connection_class=Connection
    )
    rows = await app.state.pool.fetch("SELECT key_hash, account_id, livemode FROM account_key")
    app.state.keys = {row["key_hash"]: (row["account_id"], row["livemode"]) for row in rows}
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/payment_intents")
async def create(request: Request) -> Response:
    body = await request.body()
    authorization = request.headers.get("authorization", "")
    known = request.app.state.keys.get(hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest())
    if known is None:
        return _error(401, "invalid_request_error", "api_key_invalid", "Invalid API Key provided")
    account, livemode = known
    fields = dict(parse_qsl(body.decode("ascii"), strict_parsing=True))
    metadata = {name[9:-1]: value for name, value in fields.items() if name.startswith("metadata[")}
    unknown = [name for name in fields if name not in KNOWN and not name.startswith("metadata[")]
    if unknown:
        return _error(400, "invalid_request_error", "parameter_unknown", f"Received unknown parameter: {unknown[0]}")
    if not fields.get("amount", "").isdecimal() or len(fields.get("currency", "")) != 3:
        return _error(400, "invalid_request_error", "parameter_invalid", "Invalid amount or currency")
    key = request.headers.get("idempotency-key", "")
    if not 0 < len(key) <= 255:
        return _error(400, "invalid_request_error", "parameter_missing", "This benchmark sends an idempotency key")
    fingerprint = hashlib.sha256(b"POST /v1/payment_intents " + encode(sorted(fields.items()))).digest()
    mode, now = "live" if livemode else "test", datetime.now(UTC)
    async with request.app.state.pool.acquire() as connection:
        if not await connection.fetchval(CLAIM, account, mode, key, fingerprint, now + LEASE, now):
            return _replay(await connection.fetchrow(FIND, account, mode, key), fingerprint)
        intent = _intent(fields, metadata, livemode, now)
        answer = encode(intent)
        event, request_id = f"evt_{_random()}", f"req_{_random()}"
        await connection.execute(
            SAVE,
            account,
            livemode,
            intent["id"],
            intent["amount"],
            intent["currency"],
            intent["capture_method"],
            intent["client_secret"],
            encode(metadata).decode(),
            now,
            event,
            answer.decode(),
            request_id,
            key,
            answer,
            mode,
        )
    return Response(answer, media_type="application/json", headers={"Request-Id": request_id})


def _replay(row: Any, fingerprint: bytes) -> Response:
    if row is None or row["fingerprint"] != fingerprint:
        return _error(400, "idempotency_error", None, "This idempotency key was used for another call")
    if row["state"] == "running":
        return _error(409, "invalid_request_error", "idempotency_key_in_use", "There is another call with this key")
    return Response(
        row["body"], status_code=row["status"], media_type="application/json", headers={"Idempotent-Replayed": "true"}
    )


def _error(status: int, type: str, code: str | None, message: str) -> Response:
    body = encode({"error": {"type": type, "code": code, "message": message}})
    return Response(body, status_code=status, media_type="application/json")


def _random() -> str:
    return f"{time.time_ns():x}{secrets.token_hex(8)}"


def _intent(fields: dict[str, str], metadata: dict[str, str], livemode: bool, now: datetime) -> dict[str, Any]:
    id = f"pi_{_random()}"
    return {
        "id": id,
        "object": "payment_intent",
        "amount": int(fields["amount"]),
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": fields.get("capture_method", "automatic"),
        "client_secret": f"{id}_secret_{_random()}",
        "confirmation_method": "automatic",
        "created": int(now.timestamp()),
        "currency": fields["currency"].lower(),
        "customer": None,
        "description": fields.get("description"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": livemode,
        "metadata": metadata,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
