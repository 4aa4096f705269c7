"""`tallystick gateway clock …` and `tallystick merchant clock …`: the sandbox's time.

Where both services are known, both are moved in step: signatures carry the time, and a service refuses those of another
hour. So the merchant's clock is moved first, and the gateway's follows before anything new is due.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct

from tallystick.cli.failures import CommandFailed, CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import NOUNS, DataDir, ask, ask_both
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, show
from tallystick.cli.times import length
from tallystick.ports.clock import Clock, SystemClock

PATH = "/operator/v1/clock"
STEPS_MAX = 500  # as in the services: what is due within one of them happens together
STEP_S_MIN = 1.0
LOOK_S = 0.1  # between two looks whether what is due was done; also what a service's other processes need to follow
PATIENCE_S = 20.0  # for what is due before time goes on without it


class Standing(Struct, frozen=True):
    """A service's time, as it tells it."""

    now: datetime
    target_at: datetime
    next_due_at: datetime | None
    busy: bool


def commands(service: str) -> typer.Typer:
    """The commands for "gateway" or "merchant"."""
    app = noun("The sandbox's time, where the setting sandbox_clock is on.")

    @app.command("show")
    def show_clock(data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """Show what time it is in the sandbox, and when the next thing is due there."""
        standing = ask(service, data_dir, _standing)
        next_due = f"next due {_clock_time(standing.next_due_at)}" if standing.next_due_at else "nothing is due"
        words = "something is due now" if standing.busy else next_due
        show(as_json, msgspec.structs.asdict(standing), f"{_clock_time(standing.now)}, {words}")

    @app.command("advance")
    def advance(
        duration: Annotated[str, typer.Argument(help="How far: 90s, 5m, 1h, 3d")],
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """Move the sandbox's time forward; all that is due in between happens in its order.

        Moves the gateway and the merchant service together where both are known (--data-dir, or both addresses in the
        environment).
        """
        from rich.progress import BarColumn, Progress, TextColumn

        seconds = int(length(duration).total_seconds())
        if seconds == 0:
            raise CommandRefused("time moves forward alone: by a second or more")
        with Progress(TextColumn("{task.description}"), BarColumn(), disable=as_json, transient=True) as bar:
            task = bar.add_task("", total=seconds)

            async def move(apis: dict[str, ServiceApi]) -> dict[str, Standing]:
                moving = Moving(apis, SystemClock())
                return await moving.advance(
                    seconds,
                    lambda left_s, at: bar.update(task, completed=seconds - left_s, description=_clock_time(at)),
                )

            standings = ask_both(service, data_dir, move)
        show(as_json, standings, *(f"{NOUNS[name]}: {_clock_time(each.now)}" for name, each in standings.items()))

    return app


class Moving:
    """Moves the time of one or both services. In the order of `ORDER`, see the module's text."""

    ORDER = ("merchant", "gateway")

    def __init__(self, apis: Mapping[str, ServiceApi], clock: Clock) -> None:
        self._apis = {name: apis[name] for name in self.ORDER if name in apis}
        self._clock = clock

    async def advance(self, seconds: float, told: Callable[[float, datetime], None]) -> dict[str, Standing]:
        """Move by `seconds`, telling after each step how much is left. Raises ServiceApiError, CommandFailed."""
        left_s, step_s = float(seconds), max(seconds / STEPS_MAX, STEP_S_MIN)
        standings = await self._settled()
        while left_s > 0:
            waits_s = [(each.next_due_at - each.now).total_seconds() for each in standings.values() if each.next_due_at]
            by_s = min(left_s, max(min(waits_s, default=left_s), step_s))
            for api in self._apis.values():
                await api.ask("POST", PATH, {"advance_s": by_s})
                await self._clock.sleep(LOOK_S)
            left_s -= by_s
            standings = await self._settled()
            told(left_s, max(each.now for each in standings.values()))
        return standings

    async def _settled(self) -> dict[str, Standing]:
        """The standings once nothing due is left to be done, or after PATIENCE_S of waiting for it."""
        give_up_s = self._clock.monotonic_s() + PATIENCE_S
        while True:
            standings = {name: await _standing(api) for name, api in self._apis.items()}
            under_way = [name for name, each in standings.items() if each.busy or each.target_at > each.now]
            if not under_way or self._clock.monotonic_s() > give_up_s:
                behind = [name for name in under_way if standings[name].target_at > standings[name].now]
                if behind:
                    raise CommandFailed(f"the time of {NOUNS[behind[0]]} does not move: are its workers running?")
                return standings
            await self._clock.sleep(LOOK_S)


async def _standing(api: ServiceApi) -> Standing:
    answer: Any = await api.ask("GET", PATH)
    return msgspec.convert(answer, Standing)


def _clock_time(at: datetime) -> str:
    return (at + timedelta(milliseconds=500)).strftime("%Y-%m-%d %H:%M:%S UTC")
