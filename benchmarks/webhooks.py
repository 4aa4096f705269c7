"""Webhook intake: verified, deduplicated, merged into its order, timeline row, committed before the 200.

Every webhook is the news that an order of its own was paid, so that every one has work to do. Beside ours run the same
job with FastAPI + SQLAlchemy, the same tuned by hand with FastAPI + asyncpg, and pgbench doing the same transaction one
at a time.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.load import percentile_ms
from benchmarks.processes import TALLYSTICK, Postgres, cpu_s, uvicorn
from benchmarks.rounds import Measured
from benchmarks.subjects import HttpSubject
from tallystick.kernel.migrations import migrate
from tallystick.kernel.signatures import sign_stripe
from tallystick.ports.postgres import binary

MERCHANT = "mer_benchmark0000000"
CONNECTION = "con_benchmark0000000" + "0" * 25
SECRET_VARIABLE = "BENCHMARK_WEBHOOK_SECRET"
SECRET = "whsec_benchmark_secret_of_no_value"
CONNECTIONS = (16, 64)

CONTROLS_SCHEMA = Path(__file__).parent / "controls" / "schema.sql"
PGBENCH_SCRIPT = Path(__file__).parent / "controls" / "webhook.pgbench"


def order_id(number: int) -> str:
    return f"ord_{number:025d}"


def event_body(number: int, created: int) -> bytes:
    """A `checkout.session.completed` of the usual size, about order `number`."""
    session = {**SESSION, "client_reference_id": order_id(number), "id": f"cs_test_{number:041d}", "created": created}
    session["metadata"] = {"order_id": order_id(number), "attempt": "1"}
    session["payment_intent"] = f"pi_{number:025d}"
    event = {
        "id": f"evt_{number:025d}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": created,
        "data": {"object": session},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "checkout.session.completed",
    }
    return msgspec.json.encode(event)


def requests(count: int, first: int) -> list[bytes]:
    """`count` signed webhooks, each about an order of its own, as they stand on the wire."""
    timestamp = int(time.time())
    built = []
    for number in range(first, first + count):
        body = event_body(number, timestamp)
        built.append(
            b"POST /webhooks/%b HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Stripe/1.0\r\nAccept: */*\r\n"
            b"Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nStripe-Signature: %b\r\n\r\n%b"
            % (CONNECTION.encode(), len(body), sign_stripe([SECRET], timestamp, body).encode(), body)
        )
    return built


class Webhooks:
    """The work: one webhook for each of many PENDING orders."""

    requests = "benchmarks.webhooks:requests"
    status = 200

    def __init__(self, postgres: Postgres, database: str) -> None:
        self._postgres = postgres
        self._database = database

    def prepare(self, count: int) -> Mapping[str, Any]:
        """Empty the tables, fill in `count` orders, and let PostgreSQL settle."""
        fill = FILL_MERCHANT if self._database == "tallystick" else FILL_CONTROL
        emptied = "SET client_min_messages = warning; TRUNCATE inbox, timeline, orders CASCADE;"
        self._postgres.psql(self._database, emptied + fill.replace(":count", str(count)))
        self._postgres.psql(self._database, "VACUUM (ANALYZE) orders; CHECKPOINT;")
        return {"count": count, "first": 0}

    def done(self) -> int:
        """How many orders were paid."""
        return int(self._postgres.psql(self._database, "SELECT count(*) FROM orders WHERE state = 'PAID'"))


class PgbenchSubject:
    """The same transaction by pgbench: one webhook to a commit, no HTTP, no Python."""

    name = "pgbench"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._work = Webhooks(postgres, self.name)

    def measure(self, connections: int, seconds: float) -> Measured:
        """Fill the tables anew and run the script for `seconds`."""
        self._work.prepare(int(12_000 * seconds))
        body = event_body(0, int(time.time())).decode().replace("\\", "")
        variables: Mapping[str, Any] = {
            "merchant": MERCHANT,
            "connection": CONNECTION,
            "now": "2026-01-01T00:00:00Z",
            "body": body,
            "facts": f'{{"1": {FACT}}}',
            "fact": FACT,
            "number": -1,
            "clients": connections,
        }
        log = self._postgres.folder / "pgbench_log"
        command = [str(binary("pgbench")), "--no-vacuum", "--protocol=prepared", f"--file={PGBENCH_SCRIPT}"]
        command += [f"--client={connections}", "--jobs=2", f"--time={max(1, round(seconds))}"]
        command += ["--log", f"--log-prefix={log}", *(f"--define={name}={value}" for name, value in variables.items())]
        command += [self._postgres.dsn(self.name)]
        before = cpu_s(self._postgres.pid)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            output = process.stdout.read()
            client_cpu_s = cpu_s(process.pid)
        after = cpu_s(self._postgres.pid)
        rate = float(_found(r"tps = ([\d.]+)", output))
        done = int(_found(r"number of transactions actually processed: (\d+)", output))
        assert int(_found(r"number of failed transactions: (\d+)", output)) == 0, output
        paid = self._work.done()
        assert paid == done, f"pgbench ran out of orders: {done} transactions, {paid} orders"
        latencies = sorted(_pgbench_latencies(log))
        return Measured(
            rate=rate,
            p50_ms=percentile_ms(latencies, 0.50),
            p99_ms=percentile_ms(latencies, 0.99),
            cpu_s_per_1000={"postgresql": (after - before) * 1000 / done, "client": client_cpu_s * 1000 / done},
        )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def _pgbench_latencies(prefix: Path) -> Iterator[float]:
    for log in prefix.parent.glob(f"{prefix.name}.*"):
        for line in log.read_text().splitlines():
            yield int(line.split()[2]) / 1_000_000
        log.unlink()


def subjects(postgres: Postgres) -> list[HttpSubject | PgbenchSubject]:
    """All that is compared, each with a database of its own."""
    for name in ("sqlalchemy", "asyncpg", "pgbench"):
        postgres.create(name, CONTROLS_SCHEMA)
    postgres.create("tallystick")
    migrate(postgres.dsn("tallystick"), "tallystick.merchant.schema")
    ours = HttpSubject(
        "tallystick",
        postgres,
        Webhooks(postgres, "tallystick"),
        command=lambda port: [*TALLYSTICK, "merchant", "serve"],
        environment=lambda port: {
            "TALLYSTICK_MERCHANT_DATABASE_DSN": postgres.dsn("tallystick"),
            "TALLYSTICK_MERCHANT_PORT": str(port),
            SECRET_VARIABLE: SECRET,
        },
        rate_max=20_000,
    )
    return [
        ours,
        _control("sqlalchemy", postgres, 2_000),
        _control("asyncpg", postgres, 6_000),
        PgbenchSubject(postgres),
    ]


def _control(name: str, postgres: Postgres, rate_max: int) -> HttpSubject:
    dsn = postgres.dsn(name)
    return HttpSubject(
        name,
        postgres,
        Webhooks(postgres, name),
        command=lambda port: uvicorn(f"benchmarks.controls.webhook_{name}:app", port, workers=CONTROL_WORKERS),
        environment=lambda port: {
            "BENCHMARK_MERCHANT": MERCHANT,
            "BENCHMARK_DSN": dsn,
            "BENCHMARK_SQLALCHEMY_DSN": dsn.replace("postgresql:", "postgresql+asyncpg:"),
            "BENCHMARK_POOL": str(CONTROL_POOL),
            SECRET_VARIABLE: SECRET,
        },
        rate_max=rate_max,
    )


FACT = '{"state": "succeeded", "session": "cs_test_1", "intent": "pi_1", "amount": 2500, "currency": "eur"}'
CONTROL_WORKERS = 2  # as one would run them on two cores; measured faster than one
CONTROL_POOL = 16  # connections of each worker

FILL_CONTROL = f"""
INSERT INTO orders (merchant_id, order_id, amount, currency, created_at, updated_at)
SELECT '{MERCHANT}', 'ord_' || lpad(n::text, 25, '0'), 2500, 'eur', '2026-01-01Z', '2026-01-01Z'
  FROM generate_series(0, :count) AS n;
