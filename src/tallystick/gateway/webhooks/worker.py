"""What delivers the gateway's webhooks: the delivery engine, told where this service keeps its endpoints (RULES §6)."""

from collections.abc import Collection, Mapping
from datetime import datetime

from tallystick.gateway.webhooks.about import about
from tallystick.gateway.webhooks.listeners import SQL
from tallystick.kernel.backoff import DEFAULT_SCHEDULE, Schedule
from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.keeper import Keeper
from tallystick.kernel.delivery.protocol import Endpoint, EndpointKey, Limits
from tallystick.kernel.delivery.worker import POLL_S, Dispatcher
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Http
from tallystick.ports.tracing import UNTRACED, Tracer


class CalledEndpoints:
    """The rows of `webhook_endpoint` as the engine asks for them."""

    def __init__(self, clock: Clock, schedule: Schedule = DEFAULT_SCHEDULE) -> None:
        self._clock = clock
        self._schedule = schedule

    async def find(
        self, database: Database | Transaction, keys: Collection[EndpointKey]
    ) -> Mapping[EndpointKey, Endpoint]:
        """Address, secrets, status and schedule of the endpoints that are not deleted."""
        rows = await database.rows(SQL.endpoints_to_call, *columns(3, sorted(keys)), self._clock.now())
        return {EndpointKey(row["account_id"], row["livemode"], row["id"]): self._endpoint(row) for row in rows}

    async def disable(self, tx: Transaction, keys: Collection[EndpointKey], *, at: datetime) -> None:
        """Disable endpoints that answered 410."""
        await tx.execute(SQL.disable_endpoints, *columns(3, sorted(keys)))

    def _endpoint(self, row: Record) -> Endpoint:
        delays_s = row["retry_delays_s"]
        return Endpoint(
            url=row["url"],
            secrets=tuple(row["secrets"]),
            enabled=row["status"] == "enabled",
            schedule=self._schedule if delays_s is None else Schedule(tuple(delays_s)),
        )


def backlog_keeper(database: Database, clock: Clock) -> Keeper:
    """The worker that holds what endpoints do not take, and releases it."""
    return Keeper(database, CalledEndpoints(clock), clock)


def dispatcher(
    database: Database,
    http: Http,
    clock: Clock,
    entropy: Entropy,
    limits: Limits | None = None,
    *,
    schedule: Schedule = DEFAULT_SCHEDULE,
    poll_s: float = POLL_S,
    tracer: Tracer = UNTRACED,
) -> Dispatcher:
    """The worker that delivers webhooks. `http` must be guarded: endpoints are strangers' addresses (RULES §12).

    `schedule` is that of endpoints without one of their own.
    """
    endpoints = CalledEndpoints(clock, schedule)
    return Dispatcher(database, http, endpoints, clock, entropy, limits, poll_s=poll_s, tracer=tracer, about=about)
