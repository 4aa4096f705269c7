"""Clock, entropy, secrets and names of the simulated world."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tallystick.ports.database import Database, DatabaseUnavailable, Record, Statement, Transaction
from tallystick.ports.key_encryption import KeyEncryptionUnavailable
from tallystick.ports.secrets import SecretMissing

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node

EPOCH: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_LOOKING: Final = frozenset({"run", "_run"})  # a worker's `run`, and asyncio's own way into a task
PUBLIC_ADDRESS: Final = "93.184.216.34"
KEYS: Final = {1: bytes(range(32))}
"""The key-encryption key of the simulated world, of no value."""


class VirtualClock:
    """What a node sees of time: the loop's, put wrong by the node's skew."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=round((self._node.world.loop.now_s + self._node.skew_s) * 1e6))

    def monotonic_s(self) -> float:
        return self._node.world.loop.now_s

    async def sleep(self, seconds: float) -> None:
        # A worker rests between two looks, not where it waits for something that it has begun: in its own loop, or in a
        # task that does nothing but sleep.
        between_looks = sys._getframe(1).f_code.co_name in _LOOKING
        node = self._node
        await node.awake()
        if not (between_looks and await node.world.idling.rested(node, seconds)):
            await asyncio.sleep(seconds)
        await node.awake()


class SeededEntropy:
    """Ids, secrets and jitter out of the seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._chance.random()


class KeptSecrets:
    """Secrets by reference, as a vault would keep them."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.sealed = False

    async def read(self, reference: str) -> str:
        if self.sealed:
            raise SecretMissing(f"the vault is sealed: {reference}")
        if reference not in self.values:
            raise SecretMissing(f"no secret {reference}")
        return self.values[reference]

    def keys(self) -> Mapping[int, bytes]:
        """The key-encryption keys that stand beside them. Raises KeyEncryptionUnavailable."""
        if self.sealed:
            raise KeyEncryptionUnavailable("the vault is sealed")
        return KEYS


class CardVault:
    """Whether the gateway's card vault can be reached: its database, as the role that has it, and its key."""

    def __init__(self) -> None:
        self.database_away = False
        self.key_away = False

    def open(self) -> None:
        """Both can."""
        self.database_away = self.key_away = False

    def keys(self) -> Mapping[int, bytes]:
        """The key-encryption keys. Raises KeyEncryptionUnavailable."""
        if self.key_away:
            raise KeyEncryptionUnavailable("the card vault's key is away")
        return KEYS


class VaultDatabase:
    """The database of the card vault, over connections of its own that may be away while the service's are not."""

    def __init__(self, vault: CardVault, database: Database) -> None:
        self._vault = vault
        self._database = database

    async def rows(self, statement: Statement, *parameters: Any) -> Sequence[Record]:
        self._look()
        return await self._database.rows(statement, *parameters)

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        self._look()
        return await self._database.execute(statement, *parameters)

    @asynccontextmanager
    async def transaction(self, *, bulk: bool = False) -> AsyncIterator[Transaction]:
        self._look()
        async with self._database.transaction(bulk=bulk) as tx:
            yield tx

    async def close(self) -> None:
        await self._database.close()

    def _look(self) -> None:
        if self._vault.database_away:
            raise DatabaseUnavailable("the card vault is away")


class PublicNames:
    """Every name has a public address."""

    async def addresses_of(self, host: str) -> Sequence[str]:
        return [PUBLIC_ADDRESS]

    def close(self) -> None:
        """There is nothing to close."""
