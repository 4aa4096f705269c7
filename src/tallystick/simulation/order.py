"""What a statement leaves open, the simulation decides by the seed: rows without ORDER BY come in any order."""

import random
import re
from collections.abc import Sequence
from functools import cache

from tallystick.ports.database import Record, Statement

_PARENTHESES = re.compile(r"\([^()]*\)")


def any_order(statement: Statement, records: Sequence[Record], chance: random.Random) -> Sequence[Record]:
    """The rows as they are where the statement orders them, shuffled otherwise; the same for the same seed."""
    if _orders(statement):
        return records
    shuffled = sorted(records, key=repr)
    chance.shuffle(shuffled)
    return shuffled


@cache
def _orders(statement: Statement) -> bool:
    """Whether the outermost query has an ORDER BY."""
    text = statement.text
    while True:
        shorter = _PARENTHESES.sub("", text)
        if shorter == text:
            return "ORDER BY" in text
        text = shorter


@cache
def tables_of(statement: Statement) -> frozenset[str]:
    """The words of a statement, among which are the tables that it reads."""
    return frozenset(re.findall(r"[a-z_]+", statement.text))
