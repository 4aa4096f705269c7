"""What the operators' routes of both timelines take."""

from typing import Annotated

from msgspec import Meta, Struct

from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.timeline.entries import BEGINNING, PAGE_ROWS, PAGE_ROWS_MAX, CursorRefused, Place, place_of

Id = Annotated[str, Meta(pattern="^[0-9A-Za-z_]{1,255}$")]


class TimelineQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of a timeline."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500, description="next_cursor of the page before.")] | None = None


def place_of_query(asked: TimelineQuery) -> Place:
    """Where the page begins. Raises FieldsRefused."""
    if asked.cursor is None:
        return BEGINNING
    try:
        return place_of(asked.cursor)
    except CursorRefused as refused:
        raise FieldsRefused("See errors.", errors=[FieldError("cursor", str(refused))]) from None
