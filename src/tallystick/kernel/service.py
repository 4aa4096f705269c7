"""What a process of either service runs: an ASGI application, and workers beside it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from msgspec import Struct

Asgi = Callable[..., Awaitable[Any]]
Parts = TypeVar("Parts", bound=Struct)


class Web(Protocol):
    """Puts the web framework's application over the parts of a process. What the process knows stands in the parts
    alone; the application itself keeps nothing between two requests."""

    def __call__(self, build: Callable[[str, Parts], Asgi], origin: str, parts: Parts) -> Asgi: ...


def built_anew(build: Callable[[str, Parts], Asgi], origin: str, parts: Parts) -> Asgi:
    """An application for these parts."""
    return build(origin, parts)


class Worker(Protocol):
    """What runs by itself until it is cancelled."""

    async def run(self) -> None:
        """Work for ever; whatever still had to be done is a row with a due time (DESIGN §2.7)."""
        ...


class Service(Struct, frozen=True):
    """A service wired together. Its workers may run in the process that serves, in another one, or in both."""

    asgi: Asgi
    workers: tuple[Worker, ...]


def at_first_call(build: Callable[[], Asgi]) -> Asgi:
    """An application that is built when it is first called: what is seldom called does not delay the start."""
    built: list[Asgi] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if not built:
            built.append(build())
        await built[0](scope, receive, send)

    return application
