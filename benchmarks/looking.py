"""Looking at a console's pages within this process: somebody who is logged in, what they ask, and how long it took."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any

from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

SERVER_MS_MAX = 100
PAGE_BYTES_MAX = 200_000
TOKEN = "0" * 64


class Ahead(SystemClock):
    """A clock by which what was read can be made too old."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


async def log_in(database: Database, role: Role = Role.ADMIN) -> str:
    """Somebody is logged in by TOKEN; the key by which the operator API is theirs, too."""
    at = datetime.now(UTC)
    user = (
        "INSERT INTO operator_user (name, role, password_hash, created_at)"
        " VALUES ('ada', $1::text, '', $2::timestamptz) ON CONFLICT DO NOTHING"
    )
    await database.execute(Statement("user", user), role, at)
    session = (
        "INSERT INTO operator_session AS s (token_hash, user_name, created_at, expires_at)"
        " VALUES ($1::bytea, 'ada', $2::timestamptz, $3::timestamptz)"
        " ON CONFLICT (token_hash) DO UPDATE"
        " SET created_at = excluded.created_at, expires_at = excluded.expires_at, seen_at = NULL"
    )
    token_hash = hashlib.sha256(TOKEN.encode()).digest()
    await database.execute(Statement("session", session), token_hash, at, at + timedelta(hours=8))
    return (await create_key(database, "ada", role=role, at=at, entropy=SystemEntropy())).key


async def ask(application: Any, path: str, key: str = "") -> tuple[int, bytes, float]:
    """Status, body and milliseconds of a page, or with `key` of an address of the operator API."""
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "GET",
        "path": place,
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 1),
        "headers": [_bearer(key) if key else (b"cookie", f"tallystick_operator={TOKEN}".encode())],
        "state": {},
    }
    began = perf_counter()
    await application(scope, receive, send)
    took_ms = (perf_counter() - began) * 1000
    return told[0]["status"], b"".join(message.get("body", b"") for message in told[1:]), took_ms


def _bearer(key: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {key}".encode()


def measured(answers: list[tuple[int, bytes, float]]) -> dict[str, Any]:
    """What is reported of a page that was asked for several times: `within` is whether each time was, the first too."""
    times = [took for _, _, took in answers]
    size = max(len(body) for _, body, _ in answers)
    return {
        "first_ms": round(times[0], 1),
        "p50_ms": round(median(times), 1),
        "max_ms": round(max(times[1:]), 1),
        "kb": round(size / 1000, 1),
        "within": max(times) < SERVER_MS_MAX and size < PAGE_BYTES_MAX,
    }
