"""A database that answers and has no means to do what it is asked: a full disk, no memory, no connection left.

Callers get what they get while it is away (503, and come again), so nothing is lost; but nothing else tells why:
it can be reached, and reads go on. So the port says it itself, now and then: the log may lie on the same disk.
"""

import logging

log = logging.getLogger(__name__)

TOLD_EVERY_S = 60.0  # often enough for whoever looks, and a few hundred bytes an hour of room


class Shortages:
    """What a process has told of the shortages of one database."""

    def __init__(self) -> None:
        self._told_at_s: dict[str, float] = {}

    def note(self, reason: str, at_s: float) -> None:
        """`reason` is the driver's name for the server's error; `at_s` any clock that only goes forward."""
        told_at_s = self._told_at_s.get(reason)
        if told_at_s is not None and at_s - told_at_s < TOLD_EVERY_S:
            return
        self._told_at_s[reason] = at_s
        log.error("the database refuses what is asked of it: %s (docs/operating.md, When the disk is full)", reason)
