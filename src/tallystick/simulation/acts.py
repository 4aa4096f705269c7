"""What operators and users do while everything goes wrong: they switch endpoints off and on, roll secrets, redrive dead
letters, have the sandbox make faults, move its time. And the shops' bad days.

What is done through an API is repeated by whoever does it; what is done by a command dies with the command's process.
In the end they put right what they have left: that is what operators are for.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from tallystick.gateway.faults.faults import KINDS, Place
from tallystick.gateway.faults.operating import DELAYED
from tallystick.merchant.notifications.endpoints import list_endpoints, roll_secret, switch_endpoint
from tallystick.ports.database import DatabaseError, Statement
from tallystick.simulation.clients import Clients, Json
from tallystick.simulation.database import VirtualDatabase
from tallystick.simulation.faults import SHOP
from tallystick.simulation.installation import GATEWAY_URL, MERCHANT_URL, Installation, Shop

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node
    from tallystick.simulation.operators import Operators
    from tallystick.simulation.scenario import Scenario

URLS: Final = {"gateway": GATEWAY_URL, "merchant": MERCHANT_URL}
ACTS: Final = (5, 14)  # of a short seed
# A call to the bank is seldom, one of the API is not.
PLACES: Final[dict[Place, int]] = {"acquirer": 4, "webhooks": 2, "api": 1}
OFF_S: Final = (1.0, 900.0)
BAD_DAY_S: Final = (10.0, 60.0, 600.0, 3600.0)
LONG_DAYS_S: Final = 4 * 86400.0  # longer than a schedule: what is tried meanwhile ends as a dead letter
LONG_SHARE: Final = 0.2
MENDED_S: Final = 20.0
TOLD_AFTER_S: Final = 600.0
_STRUCK: Final = Statement("struck", "SELECT f.place, f.kind, f.struck FROM fault f ORDER BY f.id")
STORM_S: Final = 45.0
BREAKER_S: Final = 180.0  # longer than any breaker is open: what is redriven then is sent


class Acts:
    """One operator's acts. `command` is the process of what is done by commands."""

    def __init__(
        self, node: "Node", command: "Node", shops: Sequence[Shop], installation: Installation, operators: "Operators"
    ) -> None:
        self._node = node
        self._command = command
        self._world = node.world
        self._shops = shops
        self._installation = installation
        self._server = installation.shop_server
        self._operators = operators
        self._clients = Clients(node)
        self._rolling: set[str] = set()
        self._declining = False
        self._acts: dict[str, Callable[[], Awaitable[None]]] = {
            "bad_day": self._bad_day,
            "notifications_disabled": self._disable_notifications,
            "notification_secret_rotation": self._roll_notification_secret,
            "redrive_of_notifications": self._redrive_notifications,
            "redrive_of_webhooks": self._redrive_webhooks,
            "endpoint_disabled": self._disable_endpoint,
            "secret_rotated_at_once": self._rotate_at_once,
            "fault_on_demand": self._set_fault,
        }

    async def go_on(self, plan: "Scenario") -> None:
        """Act for as long as there are faults."""
        world, acts = self._world, plan.breadth.acts
        kinds, weights = list(acts), list(acts.values())
        until_s = world.loop.now_s + plan.faults_s
        every_s = plan.faults_s / world.chance.randint(*ACTS)
        for number in itertools.count():
            at_once = number < plan.breadth.acts_at_once
            await asyncio.sleep(0.5 if at_once else every_s * (0.2 + 1.6 * world.chance.random()))
            if world.loop.now_s >= until_s:
                return
            kind = world.chance.choices(kinds, weights)[0]
            node = self._command if kind.startswith("notification") else self._node
            node.begin(self._acts[kind]())

    async def put_right(self) -> None:
        """Once the faults have stopped: no fault on demand is left, every endpoint is enabled, no letter stays dead.
        What died during long days is redriven with faults once more, then without."""
        world = self._world
        await asyncio.sleep(max(0.0, self._server.well_at_s - world.loop.now_s))
        await self._clear_faults()
        await self._operators.tell_lost_secrets()
        await self._operators.mend()
        await self._enable_notifications()
        await asyncio.sleep(BREAKER_S)
        world.faults.active = True
        await self._redrive_webhooks()
        await self._redrive_notifications()
        await asyncio.sleep(STORM_S)
        world.faults.active = False
        await self._operators.mend()
        await self._enable_notifications()
        await asyncio.sleep(BREAKER_S)
        for service in ("gateway", "merchant"):
            await self._operate(service, "POST", "/redrives", {"all": True})

    # --- shops -------------------------------------------------------------------------------------------------------

    async def _bad_day(self) -> None:
        chance, shop = self._world.chance, self._world.chance.choice(self._shops)
        seconds = LONG_DAYS_S if chance.random() < LONG_SHARE else chance.choice(BAD_DAY_S) * (0.5 + chance.random())
        # After one 410 nothing comes any more; the other two are the rarest of what came of equal shares.
        kind = chance.choice((*SHOP, "shop_410", "shop_3xx", "shop_429"))
        self._server.bad_day(shop.notifications_path, kind, seconds)
        self._world.tell("shop", f"{shop.notifications_path}: {kind} for {seconds:.0f} s")
        while kind == "shop_410" and seconds > 0 and self._world.faults.active:
            await asyncio.sleep(MENDED_S)
            seconds -= MENDED_S
            await self._switch(shop, enabled=True)

    async def _disable_notifications(self) -> None:
        shop = self._world.chance.choice(self._shops)
        if await self._switch(shop, enabled=False):
            self._world.faults.made("notifications_disabled")
            await asyncio.sleep(self._between(OFF_S))
            await self._switch(shop, enabled=True)

    async def _enable_notifications(self) -> None:
        for shop in self._shops:
            while not await self._enabled(shop):  # noqa: ASYNC110 - a database that comes back sets no event
                await asyncio.sleep(1.0)

    async def _enabled(self, shop: Shop) -> bool:
        """Enable what is disabled; whether the database was there to do so: its last restart may not be over."""
        database, clock = self._database(self._node), self._node.clock
        try:
            for endpoint in await list_endpoints(database, shop.merchant_id):
                if endpoint.status != "enabled":
                    await switch_endpoint(
                        database, clock, merchant_id=shop.merchant_id, endpoint_id=endpoint.id, enabled=True
                    )
        except DatabaseError:
            return False
        return True

    async def _switch(self, shop: Shop, *, enabled: bool) -> bool:
        database, clock = self._database(self._command), self._command.clock
        try:
            await switch_endpoint(
                database, clock, merchant_id=shop.merchant_id, endpoint_id=shop.notifications, enabled=enabled
            )
        except DatabaseError:
            return False
        self._world.tell("operator", f"{'enables' if enabled else 'disables'} {shop.notifications}")
        return True

    async def _roll_notification_secret(self) -> None:
        """The new secret signs beside the old one; the shop hears of it later, or takes both for a while."""
        chance, shop = self._world.chance, self._world.chance.choice(self._shops)
        if shop.notifications in self._rolling:
            return
        self._rolling.add(shop.notifications)  # for ever where this dies: then nobody knows the new one
        try:
            secret = await roll_secret(
                self._database(self._command),
                self._world.entropy,
                merchant_id=shop.merchant_id,
                endpoint_id=shop.notifications,
            )
        except DatabaseError:
            return
        self._world.faults.made("notification_secret_rotation")
        path, before = shop.notifications_path, self._server.secrets[shop.notifications_path]
        await asyncio.sleep(TOLD_AFTER_S * chance.random())
        self._server.secrets[path] = (secret, *before)
        await asyncio.sleep(TOLD_AFTER_S * chance.random())
        self._server.secrets[path] = (secret,)
        self._rolling.discard(shop.notifications)

    # --- dead letters ------------------------------------------------------------------------------------------------

    async def _redrive_webhooks(self) -> None:
        await self._redrive("gateway", "redrive_of_webhooks")

    async def _redrive_notifications(self) -> None:
        await self._redrive("merchant", "redrive_of_notifications")

    async def _redrive(self, service: str, kind: str) -> None:
        """All that is dead now, slowly, so that processes die on the way."""
        fields = {"all": True, "rate_max": self._world.chance.choice((1, 1, 2, 50))}
        redrive = await self._operate(service, "POST", "/redrives", fields)
        if redrive is not None and redrive["matched"]:
            self._world.faults.made(kind)
            self._world.tell("operator", f"redrives {redrive['matched']} dead letters")

    # --- the gateway's endpoints -------------------------------------------------------------------------------------

    async def _disable_endpoint(self) -> None:
        shop = self._world.chance.choice(self._shops)
        path, at = f"/v1/webhook_endpoints/{shop.endpoint}", f"{self._world.loop.now_s:.3f}"
        if await self._clients.gateway(shop, path, {"disabled": "true"}, f"off-{shop.endpoint}-{at}") is None:
            return
        self._world.faults.made("endpoint_disabled")
        self._world.tell("operator", f"disables {shop.endpoint}")
        await asyncio.sleep(self._between(OFF_S))
        await self._clients.gateway(shop, path, {"disabled": "false"}, f"on-{shop.endpoint}-{at}")
        self._world.tell("operator", f"enables {shop.endpoint}")

    async def _rotate_at_once(self) -> None:
        if self._operators.roll(at_once=True):
            self._world.faults.made("secret_rotated_at_once")

    # --- the sandbox -------------------------------------------------------------------------------------------------

    async def _set_fault(self) -> None:
        chance = self._world.chance
        [place] = chance.choices(list(PLACES), list(PLACES.values()))
        kind = chance.choice(KINDS[place])
        fields: Json = {"place": place, "kind": kind, "calls": chance.randint(1, 4)}
        if kind == "decline":
            # Once. What must go back and is declined as a void and then as a refund waits for a person with evidence
            # from the bank (RULES §3), and the bank of this world stays with its answer for ever.
            if self._declining:
                return
            self._declining, fields["calls"] = True, 1
        if kind in DELAYED:
            fields["delay_s"] = chance.choice((1, 10, 30))
        if chance.random() < 0.3:
            fields["share_pct"] = chance.choice((30, 60))
        if chance.random() < 0.5:
            fields["account"] = chance.choice(self._shops).account_id
        await self._operate("gateway", "POST", "/faults", fields)
        self._world.tell("user", f"has the sandbox do wrong: {place} {kind}")

    async def _clear_faults(self) -> None:
        for row in self._world.servers["gateway"].control.run(_STRUCK, ())[0]:
            for _ in range(row["struck"]):
                self._world.faults.made(f"on_demand_{row['place']}_{row['kind']}")
        await self._operate("gateway", "DELETE", "/faults")

    async def _operate(self, service: str, method: str, path: str, fields: Json | None = None) -> Json | None:
        key = self._installation.operator_keys[service]
        return await self._clients.operate(URLS[service], key, method, path, fields)

    def _database(self, node: "Node") -> VirtualDatabase:
        return VirtualDatabase(self._world.servers["merchant"], node)

    def _between(self, bounds_s: tuple[float, float]) -> float:
        low, high = bounds_s
        return low + (high - low) * self._world.chance.random()
