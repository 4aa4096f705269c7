"""An asyncio loop whose time is virtual: where a real one would wait for its next timer, this one is there at once.

Nothing happens outside the loop's own thread, so a seed decides everything that happens in it. There is no selector and
no socket; `BaseEventLoop` asks for a `select(timeout)`, and gets one that moves the clock.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class Stalled(Exception):
    """Everything waits for something that can never happen: no task is ready and no timer is set."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`quiet` is asked before time jumps to the next timer (None where there is none): it may set earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.quiet: Callable[[float | None], None] = lambda _: None
        self._clock_resolution = 1e-9  # of the machine's clock otherwise
        self._selector = _Jump(self)
        self._scheduled: list[asyncio.TimerHandle]
        self._ready: Any

    def time(self) -> float:
        return self.now_s

    @property
    def next_timer_s(self) -> float | None:
        """When the next timer is set for, cancelled ones left out as the loop itself leaves them out."""
        return self._scheduled[0].when() if self._scheduled else None

    def jump(self) -> None:
        """Go to the next timer. Raises Stalled where there is none."""
        self.quiet(self.next_timer_s)
        if self._ready:
            return
        next_s = self.next_timer_s
        if next_s is None:
            raise Stalled
        self.now_s = max(self.now_s, next_s)

    def _process_events(self, event_list: Any) -> None:
        assert not event_list, "there is nothing that could be ready outside"

    def _write_to_self(self) -> None:
        """Nobody waits in a real selector, so nobody must be woken."""


class _Jump:
    """Stands where a selector does."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None or timeout > 0:
            self._loop.jump()
        return []
