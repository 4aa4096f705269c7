"""What a process of either service runs: an ASGI application, and workers beside it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec import Struct

Asgi = Callable[..., Awaitable[Any]]
RawHeaders = Sequence[tuple[bytes, bytes]]
Parts = TypeVar("Parts", bound=Struct)


class Web(Protocol):
    """Puts the web framework's application over the parts of a process. What the process knows stands in the parts
    alone; the application itself keeps nothing between two requests."""

    def __call__(self, build: Callable[[str, Parts], Asgi], origin: str, parts: Parts) -> Asgi: ...


def built_anew(build: Callable[[str, Parts], Asgi], origin: str, parts: Parts) -> Asgi:
    """An application for these parts."""
    return build(origin, parts)


class Answer(NamedTuple):
    """A whole HTTP answer. The server adds the date, and closes the connection where it has to; `headers` tell the
    body's length.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Direct(Struct, frozen=True):
    """The short way for the usual requests of a hot path: POSTs below `path_prefix` that came whole, head and body.

    `begin(rest of the path, headers, body, answer)` takes a request in, without a task and messages of its own, and
    has `answer` called once, later; or it says False, has done nothing, and the ASGI application gets the request as
    ever. So the short way needs to know the usual case only. It raises nothing.
    """

    path_prefix: bytes
    begin: Callable[[str, RawHeaders, bytes, Callable[[Answer], None]], bool]


class Worker(Protocol):
    """What runs by itself until it is cancelled."""

    async def run(self) -> None:
        """Work for ever; whatever still had to be done is a row with a due time (DESIGN §2.7)."""
        ...


class Watched(Struct, frozen=True):
    """How a process is seen (RULES §13): its metrics, what says that one of its kind lives while it runs workers, and
    what judges the service's alerts for the process of this name, where it does so itself."""

    metrics: Asgi
    heartbeat: Callable[[str], Worker]
    watch: Callable[[str], Worker] | None = None


class Service(Struct, frozen=True):
    """A service wired together. Its workers may run in the process that serves, in another one, or in both."""

    asgi: Asgi
    workers: tuple[Worker, ...]
    direct: Direct | None = None
    watched: "Watched | None" = None


def is_below(prefix: str, path: str) -> bool:
    """Whether an address is `prefix` or lies below it."""
    return path == prefix or path.startswith(f"{prefix}/")


def at_first_call(build: Callable[[], Asgi]) -> Asgi:
    """An application that is built when it is first called: what is seldom called does not delay the start."""
    built: list[Asgi] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if not built:
            built.append(build())
        await built[0](scope, receive, send)

    return application
