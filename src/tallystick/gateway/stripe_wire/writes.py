"""The routes that change something. Commands take lists: concurrent calls of one route share a batch (DESIGN §2.2)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.errors import WireError
from tallystick.gateway.stripe_wire.parameters import Parameters
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.kernel.batching import Batcher

Sent = TypeVar("Sent", bound=Parameters)
Answers = Sequence[Reply | WireError]


def create(
    path: str,
    parameters: type[Sent],
    work: Callable[[Sequence[tuple[Call, Sent]]], Awaitable[Answers]],
    *,
    kind: str,
    publishable: bool = False,
) -> Route:
    """`POST path` by a command that takes (call, parameters) and answers each."""
    batcher: Batcher[tuple[Call, Sent], Reply] = Batcher(work)

    async def run(call: Call, _id: str, sent: Parameters) -> Reply:
        assert isinstance(sent, parameters)
        return await batcher.submit((call, sent))

    return Route(method="POST", path=path, parameters=parameters, run=run, kind=kind, publishable=publishable)


def change(
    path: str,
    parameters: type[Sent],
    work: Callable[[Sequence[tuple[Call, str, Sent]]], Awaitable[Answers]],
    *,
    kind: str,
    param: str = "id",
    noun: str = "",
    method: str = "POST",
) -> Route:
    """`POST path`, where `path` holds `{id}`, by a command that takes (call, id, parameters) and answers each."""
    batcher: Batcher[tuple[Call, str, Sent], Reply] = Batcher(work)

    async def run(call: Call, id: str, sent: Parameters) -> Reply:
        assert isinstance(sent, parameters)
        return await batcher.submit((call, id, sent))

    return Route(method=method, path=path, parameters=parameters, run=run, kind=kind, id_param=param, noun=noun)
