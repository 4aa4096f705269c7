"""The loop of the simulated world lets things come in the order in which asyncio's own loop does."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from tallystick.simulation.loop import Stalled, VirtualLoop

Came = list[tuple[float, int]]


class Plain(asyncio.BaseEventLoop):
    """asyncio's own loop, with nothing changed but that time jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._clock_resolution = 1e-9
        self._selector = self
        self._scheduled: list[asyncio.TimerHandle]

    def time(self) -> float:
        return self.now_s

    def select(self, timeout: float | None) -> list[Any]:
        if timeout:
            self.now_s = max(self.now_s, self._scheduled[0].when())
        return []

    def _process_events(self, event_list: Any) -> None:
        pass


def lived(make: Callable[[], Plain | VirtualLoop], seed: int) -> Came:
    """When what came, of many timers for few moments, most of which are cancelled again."""
    chance, loop, came = random.Random(seed), make(), Came()
    timers: list[Any] = []

    def comes(number: int) -> None:
        came.append((loop.time(), number))
        for _ in range(chance.randrange(3)):
            timers.append(loop.call_later(chance.randrange(4) / 2, comes, len(timers)))
        for _ in range(chance.randrange(4)):
            chance.choice(timers).cancel()
        if len(timers) < 200:
            loop.call_soon(comes, -1)

    for _ in range(300):
        timers.append(loop.call_at(chance.randrange(8) / 2, comes, len(timers)))
    loop.run_until_complete(sleeping(9.0))
    loop.close()
    return came


async def sleeping(seconds: float) -> None:
    await asyncio.sleep(seconds)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_due_comes_in_the_order_of_asyncio(seed: int) -> None:
    assert lived(VirtualLoop, seed) == lived(Plain, seed)


def test_what_raises_is_told_and_others_go_on() -> None:
    loop, told, came = VirtualLoop(), list[Any](), list[int]()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    loop.call_soon(lambda: 1 / 0)
    loop.call_later(1.0, lambda: came.append(1))
    loop.run_until_complete(sleeping(2.0))
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert came == [1]
    loop.close()


def test_a_loop_in_which_nothing_can_happen_any_more_says_so() -> None:
    loop = VirtualLoop()
    with pytest.raises(Stalled):
        loop.run_until_complete(loop.create_future())
    loop.close()
