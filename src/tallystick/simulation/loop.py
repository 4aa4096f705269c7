"""An asyncio loop whose time is virtual: where a real one would wait for its next timer, this one is there at once.

Nothing happens outside the loop's own thread, so a seed decides everything that happens in it. There is no selector and
no socket. A seed is some thousand turns of the loop, so what asyncio does in each for threads, for debugging and for
its classes of handles is left out here; what is due comes in the order in which asyncio's own loop lets it come.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeVarTuple

RESOLUTION_S: Final = 1e-9
TIMERS_SWEPT_AT: Final = 100  # these two as in asyncio: cancelled timers are thrown away when they are most of many
CANCELLED_SHARE_MAX: Final = 0.5
_Ts = TypeVarTuple("_Ts")


class Stalled(Exception):
    """Everything waits for something that can never happen: no task is ready and no timer is set."""


class _Call:
    """What is to be called, once: stands where asyncio has a Handle or a TimerHandle."""

    __slots__ = ("_callback", "_context", "_loop", "args", "timed", "when_s")

    def __init__(
        self, loop: "VirtualLoop", callback: Any, args: tuple[Any, ...], context: Context | None, when_s: float
    ) -> None:
        self._loop = loop
        self._callback = callback  # None once it was cancelled
        self.args = args
        self._context = copy_context() if context is None else context
        self.when_s = when_s
        self.timed = False  # among the loop's timers

    def __lt__(self, other: "_Call") -> bool:
        """Among timers that are set for the same moment none comes first."""
        return False

    def when(self) -> float:
        return self.when_s

    def cancelled(self) -> bool:
        return self._callback is None

    def cancel(self) -> None:
        if self._callback is not None:
            self._callback, self.args = None, ()
            self._loop.timers_cancelled += self.timed

    def run(self) -> None:
        if self._callback is None:
            return
        try:
            self._context.run(self._callback, *self.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            what = {"message": f"Exception in callback {self._callback}", "exception": error}
            self._loop.call_exception_handler(what)


class VirtualLoop(asyncio.BaseEventLoop):
    """`quiet` is asked before time jumps to the next timer (None where there is none): it may set earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.quiet: Callable[[float | None], None] = lambda _: None
        self.timers_cancelled = 0
        self._scheduled: list[tuple[float, _Call]] = []
        self._ready: deque[_Call] = deque()
        self._stopping: bool

    def time(self) -> float:
        return self.now_s

    @property
    def next_timer_s(self) -> float | None:
        """When the next timer is set for, cancelled ones left out as asyncio's own loop leaves them out."""
        return self._scheduled[0][0] if self._scheduled else None

    def call_soon(self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None) -> Any:
        call = _Call(self, callback, args, context, self.now_s)
        self._ready.append(call)
        return call

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Any:
        return self.call_soon(callback, *args, context=context)  # there is one thread

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Any:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Any:
        call = _Call(self, callback, args, context, when)
        call.timed = True
        heappush(self._scheduled, (when, call))
        return call

    def jump(self) -> None:
        """Go to the next timer. Raises Stalled where there is none."""
        self.quiet(self.next_timer_s)
        if self._ready:
            return
        next_s = self.next_timer_s
        if next_s is None:
            raise Stalled
        self.now_s = max(self.now_s, next_s)

    def _run_once(self) -> None:
        """One turn: everything that is ready as it begins."""
        self._sweep()
        timers, ready = self._scheduled, self._ready
        if not (ready or self._stopping or (timers and timers[0][0] <= self.now_s)):
            self.jump()
        until_s = self.now_s + RESOLUTION_S
        while timers and timers[0][0] < until_s:
            call = heappop(timers)[1]
            call.timed = False
            ready.append(call)
        for _ in range(len(ready)):
            ready.popleft().run()

    def _sweep(self) -> None:
        """Throw away timers that were cancelled: those at the head, or all of them where they are most."""
        timers = self._scheduled
        if len(timers) > TIMERS_SWEPT_AT and self.timers_cancelled / len(timers) > CANCELLED_SHARE_MAX:
            timers[:] = [entry for entry in timers if not entry[1].cancelled()]
            heapify(timers)
            self.timers_cancelled = 0
        else:
            while timers and timers[0][1].cancelled():
                self.timers_cancelled -= 1
                heappop(timers)

    def _write_to_self(self) -> None:
        """Nobody waits in a real selector, so nobody must be woken."""
