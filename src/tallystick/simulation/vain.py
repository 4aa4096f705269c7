"""What a worker looked for in vain is not asked of the database again as long as it is known to be nothing still.

A statement that gave no row gives none again while nothing was committed in its tables and none of the times that stand
there has come: statements of ours compare times, they do not reckon with them. Those that do are asked each time, as
are all that write.
"""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from typing import Any, Protocol

from tallystick.ports.database import Statement
from tallystick.simulation.order import only_reads, words_of
from tallystick.simulation.ports import EPOCH


class Account(Protocol):
    """Who keeps account of commits and times."""

    def changed_since(self, version: int, tables: Iterable[str]) -> bool: ...

    def none_due_between(self, tables: Iterable[str], one_s: float, other_s: float) -> bool: ...


class Vain:
    """What was looked for in vain in one database."""

    def __init__(self) -> None:
        self._found: dict[Any, tuple[int, tuple[float, ...]]] = {}

    def known(self, statement: Statement, tables: Set[str], parameters: Sequence[Any], account: Account) -> bool:
        """Whether `statement` with these parameters is known to find nothing."""
        key, times_s = _key(statement, parameters)
        found = self._found.get(key)
        if found is None or account.changed_since(found[0], tables):
            return False
        if times_s != found[1] and "interval" in words_of(statement.text):
            return False
        return all(
            account.none_due_between(tables, then_s, now_s) for now_s, then_s in zip(times_s, found[1], strict=True)
        )

    def found_nothing(self, statement: Statement, parameters: Sequence[Any], version: int) -> None:
        """It found nothing, as of that version."""
        if only_reads(statement):
            key, times_s = _key(statement, parameters)
            self._found[key] = (version, times_s)

    def forget(self) -> None:
        """Ask for everything once more."""
        self._found.clear()


def _key(statement: Statement, parameters: Sequence[Any]) -> tuple[Any, tuple[float, ...]]:
    """What the statement was asked for, and at which times (virtual seconds)."""
    times_s = tuple((each - EPOCH).total_seconds() for each in parameters if isinstance(each, datetime))
    rest = tuple(repr(each) for each in parameters if not isinstance(each, datetime))
    return (statement.text, rest), times_s
