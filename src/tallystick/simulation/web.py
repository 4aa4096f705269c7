"""The web framework's applications of the simulated world: built once for all processes and seeds.

To build one takes as long as half an order, and a seed starts a dozen processes. What a process has in memory stands
behind the application, never in it; so one application may serve them all, as long as it finds what stands behind the
process that is asked.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

from tallystick.kernel.service import Asgi, Parts

_BEHIND: ContextVar[Any] = ContextVar("BEHIND")


class BuiltOnce:
    """Stands where `built_anew` does."""

    def __init__(self) -> None:
        self._built: dict[tuple[Callable[..., Asgi], str], Asgi] = {}

    def __call__(self, build: Callable[[str, Parts], Asgi], origin: str, parts: Parts) -> Asgi:
        shared = self._built.get((build, origin))
        if shared is None:
            standing = type(parts)(*(_Standing(name) for name in parts.__struct_fields__))
            shared = self._built[build, origin] = build(origin, standing)
        application = shared

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            _BEHIND.set(parts)
            await application(scope, receive, send)

        return cast(Asgi, behind)


class _Standing:
    """Stands for the part of this name that the process has which is asked."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(_BEHIND.get(), self._name), name)
