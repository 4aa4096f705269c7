"""The two halves of a timeline as one story, and how it is printed. Functions of what the services answered.

Both halves tell by their own clocks. Entries are in the order of these times; of one instant the merchant's come first,
each half's in its own order. Nothing is reordered to look more likely: where two machines' clocks differ, an answer may
stand before its question by that much.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.timeline.entries import duration

COLUMNS: Final = 80
HALVES: Final = ("merchant", "gateway")
MARKS: Final = {"good": "+", "bad": "!", "waiting": "~", "plain": " "}
INDENT: Final = 24  # time, mark and half stand before the words: our longest keys still fit behind them

Json = Mapping[str, Any]


class Part(Struct, frozen=True):
    """One half's timeline of one payment or order, all pages of it; `whole`: there are no more."""

    timeline: Json
    entries: Sequence[Json]
    whole: bool


class Story(Struct, frozen=True):
    """What is known of `asked`. `missing` says of each half that could not be read why, and what to do."""

    asked: str
    parts: tuple[Part, ...]
    missing: Mapping[str, str]

    def entries(self) -> list[Json]:
        """All entries of both halves in the order of their times."""
        told = [entry for part in self.parts for entry in part.entries]
        return sorted(told, key=lambda each: (_instant(each["at"]), HALVES.index(each["half"]), each["place"]))

    def due(self) -> list[Json]:
        """What is next at both halves."""
        return sorted(
            (each for part in self.parts for each in part.timeline["due"]), key=lambda each: _instant(each["at"])
        )

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        kept = ("half", "id", "owner", "state", "amount", "ids")
        return {
            "asked": self.asked,
            "about": [{name: part.timeline[name] for name in kept} for part in self.parts],
            "entries": self.entries(),
            "next": self.due(),
            "missing": dict(self.missing),
            "whole": all(part.whole for part in self.parts) and not self.missing,
        }


def lines(story: Story, columns: int = COLUMNS, *, long: bool = False) -> Iterator[tuple[str, str]]:
    """The story as lines of at most `columns` characters, each with its tone: good, bad, waiting, plain, head, soft.

    `long`: with all ids, and also that webhooks were to be sent of which a try is told.
    """
    for part in story.parts:
        about = part.timeline
        said = f"{about['half']}: {about['id']}  {about['state']}  {about['amount']}"
        yield from _wrapped(said, "", "  ", columns, "head")
    for half, why in story.missing.items():
        yield from _wrapped(f"The {half}'s half is missing: {why}.", "! ", "  ", columns, "bad")
    day = ""
    for entry in story.entries() if long else _short(story.entries()):
        at = _instant(entry["at"]).astimezone()
        if (date := at.strftime("%A, %Y-%m-%d (UTC%z)")) != day:
            day = date
            yield "", "plain"
            yield day, "head"
        yield from _entry(entry, at, columns, long)
    if due := story.due():
        yield "", "plain"
        yield "What is next", "head"
        for each in due:
            at = _instant(each["at"]).astimezone()
            begin = f"{at:%Y-%m-%d %H:%M:%S}  "
            words = each["words"] + (f" ({each['subject']})" if each["subject"] else "")
            yield from _wrapped(words, begin, " " * len(begin), columns, "plain")
    if not all(part.whole for part in story.parts):
        yield "", "plain"
        yield from _wrapped(
            "There is more than is shown here; --json and the API give it page by page.", "", "", columns, "soft"
        )


def _short(entries: Sequence[Json]) -> Iterator[Json]:
    """Without deliveries that were merely begun: their tries say as much."""
    tried = {entry["subject"] for entry in entries if entry["kind"].startswith(("try.", "tries."))}
    yield from (entry for entry in entries if entry["kind"] != "delivery.made" or entry["subject"] not in tried)


def _entry(entry: Json, at: datetime, columns: int, long: bool) -> Iterator[tuple[str, str]]:
    clock = f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
    begin = f"{clock} {MARKS.get(entry['tone'], ' ')} {entry['half']:<8}"
    words = entry["words"] + (f" → now {entry['now']}" if entry["now"] else "")
    yield from _wrapped(words, f"{begin:<{INDENT}}", " " * INDENT, columns, entry["tone"])
    took = f"took {duration(entry['took_ms'])}" if entry["took_ms"] is not None else ""
    yield from _wrapped(", ".join(filter(None, (entry["by"], took))), " " * INDENT, " " * INDENT, columns, "soft")
    for id in dict.fromkeys((entry["subject"], entry["reference"]) if long else ()):
        if id and id not in entry["words"]:
            yield from _wrapped(id, " " * INDENT, " " * INDENT, columns, "soft")


def _wrapped(text: str, begin: str, then: str, columns: int, tone: str) -> Iterator[tuple[str, str]]:
    # An id is never broken: whoever copies it wants it whole. The longest of ours fits.
    wrapped = textwrap.wrap(
        text, columns, initial_indent=begin, subsequent_indent=then, break_on_hyphens=False, break_long_words=False
    )
    yield from ((line, tone) for line in wrapped)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
