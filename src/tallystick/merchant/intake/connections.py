"""Who may send us webhooks: connections with their live secrets, remembered for a few seconds.

A rotated secret or a disabled connection is seen after `FRESH_S` at the latest, a new secret at its first use: a bad
signature makes the caller ask for a fresh look (`look_again`), at most every `LOOK_AGAIN_S` for each connection.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tallystick.kernel.identifiers import owner_of
from tallystick.kernel.signatures import standard_key, stripe_key
from tallystick.merchant.gateways.port import SignatureScheme
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements
from tallystick.ports.secrets import SecretMissing, Secrets

SQL = Statements.beside(__file__)

FRESH_S: Final = 10.0  # how long an answer is remembered: a query per connection and not per webhook
LOOK_AGAIN_S: Final = 1.0  # bad signatures cost strangers nothing; they must not cost us a query each
REMEMBERED_MAX: Final = 10_000  # connections kept in memory, about a kilobyte each

_KEY_OF: Final[dict[SignatureScheme, Callable[[str], bytes]]] = {"stripe": stripe_key, "standard": standard_key}


class SecretsUnusable(Exception):
    """A connection has no live secret that can be read: a fault of ours, its webhooks must be sent again later."""


class WebhookConnection:
    """One connection as the intake needs it. Holds secrets, so it shows nothing of itself but its id."""

    __slots__ = ("connection_id", "gateway", "merchant_id", "read_at_s", "scheme", "secrets")

    def __init__(self, row: Record, secrets: tuple[str, ...], read_at_s: float) -> None:
        self.merchant_id: str = row["merchant_id"]
        self.connection_id: str = row["connection_id"]
        self.gateway: str = row["gateway"]
        self.scheme: SignatureScheme = row["signature_scheme"]
        self.secrets = secrets
        self.read_at_s = read_at_s

    def __repr__(self) -> str:
        return f"WebhookConnection({self.connection_id})"


class WebhookConnections:
    """Finds connections by the id in their webhook address."""

    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock
        self._remembered: dict[str, WebhookConnection] = {}
        self._looking: dict[str, asyncio.Task[WebhookConnection | None]] = {}

    async def find(self, connection_id: str) -> WebhookConnection | None:
        """The connection, or None when none takes webhooks there. Raises SecretsUnusable, DatabaseUnavailable."""
        return self.remembered(connection_id) or await self._look_up(connection_id)

    def remembered(self, connection_id: str) -> WebhookConnection | None:
        """The connection, where it was looked up a short while ago."""
        known = self._remembered.get(connection_id)
        if known is not None and self._clock.monotonic_s() - known.read_at_s < FRESH_S:
            return known
        return None

    async def look_again(self, known: WebhookConnection) -> WebhookConnection | None:
        """The connection as it is now, where `known` is old enough to differ; None where it is not."""
        if self._clock.monotonic_s() - known.read_at_s < LOOK_AGAIN_S:
            return None
        return await self._look_up(known.connection_id)

    async def _look_up(self, connection_id: str) -> WebhookConnection | None:
        """Ask the database; callers that want the same at the same time share one question."""
        task = self._looking.get(connection_id)
        if task is None:
            merchant_id = owner_of(connection_id, "mer")
            if merchant_id is None or not connection_id.startswith("con_"):
                return None
            task = asyncio.get_running_loop().create_task(self._read(merchant_id, connection_id))
            self._looking[connection_id] = task
            task.add_done_callback(lambda _: self._looking.pop(connection_id))
        return await asyncio.shield(task)

    async def _read(self, merchant_id: str, connection_id: str) -> WebhookConnection | None:
        self._remembered.pop(connection_id, None)
        rows = await self._database.rows(SQL.webhook_connection, merchant_id, connection_id)
        if not rows:
            return None
        secrets = await self._live_secrets(rows[0])
        connection = WebhookConnection(rows[0], secrets, self._clock.monotonic_s())
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[connection_id] = connection
        return connection

    async def _live_secrets(self, row: Record) -> tuple[str, ...]:
        """The secrets that can be read and used; one that cannot does not shut out what the other one signs."""
        key_of = _KEY_OF[row["signature_scheme"]]
        usable = []
        for reference in row["webhook_secret_refs"]:
            try:
                secret = await self._secrets.read(reference)
                key_of(secret)
            except (SecretMissing, ValueError):
                continue
            usable.append(secret)
        if not usable:
            raise SecretsUnusable(row["connection_id"])
        return tuple(usable)
