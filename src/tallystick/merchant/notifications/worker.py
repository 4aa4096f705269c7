"""What delivers notifications: the delivery engine, told where this service keeps its endpoints (RULES §6)."""

from collections.abc import Collection, Mapping
from datetime import datetime

from tallystick.kernel.columns import columns
from tallystick.kernel.delivery.protocol import Endpoint, EndpointKey
from tallystick.merchant.notifications.listeners import SQL
from tallystick.merchant.notifications.notices import LIVEMODE
from tallystick.ports.database import Database, Transaction


class ShopEndpoints:
    """The rows of `notification_endpoint` as the engine asks for them."""

    async def find(
        self, database: Database | Transaction, keys: Collection[EndpointKey]
    ) -> Mapping[EndpointKey, Endpoint]:
        """Address, secrets and status of the endpoints that are not deleted."""
        wanted = columns(2, sorted((key.owner_id, key.id) for key in keys))
        return {
            EndpointKey(row["merchant_id"], LIVEMODE, row["endpoint_id"]): Endpoint(
                url=row["url"], secrets=tuple(row["secrets"]), enabled=row["status"] == "enabled"
            )
            for row in await database.rows(SQL.endpoints_to_call, *wanted)
        }

    async def disable(self, tx: Transaction, keys: Collection[EndpointKey], *, at: datetime) -> None:
        """Disable endpoints that answered 410."""
        await tx.execute(SQL.set_status, *columns(2, sorted((key.owner_id, key.id) for key in keys)), "disabled")
