"""What a timeline is made of, and its order. Pure.

A service reads *happenings*: rows with a kind, ids and figures. `telling.py` makes *entries* of them, which are
sentences. Nothing else of a row gets into an entry, so what a shopper or a shop has written cannot (RULES §9, §12).

Entries stand in the order of their recorded time. What was recorded in one instant stands in the order of `place`: a
cause before its effects, then by id. Time and place together are unique, and are the cursor of a page.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

PAGE_ROWS: Final = 100
PAGE_ROWS_MAX: Final = 500  # a page is read source by source, each at most this long

Half = Literal["gateway", "merchant"]
Tone = Literal["good", "bad", "waiting", "plain"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CURSOR: Final = re.compile(r"([0-9]{1,18})-([!-~]{0,400})")


class Place(Struct, frozen=True, order=True):
    """Where an entry stands: no other of its half stands there."""

    at: datetime
    place: str


BEGINNING: Final = Place(EPOCH, "")


class Happening(Struct, frozen=True, kw_only=True):
    """A row of what happened, before it has words. `more` is how many others like it are told of by this one."""

    at: datetime
    place: str
    kind: str
    subject: str | None = None
    reference: str | None = None
    by: str | None = None
    now: str | None = None
    took_ms: int | None = None
    more: int = 0
    details: dict[str, Any] = {}


class Entry(Struct, frozen=True, kw_only=True):
    """Something that happened, in words.

    `by` is who said so. `now` is the state that followed, where there is a new one. `subject` is the id that it is
    about, `reference` what the teller calls it (an event, a request, a line). `took_ms` is how long it took; `more` how
    many others like it this entry stands for.
    """

    half: Half
    at: datetime
    place: str
    kind: str
    tone: Tone
    words: str
    by: str
    now: str | None
    subject: str | None
    reference: str | None
    took_ms: int | None
    more: int

    @property
    def took(self) -> str:
        """How long it took, as people say it; nothing where that is not known."""
        return "" if self.took_ms is None else duration(self.took_ms)


class Due(Struct, frozen=True, kw_only=True):
    """Something that is next: by itself at `at`, unless something happens before."""

    half: Half
    at: datetime
    kind: str
    words: str
    subject: str | None


class Timeline(Struct, frozen=True, kw_only=True):
    """One half's timeline of a payment, or a page of it. `id` is the payment or order it is about, `owner` whose that
    is.

    `ids` are what it is known by at either half, for whoever asks the other one. `next_cursor` is null on the last
    page.
    """

    half: Half
    id: str
    owner: str
    state: str
    amount: str
    ids: tuple[str, ...]
    entries: tuple[Entry, ...]
    due: tuple[Due, ...]
    next_cursor: str | None


class CursorRefused(ValueError):
    """The text is no cursor of a timeline."""


def in_order(happenings: Iterable[Happening]) -> list[Happening]:
    """By recorded time, then by place."""
    return sorted(happenings, key=lambda each: (each.at, each.place))


def page(sources: Iterable[Sequence[Happening]], rows_max: int) -> tuple[list[Happening], Place | None]:
    """The first `rows_max` happenings of all sources, and where the page behind them begins, None where there is none.

    Each source gives its first ones, more than `rows_max` where it has more: what stands behind the end of any of them
    is not looked at.
    """
    found = in_order(each for source in sources for each in source)
    shown = found[:rows_max]
    return shown, Place(shown[-1].at, shown[-1].place) if len(found) > rows_max else None


def cursor(place: Place) -> str:
    """A place as text, for an address."""
    return f"{(place.at - EPOCH) // _MICROSECOND}-{place.place}"


def place_of(cursor: str) -> Place:
    """The place of a cursor. Raises CursorRefused."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise CursorRefused("that is no cursor of a timeline")
    try:
        return Place(EPOCH + int(match[1]) * _MICROSECOND, match[2])
    except OverflowError:
        raise CursorRefused("that is no cursor of a timeline") from None


def duration(milliseconds: int) -> str:
    """A length of time as people say it: 12 ms, 3.2 s, 4 min 5 s, 2 h 3 min, 3 d 4 h."""
    if milliseconds < 1_000:
        return f"{max(milliseconds, 0)} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1_000:.1f} s"
    minutes, seconds = divmod(milliseconds // 1_000, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {seconds} s"


decode_details = msgspec.json.Decoder(dict[str, Any]).decode
