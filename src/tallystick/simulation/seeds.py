"""Runs seeds one after the other: a fresh world each, from the first order to the end of all timers, then the audit."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import structlog
from msgspec import Struct

from tallystick.kernel.invariants.rules import Violation
from tallystick.simulation.acts import Acts
from tallystick.simulation.audit import audit
from tallystick.simulation.auditor import Auditor
from tallystick.simulation.clients import Clients, Json
from tallystick.simulation.due import DueTimes
from tallystick.simulation.installation import Installation, Shop
from tallystick.simulation.loop import Stalled, VirtualLoop
from tallystick.simulation.nodes import NODE, Node
from tallystick.simulation.operators import Operators
from tallystick.simulation.ports import EPOCH
from tallystick.simulation.scenario import Scenario, scenario_of
from tallystick.simulation.server import VirtualServer
from tallystick.simulation.shoppers import Outsiders
from tallystick.simulation.weather import Weather
from tallystick.simulation.world import SECURITY_CODE, Told, World

HORIZON_S: Final = 30 * 86400.0  # every timer of ours has ended by then, or it never will
SETTLE_STATEMENTS_MAX: Final = 2_000  # of an order, after the faults: it takes a fraction, or goes in circles
SETTLE_S: Final = 60.0
OVERDUE_S: Final = 7200.0  # nothing is due any more at the end, so whatever is due then has been forgotten
BREAKS_TOLD_MAX: Final = 5
LONG_WEATHER: Final = 6.0
"""How much further apart a long seed's weather is. Its orders are 500 s apart: a process that dies each half minute
dies where nothing is going on, and each time looks through all events of twenty shops."""


class SeedReport(Struct, frozen=True, kw_only=True):
    """What a seed came to. `counts` are the faults that were made; `story` is kept when it was asked for."""

    seed: int
    scenario: str
    trace: str
    virtual_s: float
    orders: int
    statements: int
    commits: int
    lock_waits: int
    counts: dict[str, int]
    violations: tuple[Violation, ...]
    story: tuple[Told, ...] = ()

    @property
    def faults(self) -> int:
        return sum(self.counts.values())


class Seeds:
    """The seeds that share a pair of databases."""

    def __init__(self, gateway_dsn: str, merchant_dsn: str) -> None:
        self._servers = {
            "gateway": VirtualServer(gateway_dsn, "gateway"),
            "merchant": VirtualServer(merchant_dsn, "merchant"),
        }
        self._due_times = {name: DueTimes(server) for name, server in self._servers.items()}

    def run(
        self,
        seed: int,
        *,
        scenario: str | None = None,
        long: bool = False,
        recording: bool = False,
        security_code: str = SECURITY_CODE,
    ) -> SeedReport:
        """One seed, from an empty database. Whatever `security_code` shoppers type, the story is the same."""
        self.empty()
        plan = scenario_of(seed, name=scenario, long=long)
        loop = VirtualLoop()
        asyncio.set_event_loop(loop)
        world = World(seed, loop, self._servers, self._due_times, recording=recording)
        if long:
            world.faults.weather_every_s *= LONG_WEATHER
        world.security_code = security_code
        auditor = Auditor()
        breaks: list[Violation] = []
        gc.disable()
        try:
            with _listening(world):
                loop.run_until_complete(_live(world, plan, auditor))
        except Stalled:
            breaks.append(Violation("progress", "the world", "everything waits for what can never happen"))
        finally:
            _end(world)
            gc.enable()
        breaks += [Violation("nothing_breaks", *_split(what)) for what in world.breaks[:BREAKS_TOLD_MAX]]
        gateway, merchant = self._servers["gateway"], self._servers["merchant"]
        at = EPOCH + timedelta(seconds=loop.now_s + OVERDUE_S)
        found = [*audit(gateway.control, merchant.control, at), *auditor.compare(gateway, merchant, plan.breadth)]
        # A gateway that says closed and takes the money all the same is the fault that was made, not one of ours.
        told = world.network.yet_paid
        violations = [
            *breaks,
            *(one for one in found if one.rule != "closed_before_it_ended" or one.subject not in told),
        ]
        return SeedReport(
            seed=seed,
            scenario=plan.name,
            trace=world.trace_hash,
            virtual_s=loop.now_s,
            orders=plan.orders,
            statements=world.statements,
            commits=world.commits,
            lock_waits=world.lock_waits,
            counts=dict(world.faults.counts),
            violations=tuple(violations),
            story=tuple(world.story),
        )

    def empty(self) -> None:
        """Nothing of the last seed is there any more."""
        for server in self._servers.values():
            server.empty()


async def _live(world: World, plan: Scenario, auditor: Auditor) -> None:
    """The whole life of a world."""
    installation = Installation(world, gateways=plan.gateways, merchants=plan.merchants, breadth=plan.breadth)
    auditor.shops = installation.shop_server if plan.breadth.listens else None
    outside = world.add("outside", "outside")
    outside.start()
    installation.start()
    shops: list[Shop] = []
    await outside.begin(_open(installation, outside, plan.shops, shops))
    operators = Operators(outside, shops)
    acts = await _employ(world, installation, outside, operators, shops) if plan.breadth.acts else None
    weather = Weather(world, installation, operators, plan)
    changing = outside.begin(weather.change())
    watching = outside.begin(operators.watch())
    acting = outside.begin(acts.go_on(plan)) if acts is not None else None
    coming = outside.begin(Outsiders(world, outside, plan, auditor).come(shops))
    await changing
    weather.clear()
    await coming
    watching.cancel()
    if acts is None or acting is None:
        await outside.begin(operators.mend())
    else:
        await acting
        await outside.begin(acts.put_right())
    await _settle(world, plan.orders)
    if plan.breadth.people:
        await outside.begin(_list_people(Clients(outside), shops, auditor))


async def _list_people(clients: Clients, shops: list[Shop], auditor: Auditor) -> None:
    """What each shop is told of its customers, a page at a time."""
    for shop in shops:
        customers: list[str] = []
        page: Json | None = {"next_cursor": ""}
        while page is not None and page["next_cursor"] is not None:
            after = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
            page = await clients.read(shop, f"/v1/customers?limit=100{after}")
            customers += [customer["id"] for customer in (page or {}).get("data", ())]
        if page is not None:
            auditor.people_listed(shop, customers)


async def _employ(
    world: World, installation: Installation, outside: Node, operators: Operators, shops: list[Shop]
) -> Acts:
    """Somebody who does what operators do; commands are processes of their own, which may die."""
    await outside.begin(installation.employ(outside))
    command = world.add("command", "command")
    command.start()
    return Acts(outside, command, shops, installation, operators)


async def _open(installation: Installation, outside: Node, count: int, shops: list[Shop]) -> None:
    for number in range(1, count + 1):
        shops.append(await installation.open_shop(outside, number))


async def _settle(world: World, orders: int) -> None:
    """Until nothing is due any more, at any time."""
    loop, quiet = world.loop, 0
    statements_max = world.statements + SETTLE_STATEMENTS_MAX * orders
    while quiet < 2:
        if loop.now_s > HORIZON_S or world.statements > statements_max:
            world.breaks.append("the world: does not come to rest")
            return
        wait_s = SETTLE_S
        due_s = world.idling.next_due_s
        if world.idling.settled:
            quiet += 1
            if quiet == 1:
                world.idling.wake_all()
        else:
            quiet = 0
            if loop.now_s < due_s < HORIZON_S:
                wait_s += due_s - loop.now_s
        await asyncio.sleep(wait_s)
    world.tell("the world", "nothing is due any more")


def _end(world: World) -> None:
    """Let everything go; nothing of it may reach the next seed."""
    world.over = True
    world.faults.active = False
    tasks = []
    for node in world.nodes:
        tasks += node.tasks
        node.kill()
    loop = world.loop
    for _ in range(20):
        left = [task for task in tasks if not task.done()]
        if not left:
            break
        for task in left:
            task.cancel()
        try:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        except Stalled:
            break
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.set_event_loop(None)


def _split(what: str) -> tuple[str, str]:
    who, _, rest = what.partition(": ")
    return who, rest


class _Listener(logging.Handler):
    """Hears what the services log: errors are faults of ours."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        node = NODE.get()
        if node is None or not node.alive:
            return
        if record.exc_info and record.levelno >= logging.ERROR:
            error = record.exc_info[1]
            self._world.broke(node, f"{record.getMessage()}: {type(error).__name__}: {error}")
        elif self._world.recording:
            self._world.tell(node.name, f"logs: {record.getMessage()}")


@contextmanager
def _listening(world: World) -> Iterator[None]:
    """Hear the services' logs for the length of a `with` block, and nobody else."""
    listener, root = _Listener(world), logging.getLogger("tallystick")
    propagates, level = root.propagate, root.level
    root.propagate = False
    root.setLevel(logging.INFO if world.recording else logging.WARNING)
    root.addHandler(listener)
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        yield
    finally:
        root.removeHandler(listener)
        root.propagate = propagates
        root.setLevel(level)
