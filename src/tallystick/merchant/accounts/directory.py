"""Who calls, and through which connections they may trade: read by hash or id, kept in memory for moments only."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from tallystick.kernel.batching import Batcher
from tallystick.merchant.accounts.commands import API_KEY_PREFIX, SQL, hash_api_key
from tallystick.merchant.gateways.port import Connection
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record

KEPT_S = 2.0  # spares two reads on nearly every call, and is as long as a revoked key may still work
KEPT_MAX = 10_000  # merchants in memory at once; a hundred bytes each
API_KEY_CHARACTERS_MAX = 100  # ours have 28; longer ones are not even hashed


class Merchant(Struct, frozen=True):
    """A merchant as the API needs it. `connections` are in the order of their making, the disabled ones left out."""

    merchant_id: str
    name: str
    return_origins: frozenset[str]
    connections: tuple[Connection, ...]

    def connection(self, connection_id: str | None) -> Connection | None:
        """The connection with this id, or the only one where none is named; None when there is no such choice."""
        if connection_id is None:
            return self.connections[0] if len(self.connections) == 1 else None
        return next((each for each in self.connections if each.connection_id == connection_id), None)


class Directory:
    """Finds merchants by API key and connections by id."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._by_hash: Kept[bytes, Merchant | None] = Kept(clock)
        self._finding: Batcher[bytes, Merchant | None] = Batcher(self._find)
        self._connections: Kept[str, dict[str, Connection]] = Kept(clock)

    async def merchant_of_key(self, api_key: str) -> Merchant | None:
        """The merchant that holds this API key, or None. A key that does not look like ours is not looked up."""
        if not api_key.startswith(f"{API_KEY_PREFIX}_") or len(api_key) > API_KEY_CHARACTERS_MAX:
            return None
        key_hash = hash_api_key(api_key)
        known = self._by_hash.get(key_hash)
        return known[0] if known is not None else await self._finding.submit(key_hash)

    async def merchant(self, merchant_id: str) -> Merchant | None:
        """One merchant, read anew."""
        rows = await self._database.rows(SQL.find_merchant, merchant_id)
        return (await self._merchants(rows))[0] if rows else None

    async def connection(self, merchant_id: str, connection_id: str) -> Connection | None:
        """A connection of the merchant, also a disabled one: what it opened must still be looked up and closed."""
        known = self._connections.get(merchant_id)
        if known is None or connection_id not in known[0]:
            rows = await self._database.rows(SQL.connections_of_merchants, [merchant_id])
            known = ({row["connection_id"]: _connection(row) for row in rows},)
            self._connections.put(merchant_id, known[0])
        return known[0].get(connection_id)

    async def _find(self, hashes: Sequence[bytes]) -> list[Merchant | None]:
        """Whose keys have these hashes: a hundred calls with one key that is not known yet are one look."""
        rows = await self._database.rows(SQL.merchants_of_keys, list(set(hashes)))
        merchants = await self._merchants(rows) if rows else []
        found = {row["key_hash"]: merchant for row, merchant in zip(rows, merchants, strict=True)}
        for key_hash in set(hashes):
            self._by_hash.put(key_hash, found.get(key_hash))
        return [found.get(key_hash) for key_hash in hashes]

    async def _merchants(self, rows: Sequence[Record]) -> list[Merchant]:
        """These merchants, with their connections."""
        connections = await self._database.rows(SQL.connections_of_merchants, [row["merchant_id"] for row in rows])
        return [
            Merchant(
                merchant_id=row["merchant_id"],
                name=row["name"],
                return_origins=frozenset(row["return_origins"]),
                connections=tuple(
                    _connection(each)
                    for each in connections
                    if each["merchant_id"] == row["merchant_id"] and each["disabled_at"] is None
                ),
            )
            for row in rows
        ]


def _connection(row: Record) -> Connection:
    return Connection(
        merchant_id=row["merchant_id"],
        connection_id=row["connection_id"],
        gateway=row["gateway"],
        url=row["url"],
        secret_key_ref=row["secret_key_ref"],
        signature_scheme=row["signature_scheme"],
        webhook_secret_refs=tuple(row["webhook_secret_refs"]),
    )


Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """Values that may be KEPT_S old. When KEPT_MAX are kept, all are forgotten: simple, bounded, and rare."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[Key, tuple[float, Value]] = {}

    def get(self, key: Key) -> tuple[Value] | None:
        """The value in a tuple of one, or None when there is none that is young enough."""
        found = self._values.get(key)
        if found is None or self._clock.monotonic_s() - found[0] > KEPT_S:
            return None
        return (found[1],)

    def put(self, key: Key, value: Value) -> None:
        """Keep `value` from now on."""
        if len(self._values) >= KEPT_MAX:
            self._values.clear()
        self._values[key] = (self._clock.monotonic_s(), value)