"""

FILL_MERCHANT = f"""
TRUNCATE connection, merchant CASCADE;
INSERT INTO merchant (merchant_id, name, created_at) VALUES ('{MERCHANT}', 'Benchmark', '2026-01-01Z');
INSERT INTO connection (merchant_id, connection_id, gateway, url, secret_key_ref, webhook_secret_refs, created_at)
VALUES ('{MERCHANT}', '{CONNECTION}', 'stripe', 'http://x', 'env:X', '{{env:{SECRET_VARIABLE}}}', '2026-01-01Z');
INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max,
                    created_at, facts, attempt_newest, expires_at, updated_at)
SELECT '{MERCHANT}', 'ord_' || lpad(n::text, 25, '0'), '{CONNECTION}', 2500, 'EUR', 'hosted', 1800, 3,
       '2026-01-01Z', format('{{"attempts": {{"1": {{"session": "cs_test_%s"}}}}}}', lpad(n::text, 41, '0'))::jsonb,
       1, '2026-01-01Z', '2026-01-01Z'
  FROM generate_series(0, :count) AS n;
INSERT INTO attempt (merchant_id, order_id, number, connection_id, open_key, gateway_expires_at, created_at,
                     checkout_session, due_at)
SELECT '{MERCHANT}', 'ord_' || lpad(n::text, 25, '0'), 1, '{CONNECTION}', 'order:' || n || ':1',
       '2026-01-01Z', '2026-01-01Z', 'cs_test_' || lpad(n::text, 41, '0'), now() + interval '1 day'
  FROM generate_series(0, :count) AS n;
