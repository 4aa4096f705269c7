"""How a worker goes on: it looks for work for ever, with a pause between two looks, and waits for a database that is
away. What has to be done is a row (DESIGN §2.7), so nothing is lost by a look that failed.
"""

from collections.abc import Awaitable, Callable
from logging import Logger
from typing import Final

from tallystick.kernel.outages import Outage
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseError

AWAY_PAUSE_S: Final = 1.0  # a database that is away is not asked more often, however short a worker's pause is


async def run(
    look: Callable[[], Awaitable[object]],
    clock: Clock,
    log: Logger,
    waiting: str,
    *,
    pause_s: float,
    drains: bool = False,
) -> None:
    """Call `look` until cancelled. `waiting` says in the log what waits for the database. One that `drains` tells how
    much it found, and looks again at once until that is nothing."""
    outage = Outage(log, waiting)
    while True:
        found: object = None
        rest_s = pause_s
        try:
            found = await look()
        except DatabaseError as error:
            outage.failed(error, clock.monotonic_s())
            rest_s = max(pause_s, AWAY_PAUSE_S)
        else:
            outage.worked()
        if not (drains and found):
            await clock.sleep(rest_s)
