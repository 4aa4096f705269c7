"""What the simulation reads out of a statement's text: whether it orders its rows, what it reads and what it writes.

What a statement leaves open, the simulation decides by the seed: rows without ORDER BY come in any order.
"""

import random
import re
from collections.abc import Sequence
from functools import cache

from tallystick.ports.database import Record, Statement

_PARENTHESES = re.compile(r"\([^()]*\)")
_WORDS = re.compile(r"[a-z_]+")
_SCHEMA = r"(?:[a-z_]+\.)?"
_READ = re.compile(
    rf"\b(?:FROM|JOIN|INTO|UPDATE|USING|ONLY|COPY)\s+{_SCHEMA}([a-z_]+)\b(?!\s*[.(])"
    r"|[,(]\s*([a-z_]+)\b(?!\s*[.(])"
    r"|[,(]\s*[a-z_]+\.([a-z_]+)(?=\s+[A-Za-z])"  # a table of a schema with its alias
)
_LOCKS = re.compile(r"\sFOR\s+(NO\s+KEY\s+UPDATE|UPDATE|KEY\s+SHARE|SHARE)\b")
_WRITTEN = re.compile(
    r"(?:\bINSERT\s+INTO|(?<!\bFOR\s)(?<!\bKEY\s)(?<!\bDO\s)\bUPDATE|\bDELETE\s+FROM|\bCOPY)\s+"
    rf"{_SCHEMA}([a-z_]+)"
)


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
def words_of(text: str) -> frozenset[str]:
    """The words of a text of SQL that are not keywords."""
    return frozenset(_WORDS.findall(text))


@cache
def tables_of(statement: Statement) -> frozenset[str]:
    """Names of a statement, among which are all tables that it reads or writes. What follows a dot is a column, even
    where a table has the same name; what stands in a list may be either."""
    read = (name for names in _READ.findall(statement.text) for name in names if name)
    return written_by(statement).union(read)


@cache
def written_by(statement: Statement) -> frozenset[str]:
    """The tables that a statement writes."""
    return frozenset(_WRITTEN.findall(statement.text))


@cache
def only_reads(statement: Statement) -> bool:
    """Whether a statement neither writes nor locks: it is in nobody's way."""
    return not written_by(statement) and not _LOCKS.search(statement.text)


@cache
def tells_of_all_it_writes(statement: Statement) -> bool:
    """Whether a statement that gave and touched no row has written none: one with a WITH may have."""
    return not re.search(r"\bWITH\b", statement.text)
