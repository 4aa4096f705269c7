"""The keeper: holds what an endpoint does not take, and releases it gradually when it does (RULES §6).

A disabled endpoint's deliveries are held in the commit that disables it, as many as fit into one; the keeper holds the
rest. An endpoint that takes less than there is for it keeps so many of its deliveries due, and the keeper holds the
others: they would stand in the way of everybody else's. In both cases what is held is released in order, at most
RELEASED_MAX at a time, as long as fewer than KEPT_DUE are due: at the rate at which the endpoint takes them.

Everything is in rows (`endpoint_health.keep_at`), each step is one commit, and any number of keepers may run.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.protocol import Endpoint, EndpointKey
from tallystick.kernel.delivery.queue import SQL, ask_keeper
from tallystick.kernel.delivery.states import DUE, ENDPOINT_BUSY, ENDPOINT_DISABLED, HELD
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed, Transaction

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""Between two looks, and between two steps for one endpoint."""
ENDPOINTS_MAX: Final = 50
"""Looked after in one commit."""
HELD_MAX: Final = 1_000
"""Deliveries of one endpoint that one commit holds: a few tens of milliseconds."""
KEPT_DUE: Final = 2_000
"""Due deliveries that an endpoint keeps: seconds of work at the highest rate, and few to pass over in a look."""
RELEASED_MAX: Final = 500
"""Released at a time; with LOOK_S the most that an endpoint which was enabled gets back each second is twice that."""
EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)

assert RELEASED_MAX <= KEPT_DUE


class Endpoints(Protocol):
    """The endpoints of the service that uses the engine."""

    async def find(
        self, database: Database | Transaction, keys: Collection[EndpointKey]
    ) -> Mapping[EndpointKey, Endpoint]:
        """The endpoints as they are now, or as a transaction sees them; deleted ones are left out."""
        ...


async def hold(tx: Transaction, keys: Collection[EndpointKey], *, at: datetime) -> None:
    """In the commit that disables endpoints: hold what they have still to get, HELD_MAX of each; the keeper goes on."""
    await ask_keeper(tx, keys, at=at)  # first: it locks out the keeper, which might be releasing
    await _hold(tx, keys, at, until=EVER, kept=0, reason=ENDPOINT_DISABLED)


async def release(tx: Transaction, keys: Collection[EndpointKey], *, at: datetime) -> None:
    """In the commit that enables endpoints, or deletes them: what is held is released from now on, as a ramp."""
    await tx.execute(SQL.restart_health, *columns(3, sorted(keys)), at)


class Keeper:
    """Looks after the backlogs of endpoints until it is cancelled."""

    def __init__(self, database: Database, endpoints: Endpoints, clock: Clock) -> None:
        self._database = database
        self._endpoints = endpoints
        self._clock = clock

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self._look, self._clock, log, "the keeper of backlogs waits for the database", pause_s=LOOK_S)

    async def _look(self) -> None:
        with suppress(SerializationFailed):  # another keeper or a dispatcher was at the same rows
            while await self.step():
                pass

    async def step(self) -> bool:
        """One commit for the endpoints whose time has come. Gives whether there may be more of them."""
        at = self._clock.now()
        seen = await self._database.rows(SQL.due_keeps, at, ENDPOINTS_MAX)
        if not seen:
            return False
        async with self._database.transaction() as tx:
            rows = [(*_key(row), row["keep_at"]) for row in sorted(seen, key=_key)]
            next_at = at + timedelta(seconds=LOOK_S)
            keys = sorted(_key(row) for row in await tx.rows(SQL.claim_keeps, *columns(4, rows), next_at))
            # Looked up when their rows are locked: whoever enables or disables one meanwhile waits for us.
            endpoints = await self._endpoints.find(tx, keys)
            done = await self._keep(tx, keys, endpoints, at)
            if done:
                await tx.execute(SQL.end_keeps, *columns(3, sorted(done)))
        return len(seen) == ENDPOINTS_MAX

    async def _keep(
        self, tx: Transaction, keys: Sequence[EndpointKey], endpoints: Mapping[EndpointKey, Endpoint], at: datetime
    ) -> set[EndpointKey]:
        """Hold and release. Gives the endpoints for which nothing is left to do."""
        disabled = [key for key in keys if key in endpoints and not endpoints[key].enabled]
        enabled = [key for key in keys if key in endpoints and endpoints[key].enabled]
        held = await _hold(tx, disabled, at, until=EVER, kept=0, reason=ENDPOINT_DISABLED)
        rows = await tx.rows(SQL.count_due, *columns(3, enabled), DUE, at, 2 * KEPT_DUE)
        due = {_key(row): int(row["due"]) for row in rows}
        crowded = [key for key in enabled if due[key] == 2 * KEPT_DUE]
        await _hold(tx, crowded, at, until=at, kept=KEPT_DUE, reason=ENDPOINT_BUSY)
        # What deleted endpoints had still to get becomes dead letters when a dispatcher takes it up.
        wanted = {key: RELEASED_MAX for key in keys if key not in endpoints}
        wanted |= {key: min(RELEASED_MAX, KEPT_DUE - due[key]) for key in enabled if due[key] < KEPT_DUE}
        released = await _release(tx, wanted, at)
        return {key for key in disabled if held[key] < HELD_MAX} | {
            key for key, deliveries in wanted.items() if released[key] < deliveries
        }


async def _hold(
    tx: Transaction, keys: Collection[EndpointKey], at: datetime, *, until: datetime, kept: int, reason: str
) -> Counter[EndpointKey]:
    """Hold up to HELD_MAX due deliveries of each endpoint, but for the first `kept`. Gives how many there were."""
    wanted = columns(5, [(*key, kept, HELD_MAX) for key in sorted(keys)])
    rows = await tx.rows(SQL.waiting_of_endpoints, *wanted, DUE, until, at)
    if rows:
        await tx.execute(SQL.hold_deliveries, *columns(2, [(row["owner_id"], row["id"]) for row in rows]), at, reason)
    return Counter(_key(row) for row in rows)


async def _release(tx: Transaction, deliveries: Mapping[EndpointKey, int], at: datetime) -> Counter[EndpointKey]:
    """Let so many held deliveries of each endpoint be due again. Gives how many there were."""
    wanted = columns(5, [(*key, 0, deliveries[key]) for key in sorted(deliveries)])
    rows = await tx.rows(SQL.waiting_of_endpoints, *wanted, HELD, EVER, at)
    if rows:
        await tx.execute(SQL.release_held, *columns(2, [(row["owner_id"], row["id"]) for row in rows]), at)
    return Counter(_key(row) for row in rows)


def _key(row: Record) -> EndpointKey:
    return EndpointKey(row["owner_id"], row["livemode"], row["endpoint"])
