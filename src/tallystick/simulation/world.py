"""One seed's world: the loop, the dice, who lives in it, what was done and what went wrong."""

import asyncio
import hashlib
import random
from contextvars import Context
from typing import Any, Final

from msgspec import Struct

from tallystick.simulation.due import DueTimes
from tallystick.simulation.faults import Faults
from tallystick.simulation.idling import Idling
from tallystick.simulation.loop import VirtualLoop
from tallystick.simulation.network import Network
from tallystick.simulation.nodes import NODE, Node
from tallystick.simulation.ports import CardVault, KeptSecrets, SeededEntropy
from tallystick.simulation.server import VirtualServer

RESTART_AFTER_S: Final = (0.2, 40.0)
STORY_LINES_MAX: Final = 20_000
SECURITY_CODE: Final = "123"


class Told(Struct, frozen=True):
    """One line of the story: when, who, what."""

    at_s: float
    who: str
    what: str


class World:
    """Everything that one seed has. `recording` keeps the story; the trace is the same with and without."""

    def __init__(
        self,
        seed: int,
        loop: VirtualLoop,
        servers: dict[str, VirtualServer],
        due_times: dict[str, DueTimes],
        *,
        recording: bool = False,
    ) -> None:
        self.loop = loop
        self.recording = recording
        self.chance = random.Random(f"{seed}:chance")
        self.entropy = SeededEntropy(random.Random(f"{seed}:entropy"))
        self.faults = Faults(random.Random(f"{seed}:faults"))
        self.servers = servers
        self.secrets = KeptSecrets()
        self.card_vault = CardVault()
        self.nodes: list[Node] = []
        self.network = Network(self)
        self.idling = Idling(self, due_times)
        self.story: list[Told] = []
        self.breaks: list[str] = []
        self.statements = 0
        self.commits = 0
        self.lock_waits = 0
        self.over = False
        self.security_code = SECURITY_CODE  # what every shopper types
        self._trace = hashlib.sha256()
        loop.quiet = self.idling.look
        loop.set_task_factory(_adopted)
        loop.set_exception_handler(self._unheard)
        for server in servers.values():
            server.begin_seed(self)

    def add(self, name: str, service: str, build: Any = None) -> Node:
        """A process, not started yet."""
        node = Node(self, name, service, build)
        self.nodes.append(node)
        return node

    def crash(self, node: Node) -> None:
        """Kill a process; it is started again some time later, as its supervisor would."""
        if not node.alive:
            return
        node.kill()
        self.tell(node.name, "died")
        low, high = RESTART_AFTER_S
        self.loop.call_later(low + (high - low) * self.chance.random(), self._start_again, node, context=Context())

    def _start_again(self, node: Node) -> None:
        if not self.over:
            self.tell(node.name, "started again")
            node.start()

    def stall(self, node: Node, seconds: float) -> None:
        """Stop a process for a while, as a paging machine or a debugger does; then it goes on where it was."""
        node.stalled_until_s = self.loop.now_s + seconds
        for database in node.databases:
            database.stalled()

    def skew(self, node: Node, skew_s: float) -> None:
        """Put a process's clock wrong, or right again."""
        node.skew_s = skew_s
        self.idling.clock_put(node)

    def trace(self, *parts: str) -> None:
        """Add to what two runs of one seed must have in common."""
        self._trace.update(f"{self.loop.now_s:.6f} {' '.join(parts)}\n".encode())

    @property
    def trace_hash(self) -> str:
        return self._trace.hexdigest()

    def tell(self, who: str, what: str) -> None:
        """Add a line to the story."""
        if self.recording and len(self.story) < STORY_LINES_MAX:
            self.story.append(Told(self.loop.now_s, who, what))

    def broke(self, node: Node | None, what: str) -> None:
        """A fault of ours: something that nobody foresaw was raised. It is a violation by itself."""
        who = node.name if node is not None else "?"
        self.breaks.append(f"{who}: {what}")
        self.tell(who, f"BROKE: {what}")

    def _unheard(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not self.over and error is not None and "never retrieved" not in context.get("message", ""):
            self.broke(None, f"{context.get('message')}: {type(error).__name__}: {error}")


def _adopted(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> "asyncio.Task[Any]":
    """A task that belongs to the process in whose context it was begun."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
    context: Context | None = more.get("context")
    node = context.get(NODE) if context is not None else NODE.get()
    if node is not None:
        node.adopt(task)
        if not node.alive:
            task.cancel()
    return task
