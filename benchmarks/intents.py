"""Creating payment intents at the gateway, each with an idempotency key of its own.

Beside ours runs the same job tuned by hand with FastAPI and asyncpg.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.processes import TALLYSTICK, Postgres, uvicorn
from benchmarks.subjects import HttpSubject
from tallystick.kernel.migrations import migrate

CONNECTIONS = (16, 64)
CONTROL_WORKERS = 2  # as one would run them on two cores; measured faster than one
CONTROL_POOL = 16  # connections of each worker
CONTROL_SCHEMA = Path(__file__).parent / "controls" / "intents.sql"
CONTROL_KEY = "sk_test_benchmark"
RATE_MAX = 10_000

OURS, CONTROL = "intents_tallystick", "intents_asyncpg"


def requests(count: int, run: int, key: str) -> list[bytes]:
    """`count` calls, no two with the same idempotency key."""
    built = []
    for number in range(count):
        body = b"amount=2500&currency=eur&metadata[order_id]=ord_%025d&metadata[attempt]=1" % number
        built.append(
            b"POST /v1/payment_intents HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Stripe/v1 PythonBindings\r\n"
            b"Authorization: Bearer %b\r\nIdempotency-Key: order:ord_%025d:%d\r\nStripe-Version: 2026-10-28.endive\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
            % (key.encode(), number, run, len(body), body)
        )
    return built


class Intents:
    """The work: intents of one account, created one after another."""

    requests = "benchmarks.intents:requests"
    status = 200

    def __init__(self, postgres: Postgres, database: str, key: str) -> None:
        self._postgres = postgres
        self._database = database
        self._key = key
        self._run = 0

    def prepare(self, count: int) -> Mapping[str, Any]:
        """Put back what an account has after its first sales, and let PostgreSQL settle; keys differ from run to run.

        On tables that are known to be empty, PostgreSQL would plan as if they remained so.
        """
        self._run += 1
        self._postgres.psql(
            self._database,
            "SET client_min_messages = warning; TRUNCATE payment_intent, event, delivery, idempotency_key CASCADE;"
            + FILL,
        )
        self._postgres.psql(self._database, "VACUUM (ANALYZE); CHECKPOINT;")
        return {"count": count, "run": self._run, "key": self._key}

    def done(self) -> int:
        """How many intents there are, each with its event and its kept answer."""
        counted = [
            self._postgres.psql(self._database, f"SELECT count(*) FROM {table}")
            for table in ("payment_intent", "event", "idempotency_key WHERE state = 'done'")
        ]
        assert len(set(counted)) == 1, f"{self._database} has unequal halves: {counted}"
        return int(counted[0]) - EARLIER


EARLIER = 10_000  # intents that were there before
FILL = f"""
INSERT INTO payment_intent (account_id, livemode, id, version, status, amount, currency, capture_method, client_secret,
                            metadata, created_at)
SELECT 'acct_earlier', false, 'pi_' || n, 1, 'requires_payment_method', 2500, 'EUR', 'automatic', 's', '{{}}',
       now()
  FROM generate_series(1, {EARLIER}) AS n;
INSERT INTO event (account_id, livemode, id, type, object_id, object, created_at)
SELECT 'acct_earlier', false, 'evt_' || n, 'payment_intent.created', 'pi_' || n, repeat('x', 1000), now()
  FROM generate_series(1, {EARLIER}) AS n;
INSERT INTO idempotency_key (owner_id, mode, key, fingerprint, state, generation, status, body, lease_until, created_at)
SELECT 'acct_earlier', 'test', 'key_' || n, '', 'done', 1, 200, repeat('x', 1000)::bytea, now(), now()
  FROM generate_series(1, {EARLIER}) AS n;
"""


def subjects(postgres: Postgres) -> list[HttpSubject]:
    """Ours and the control, each with a database of its own."""
    postgres.create(OURS)
    migrate(postgres.dsn(OURS), "tallystick.gateway.schema")
    settings = {"TALLYSTICK_GATEWAY_DATABASE_DSN": postgres.dsn(OURS)}
    create = [*TALLYSTICK, "gateway", "accounts", "create", "--name", "Benchmark", "--json"]
    made = subprocess.run(create, env={**os.environ, **settings}, stdout=subprocess.PIPE, check=True)
    ours = HttpSubject(
        OURS,
        postgres,
        Intents(postgres, OURS, json.loads(made.stdout)["keys"][0]["secret_key"]),
        command=lambda port: [*TALLYSTICK, "gateway", "serve"],
        environment=lambda port: {**settings, "TALLYSTICK_GATEWAY_PORT": str(port)},
        rate_max=RATE_MAX,
    )
    postgres.create(CONTROL, CONTROL_SCHEMA)
    postgres.psql(CONTROL, f"INSERT INTO account_key VALUES (sha256('{CONTROL_KEY}'), 'acct_benchmark', false)")
    control = HttpSubject(
        CONTROL,
        postgres,
        Intents(postgres, CONTROL, CONTROL_KEY),
        command=lambda port: uvicorn("benchmarks.controls.intents_asyncpg:app", port, workers=CONTROL_WORKERS),
        environment=lambda port: {"BENCHMARK_DSN": postgres.dsn(CONTROL), "BENCHMARK_POOL": str(CONTROL_POOL)},
        rate_max=RATE_MAX,
    )
    return [ours, control]
