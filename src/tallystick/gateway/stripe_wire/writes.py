"""The routes that change something. Commands take lists, so that what they commit can be shared (DESIGN §2.2).

`batched` commands are quick and commit once: concurrent calls of a route go in one list. The others may ask the
acquirer in between and share their commits further down; each call of theirs goes at once, in a list of one.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.parameters import Parameters
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.kernel.batching import Batcher

Sent = TypeVar("Sent", bound=Parameters)
Item = TypeVar("Item", bound=tuple[Any, ...])
Answers = Sequence[Reply | Exception]


def create(
    path: str,
    parameters: type[Sent],
    work: Callable[[Sequence[tuple[Call, Sent]]], Awaitable[Answers]],
    *,
    kind: str,
    publishable: bool = False,
    batched: bool = False,
) -> Route:
    """`POST path` by a command that takes (call, parameters) and answers each."""
    submit = Batcher(work).submit if batched else _alone(work)

    async def run(call: Call, _id: str, sent: Parameters) -> Reply:
        assert isinstance(sent, parameters)
        return await submit((call, sent))

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
    batched: bool = False,
) -> Route:
    """`POST path`, where `path` holds `{id}`, by a command that takes (call, id, parameters) and answers each."""
    submit = Batcher(work).submit if batched else _alone(work)

    async def run(call: Call, id: str, sent: Parameters) -> Reply:
        assert isinstance(sent, parameters)
        return await submit((call, id, sent))

    return Route(method=method, path=path, parameters=parameters, run=run, kind=kind, id_param=param, noun=noun)


def _alone(work: Callable[[Sequence[Item]], Awaitable[Answers]]) -> Callable[[Item], Awaitable[Reply]]:
    async def submit(item: Item) -> Reply:
        [answer] = await work([item])
        if isinstance(answer, Exception):
            raise answer
        return answer

    return submit
