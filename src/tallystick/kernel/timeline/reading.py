"""Reads what both halves keep in the same tables: deliveries with every try, and what operators did. Makes the page."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tallystick.kernel.timeline.entries import Half, Happening, Place, Timeline, cursor, decode_details, page
from tallystick.kernel.timeline.telling import Exponent, due, told
from tallystick.ports.database import Database, Record, Statement, Statements

SQL = Statements.beside(__file__)

DUE_ROWS_MAX = 20  # of what is next; more of it helps nobody

Source = Sequence[Happening]


class Messages(NamedTuple):
    """The messages whose deliveries are told of, and their event types."""

    ids: list[str]
    types: list[str]


class Reader:
    """Reads sources behind a place, each a little further than a page."""

    def __init__(self, database: Database, after: Place, rows_max: int) -> None:
        self._database = database
        self._after = after
        self._rows_max = rows_max

    async def rows(self, statement: Statement, *parameters: Any) -> Source:
        """The happenings of a statement, whose last three parameters are the place and the number of rows."""
        found = await self._database.rows(statement, *parameters, self._after.at, self._after.place, self._rows_max + 1)
        return [_happening(row) for row in found]

    async def next_tries(self, owner: str, messages: Messages, rows_max: int) -> Sequence[Record]:
        """The deliveries that are to be tried again."""
        return await self._database.rows(SQL.next_tries_of_messages, owner, *messages, rows_max)


async def told_by(reader: Reader, owner: str, messages: Messages) -> Source:
    """Deliveries of messages, and every try of them."""
    if not messages.ids:
        return []
    return [
        *await reader.rows(SQL.deliveries_of_messages, owner, *messages),
        *await reader.rows(SQL.tries_of_messages, owner, *messages),
    ]


async def about(reader: Reader, ids: Sequence[str]) -> Source:
    """What operators did about these ids."""
    return await reader.rows(SQL.acts_about, list(ids))


def composed(
    half: Half,
    sources: Sequence[Source],
    next: Sequence[Record],
    rows_max: int,
    exponent: Exponent,
    *,
    id: str,
    owner: str,
    state: str,
    amount: str,
    ids: tuple[str, ...],
) -> Timeline:
    """A page of a half's timeline out of what its sources told, and out of what is next."""
    shown, behind = page(sources, rows_max)
    coming = sorted((_next(row) for row in next), key=lambda each: (each.at, each.kind, each.place))
    return Timeline(
        half=half,
        id=id,
        owner=owner,
        state=state,
        amount=amount,
        ids=ids,
        entries=tuple(told(half, each, exponent) for each in shown),
        due=tuple(due(half, each, exponent) for each in coming[:DUE_ROWS_MAX]),
        next_cursor=None if behind is None else cursor(behind),
    )


def _happening(row: Record) -> Happening:
    fields = {name: row[name] for name in Happening.__struct_fields__ if name != "details"}
    return Happening(details=decode_details(row["details"]), **fields)


def _next(row: Record) -> Happening:
    subject = row["subject"]
    return Happening(
        at=row["at"], place=subject or "", kind=row["kind"], subject=subject, details=decode_details(row["details"])
    )
