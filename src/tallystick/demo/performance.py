"""The demo from its start to its end: the stack comes up, the shoppers shop, it says where things are, it stays."""

import asyncio
from pathlib import Path

from rich.console import Console

from tallystick.cli.failures import DID_NOT_WORK, STOPPED, CommandFailed
from tallystick.cli.service_api import ServiceApiError
from tallystick.cli.serving import stopping_on_signals, unless_stopped
from tallystick.cli.showing import show
from tallystick.demo.board import Board, addresses, night, summary
from tallystick.demo.browser import Lost
from tallystick.demo.folder import Known
from tallystick.demo.next_day import NextDay
from tallystick.demo.round import Round
from tallystick.demo.stack import Stack, ready_line
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy


class Performance:
    """One run of `tallystick demo`. `exit_code` is there when `run` has returned."""

    def __init__(
        self,
        stack: Stack,
        console: Console,
        data_dir: Path,
        *,
        once: bool,
        shoppers: bool,
        next_day: bool,
        as_json: bool,
    ) -> None:
        self._stack = stack
        self._console = console
        self._data_dir = data_dir
        self._once = once
        self._shoppers = shoppers
        self._next_day = next_day
        self._as_json = as_json
        self.exit_code = 0

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or with `once` until the shoppers are done. Nothing is left running."""
        with stopping_on_signals() as stop:
            try:
                ended = await unless_stopped(stop, self._perform(stop))
                if self._once and not ended:
                    self.exit_code = STOPPED
            finally:
                await self._stack.stop()

    async def _perform(self, stop: asyncio.Event) -> None:
        clock = SystemClock()
        began_s = clock.monotonic_s()
        known = await self._stack.start()
        took_s = clock.monotonic_s() - began_s
        if self._as_json:
            show(True, ready_line(known, self._stack))
        self._console.print(f"Ready after {took_s:.1f} s: {known.addresses.shop}", style="dim")
        if self._shoppers:
            await self._let_them_shop(known)
        if self._next_day:
            await self._move_on(known)
        if not self._once:
            self._console.print(addresses(known, str(self._data_dir)))
            self._console.print("Ctrl-C stops everything.", style="dim")
            await stop.wait()

    async def _let_them_shop(self, known: Known) -> None:
        assert self._stack.http is not None, "open while the stack runs"
        shopping = Round(known, self._stack.http, SystemClock(), SystemEntropy())
        board = Board(self._console)
        board.start()
        try:
            rows = await shopping.run(lambda: board.show(shopping.rows()))
        finally:
            board.stop()
        differing = await shopping.halves_differ(rows)
        self._console.print(summary(rows, differing))
        if differing or not all(row.as_scripted for row in rows):
            self.exit_code = DID_NOT_WORK

    async def _move_on(self, known: Known) -> None:
        assert self._stack.http is not None, "open while the stack runs"

        def say(sentence: str) -> None:
            self._console.print(sentence, style="dim")

        try:
            found = await NextDay(known, self._stack.http, SystemClock(), SystemEntropy(), say).run()
        except (Lost, ServiceApiError) as error:
            raise CommandFailed(f"the next day: {error}") from error
        self._console.print(night(found))
        if not found.as_planted:
            self.exit_code = DID_NOT_WORK