VACUUM (ANALYZE) attempt;
"""

SESSION: dict[str, Any] = {
    "object": "checkout.session",
    "adaptive_pricing": {"enabled": False},
    "after_expiration": None,
    "allow_promotion_codes": None,
    "amount_subtotal": 2500,
    "amount_total": 2500,
    "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
    "billing_address_collection": None,
    "cancel_url": "https://shop.example/orders/cancelled",
    "client_secret": None,
    "consent": None,
    "consent_collection": None,
    "currency": "eur",
    "currency_conversion": None,
    "custom_fields": [],
    "custom_text": {
        "after_submit": None,
        "shipping_address": None,
        "submit": None,
        "terms_of_service_acceptance": None,
    },
    "customer": None,
    "customer_creation": "if_required",
    "customer_details": {
        "address": {"city": None, "country": "DE", "line1": None, "line2": None, "postal_code": None, "state": None},
        "email": "shopper@example.com",
        "name": "A Shopper",
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    },
    "customer_email": "shopper@example.com",
    "discounts": [],
    "expires_at": 1893456000,
    "invoice": None,
    "invoice_creation": {"enabled": False, "invoice_data": {"metadata": {}}},
    "livemode": False,
    "locale": None,
    "mode": "payment",
    "payment_link": None,
    "payment_method_collection": "if_required",
    "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
    "payment_method_types": ["card"],
    "payment_status": "paid",
    "phone_number_collection": {"enabled": False},
    "recovered_from": None,
    "saved_payment_method_options": None,
    "setup_intent": None,
    "shipping_address_collection": None,
    "shipping_cost": None,
    "shipping_options": [],
    "status": "complete",
    "submit_type": None,
    "subscription": None,
    "success_url": "https://shop.example/orders/thanks",
    "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    "ui_mode": "hosted_page",
    "url": None,
    "wallet_options": None,
}
