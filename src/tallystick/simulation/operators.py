"""Those who run the shops: they roll secrets while deliveries are under way, and mend what was switched off."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tallystick.simulation.clients import Clients
from tallystick.simulation.installation import Shop

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node

OVERLAP_S: Final = 7200  # longer than all faults of a short seed: the new secret is told while both sign
TOLD_AFTER_S: Final = 900.0
TOLD_AT_ONCE_S: Final = 120.0
MEND_EVERY_S: Final = 600.0


class Operators:
    """One person for all shops."""

    def __init__(self, node: "Node", shops: Sequence[Shop]) -> None:
        self._node = node
        self._world = node.world
        self._clients = Clients(node)
        self._shops = shops
        self._rolled: dict[str, int] = {}
        self._rolling: set[str] = set()
        self._unknown: dict[str, Shop] = {}
        self._telling: list[asyncio.Task[Any]] = []

    def roll(self, *, at_once: bool = False) -> bool:
        """Begin to roll the secret of some shop's endpoint; whether that was possible now. `at_once`: the old one signs
        no more, so that all retries fail until the new one is told."""
        shop = self._world.chance.choice(self._shops)
        if shop.endpoint in self._rolling:
            return False
        self._rolling.add(shop.endpoint)
        if at_once:
            self._telling.append(self._node.begin(self._roll_at_once(shop)))
        else:
            self._node.begin(self._roll(shop))
        return True

    async def _roll_at_once(self, shop: Shop) -> None:
        number = self._rolled[shop.endpoint] = self._rolled.get(shop.endpoint, 0) + 1
        path = f"/v1/webhook_endpoints/{shop.endpoint}/roll_secret"
        self._unknown[shop.endpoint] = shop
        rolled = await self._clients.gateway(shop, path, {"overlap_s": "0"}, f"roll-{shop.endpoint}-{number}")
        if rolled is None:
            return
        await asyncio.sleep(TOLD_AT_ONCE_S * self._world.chance.random())
        self._world.secrets.values[shop.hook_ref] = rolled["secret"]
        self._world.tell("operator", f"tells the merchant service the only secret of {shop.endpoint}")
        self._unknown.pop(shop.endpoint, None)
        self._rolling.discard(shop.endpoint)

    async def _roll(self, shop: Shop) -> None:
        number = self._rolled[shop.endpoint] = self._rolled.get(shop.endpoint, 0) + 1
        path = f"/v1/webhook_endpoints/{shop.endpoint}/roll_secret"
        fields = {"overlap_s": str(OVERLAP_S)}
        rolled = await self._clients.gateway(shop, path, fields, f"roll-{shop.endpoint}-{number}")
        if rolled is None:
            self._unknown[shop.endpoint] = shop  # the old one stays, as long as it signs
            return
        await asyncio.sleep(TOLD_AFTER_S * self._world.chance.random())
        self._world.secrets.values[shop.hook_ref] = rolled["secret"]
        self._world.tell("operator", f"tells the merchant service the new secret of {shop.endpoint}")
        await asyncio.sleep(OVERLAP_S)
        self._rolling.discard(shop.endpoint)

    async def tell_lost_secrets(self) -> None:
        """Roll once more, and tell, what was rolled by somebody who never learned the new secret."""
        for telling in self._telling:
            await telling
        for shop in list(self._unknown.values()):
            await self._roll_at_once(shop)

    async def watch(self) -> None:
        """Look for endpoints that are disabled, for ever."""
        while True:
            await asyncio.sleep(MEND_EVERY_S)
            await self.mend()

    async def mend(self) -> None:
        """Enable every endpoint that is disabled now."""
        for shop in self._shops:
            path = f"/v1/webhook_endpoints/{shop.endpoint}"
            found = await self._clients.look(shop, path)
            if found is not None and found["status"] == "disabled":
                key = f"enable-{shop.endpoint}-{self._world.loop.now_s:.3f}"
                await self._clients.gateway(shop, path, {"disabled": "false"}, key)
                self._world.tell("operator", f"enables {shop.endpoint}")
