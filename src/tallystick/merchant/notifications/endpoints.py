"""Making and changing the endpoints that shops hear by: what the command line calls. Raises AccountRefused."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from tallystick.kernel.delivery import keeper
from tallystick.kernel.delivery.protocol import EndpointKey
from tallystick.kernel.identifiers import owned_id
from tallystick.merchant.accounts.commands import AccountRefused, check_shop_url, new_webhook_secret
from tallystick.merchant.notifications.events import ALL, EVENT_TYPES
from tallystick.merchant.notifications.listeners import SQL
from tallystick.merchant.notifications.notices import LIVEMODE
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy

PREFIX: Final = "ep"
SECRETS_MAX: Final = 2  # the new one and the one before: during a rotation both sign


class NewEndpoint(Struct, frozen=True):
    """An endpoint that was just made. Its secret is shown once."""

    endpoint_id: str
    secret: str

    def __repr__(self) -> str:
        return f"NewEndpoint({self.endpoint_id!r})"


class ListedEndpoint(Struct, frozen=True):
    """An endpoint as a list shows it."""

    id: str
    url: str
    status: str
    enabled_events: tuple[str, ...]
    created_at: datetime


async def add_endpoint(
    database: Database,
    clock: Clock,
    entropy: Entropy,
    *,
    merchant_id: str,
    url: str,
    events: Sequence[str] = (),
    loopback: bool = False,
) -> NewEndpoint:
    """An endpoint of the merchant's shop that hears of `events`, of all where none is named."""
    unknown = sorted(set(events) - set(EVENT_TYPES))
    if unknown:
        raise AccountRefused(f"there are no events named {', '.join(unknown)}; there are: {', '.join(EVENT_TYPES)}")
    at, secret = clock.now(), new_webhook_secret(entropy)
    endpoint_id = owned_id(PREFIX, merchant_id, at, entropy)
    wanted = sorted(set(events)) or [ALL]
    inserted = await database.execute(
        SQL.insert_endpoint, merchant_id, endpoint_id, check_shop_url(url, loopback=loopback), wanted, [secret], at
    )
    if not inserted:
        raise AccountRefused(f"there is no merchant {merchant_id}")
    return NewEndpoint(endpoint_id, secret)


async def list_endpoints(database: Database, merchant_id: str) -> list[ListedEndpoint]:
    """A merchant's endpoints, the oldest first."""
    return [
        ListedEndpoint(row["endpoint_id"], row["url"], row["status"], tuple(row["enabled_events"]), row["created_at"])
        for row in await database.rows(SQL.list_endpoints, merchant_id)
    ]


async def move_endpoint(
    database: Database, *, merchant_id: str, endpoint_id: str, url: str, loopback: bool = False
) -> None:
    """Tell an endpoint its new address."""
    _one(
        await database.execute(SQL.set_url, merchant_id, endpoint_id, check_shop_url(url, loopback=loopback)),
        endpoint_id,
    )


async def roll_secret(database: Database, entropy: Entropy, *, merchant_id: str, endpoint_id: str) -> str:
    """A new secret for an endpoint, shown once; the one before goes on signing beside it until the next is made."""
    secret = new_webhook_secret(entropy)
    _one(await database.execute(SQL.set_secrets, merchant_id, endpoint_id, secret, SECRETS_MAX), endpoint_id)
    return secret


async def switch_endpoint(
    database: Database, clock: Clock, *, merchant_id: str, endpoint_id: str, enabled: bool
) -> None:
    """Enable an endpoint or disable it; what is sent meanwhile is held, and released gradually."""
    key, at = EndpointKey(merchant_id, LIVEMODE, endpoint_id), clock.now()
    async with database.transaction() as tx:
        status = "enabled" if enabled else "disabled"
        _one(await tx.execute(SQL.set_status, [merchant_id], [endpoint_id], status), endpoint_id)
        await (keeper.release if enabled else keeper.hold)(tx, [key], at=at)


async def remove_endpoint(database: Database, clock: Clock, *, merchant_id: str, endpoint_id: str) -> None:
    """Delete an endpoint; what is still due to it becomes dead letters."""
    _one(await database.execute(SQL.delete_endpoint, merchant_id, endpoint_id, clock.now()), endpoint_id)


def _one(touched: int, endpoint_id: str) -> None:
    if not touched:
        raise AccountRefused(f"there is no endpoint {endpoint_id}")
