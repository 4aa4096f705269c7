"""What befalls the world as a whole: processes that die or stop, clocks that go wrong, a database that restarts."""

import asyncio
from typing import TYPE_CHECKING, Final

from tallystick.simulation.faults import CARD_VAULT
from tallystick.simulation.installation import Installation
from tallystick.simulation.nodes import Node
from tallystick.simulation.operators import Operators
from tallystick.simulation.scenario import Scenario

if TYPE_CHECKING:
    from tallystick.simulation.world import World

STALL_S: Final = (20.0, 75.0, 150.0, 400.0)
SKEW_S: Final = 600.0
SKEWED_S: Final = (60.0, 900.0)
DATABASE_DOWN_S: Final = (0.5, 25.0)
PARTITION_S: Final = (5.0, 240.0)
IN_DOUBT_S: Final = (0.05, 1.5)
SEALED_S: Final = (5.0, 120.0)
BROADER: Final = ("database_failover", "vault_sealed")
PARTITIONS: Final = (("merchant", "gateway"), ("gateway", "merchant"), ("outside", "merchant"), ("outside", "gateway"))


class Weather:
    """Makes faults for as long as the plan says; afterwards `clear` puts everything right."""

    def __init__(self, world: "World", installation: Installation, operators: Operators, plan: Scenario) -> None:
        self._world = world
        self._nodes = [*installation.gateways, *installation.merchants]
        self._operators = operators
        self._plan = plan

    async def change(self) -> None:
        """Returns when the faults' time is over."""
        world, faults = self._world, self._world.faults
        faults.active = True
        until_s = world.loop.now_s + self._plan.faults_s
        every_s = faults.weather_every_s
        kinds = (*faults.weather, *BROADER) if self._plan.breadth.acts else faults.weather
        if self._plan.breadth.people:
            kinds = (*kinds, *CARD_VAULT)
        while every_s and kinds:
            wait_s = every_s * (0.2 + 1.6 * world.chance.random())
            if world.loop.now_s + wait_s >= until_s:
                break
            await asyncio.sleep(wait_s)
            self._strike(world.chance.choice(kinds))
        await asyncio.sleep(until_s - world.loop.now_s)

    def clear(self) -> None:
        """No more faults; what is wrong by them is put right."""
        world = self._world
        world.faults.active = world.faults.in_doubt = world.secrets.sealed = False
        world.card_vault.open()
        world.network.cut.clear()
        for node in self._nodes:
            self._put_right(node)
            node.stalled_until_s = min(node.stalled_until_s, world.loop.now_s)
        world.tell("the world", "the faults stop")

    def _strike(self, kind: str) -> None:
        world, chance = self._world, self._world.chance
        node = chance.choice(self._nodes)
        match kind:
            case "killed_process":
                world.crash(node)
            case "stalled_process":
                world.stall(node, chance.choice(STALL_S) * (0.5 + chance.random()))
            case "clock_skew":
                world.skew(node, node.ahead_s + SKEW_S * (2 * chance.random() - 1))
                world.loop.call_later(self._between(SKEWED_S), self._put_right, node)
            case "database_restart":
                server = world.servers[chance.choice(sorted(world.servers))]
                server.restart(self._between(DATABASE_DOWN_S))
                world.tell(f"database of the {server.name}", "restarts")
            case "database_failover":
                self._fail_over()
            case "vault_sealed":
                world.secrets.sealed = True
                world.loop.call_later(self._between(SEALED_S), self._unseal)
                world.tell("the vault", "is sealed")
            case "card_vault_away":
                world.card_vault.database_away = True
                world.loop.call_later(self._between(SEALED_S), world.card_vault.open)
                world.tell("the card vault", "its database is away")
            case "card_vault_key_away":
                world.card_vault.key_away = True
                world.loop.call_later(self._between(SEALED_S), world.card_vault.open)
                world.tell("the card vault", "its key is away")
            case "partition":
                pair = chance.choice(PARTITIONS)
                world.network.cut[pair] = world.loop.now_s + self._between(PARTITION_S)
                world.tell("the network", f"no way from {pair[0]} to {pair[1]}")
            case _:
                if not self._operators.roll():
                    return
                world.tell("operator", "rolls a secret")
        if kind in ("killed_process", "stalled_process", "clock_skew"):
            world.tell(node.name, kind.replace("_", " "))
        world.faults.made(kind)

    def _fail_over(self) -> None:
        """The primary of both databases dies: what is committed at that time is in doubt, then a standby that has all
        that was acknowledged takes over."""
        world = self._world
        world.tell("the databases", "fail over")
        world.faults.in_doubt = True
        world.loop.call_later(self._between(IN_DOUBT_S), self._taken_over, self._between(DATABASE_DOWN_S))

    def _taken_over(self, down_s: float) -> None:
        world = self._world
        if world.over or not world.faults.in_doubt:
            return
        world.faults.in_doubt = False
        for _, server in sorted(world.servers.items()):
            server.restart(down_s)

    def _unseal(self) -> None:
        self._world.secrets.sealed = False

    def _put_right(self, node: Node) -> None:
        if node.skew_s != node.ahead_s and not self._world.over:
            self._world.skew(node, node.ahead_s)

    def _between(self, bounds_s: tuple[float, float]) -> float:
        low, high = bounds_s
        return low + (high - low) * self._world.chance.random()
