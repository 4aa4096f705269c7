"""Those who run the shops: they roll secrets while deliveries are under way, and mend what was switched off."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tallystick.simulation.clients import Clients
from tallystick.simulation.installation import Shop

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node

OVERLAP_S: Final = 7200  # longer than all faults of a short seed: the new secret is told while both sign
TOLD_AFTER_S: Final = 900.0
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

    def roll(self) -> bool:
        """Begin to roll the secret of some shop's endpoint; whether that was possible now."""
        shop = self._world.chance.choice(self._shops)
        if shop.endpoint in self._rolling:
            return False
        self._rolling.add(shop.endpoint)
        self._node.begin(self._roll(shop))
        return True

    async def _roll(self, shop: Shop) -> None:
        number = self._rolled[shop.endpoint] = self._rolled.get(shop.endpoint, 0) + 1
        path = f"/v1/webhook_endpoints/{shop.endpoint}/roll_secret"
        fields = {"overlap_s": str(OVERLAP_S)}
        rolled = await self._clients.gateway(shop, path, fields, f"roll-{shop.endpoint}-{number}")
        if rolled is None:
            return  # nobody knows the secret; the old one stays, as long as it signs
        await asyncio.sleep(TOLD_AFTER_S * self._world.chance.random())
        self._world.secrets.values[shop.hook_ref] = rolled["secret"]
        self._world.tell("operator", f"tells the merchant service the new secret of {shop.endpoint}")
        await asyncio.sleep(OVERLAP_S)
        self._rolling.discard(shop.endpoint)

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
