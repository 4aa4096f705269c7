"""What is logged of something that fails again and again, such as a database that is away: that it began, every minute
that it goes on, and that it is over. A line for each try of each worker would be more than a thousand a minute, and the
one that says something else would be lost among them.
"""

from logging import Logger
from math import inf
from typing import Final

TOLD_EVERY_S: Final = 60.0


class Outage:
    """Logs the first failure, each one of another kind, and every minute how many there were; then that it works again.
    What fails anew within the minute after that is counted and told at its end. `what` is said to fail."""

    def __init__(self, log: Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._failing = False  # as the last line says
        self._told: set[str] = set()  # the kinds of failures that have had a line
        self._told_at_s = -inf
        self._failures = 0  # since the last line

    def failed(self, error: Exception, at_s: float) -> None:
        """A try failed. `at_s` is by a clock that never goes back."""
        kind = f"{type(error).__name__}: {error}".removesuffix(": ")
        self._failures += 1
        minute_over = at_s - self._told_at_s >= TOLD_EVERY_S
        if minute_over and not self._failing:
            self._told.clear()
        if minute_over or kind not in self._told:
            self._tell(kind)
            self._failing, self._told_at_s = True, at_s
            self._told.add(kind)

    def worked(self) -> None:
        """A try did not fail."""
        if self._failing:
            self._tell("it works again")
            self._failing = False

    def _tell(self, words: str) -> None:
        """A warning at the end too: whoever saw the beginning sees it."""
        since = f" ({self._failures} tries failed since the last line)" if self._failures > 1 else ""
        self._log.warning("%s: %s%s", self._what, words, since)
        self._failures = 0
