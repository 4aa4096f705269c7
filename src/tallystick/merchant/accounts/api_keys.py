"""A merchant's API keys: several live at once, so that they can be rolled. Raises AccountRefused. RULES §12."""

from datetime import datetime

from msgspec import Struct

from tallystick.kernel.identifiers import new_secret
from tallystick.merchant.accounts.commands import API_KEY_PREFIX, SQL, AccountRefused, hash_api_key
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy

KEYS_LIVING_MAX = 20  # far more than a rotation needs


class ListedKey(Struct, frozen=True):
    """An API key as lists show it: never the key itself."""

    id: str
    last4: str
    created_at: datetime
    revoked_at: datetime | None


async def create_api_key(database: Database, clock: Clock, entropy: Entropy, *, merchant_id: str) -> str:
    """One more API key of a merchant, for rotation; shown once."""
    api_key = new_secret(API_KEY_PREFIX, entropy)
    async with database.transaction() as tx:
        living = [row for row in await tx.rows(SQL.api_keys_of_merchant, merchant_id) if row["revoked_at"] is None]
        if len(living) >= KEYS_LIVING_MAX:
            raise AccountRefused(f"a merchant can have {KEYS_LIVING_MAX} living API keys; revoke one first")
        stored = (merchant_id, hash_api_key(api_key), api_key[-4:], clock.now())
        if not await tx.execute(SQL.insert_api_key, *stored):
            raise AccountRefused(f"there is no merchant {merchant_id[:40]}")
    return api_key


async def list_api_keys(database: Database, *, merchant_id: str) -> list[ListedKey]:
    """The keys of a merchant, oldest first, revoked ones too."""
    return [
        ListedKey(_id_of(row["key_hash"]), row["last4"], row["created_at"], row["revoked_at"])
        for row in await database.rows(SQL.api_keys_of_merchant, merchant_id)
    ]


async def revoke_api_key(database: Database, clock: Clock, *, merchant_id: str, key_id: str) -> None:
    """End the life of a key; calls with it are refused within seconds."""
    rows = await database.rows(SQL.api_keys_of_merchant, merchant_id)
    named = [row["key_hash"] for row in rows if _id_of(row["key_hash"]) == key_id]
    if not named or not await database.execute(SQL.revoke_api_key, merchant_id, named[0], clock.now()):
        raise AccountRefused(f"merchant {merchant_id[:40]} has no living API key {key_id[:40]}")


def _id_of(key_hash: bytes) -> str:
    return f"key_{key_hash.hex()[:16]}"
