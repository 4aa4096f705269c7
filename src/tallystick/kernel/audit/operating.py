"""`/operator/v1/audit`: reading the audit trail. Reading it is an act that it keeps."""

from datetime import datetime
from typing import Annotated, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.audit.trail import Entry, Trail, Wanted
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.requests import query

PAGE_ROWS: Final = 50
PAGE_ROWS_MAX: Final = 200

Word = Annotated[str, Meta(min_length=1, max_length=200, pattern="^[^\\x00]+$")]
Instant = Annotated[datetime, Meta(tz=True)]


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /operator/v1/audit`."""

    operator: Word | None = None
    act: Word | None = None
    subject: Word | None = None
    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(pattern="^aud_[0-9A-Za-z]{1,64}$")] | None = None

    def wanted(self) -> Wanted:
        """As the trail takes it."""
        return Wanted(**{name: getattr(self, name) for name in Wanted.__struct_fields__})


class Page(Struct, frozen=True):
    """Acts, the newest first. `next_cursor` is null on the last page."""

    data: list[Entry]
    next_cursor: str | None


def audit_routes(trail: Trail) -> list[HTTPRouteHandler]:
    """List what operators did."""

    @get("/audit")
    async def list_acts(request: Call) -> Response[bytes]:
        asked = query(request, Asked)
        found = await trail.page(asked.wanted(), before=asked.cursor, rows_max=asked.limit + 1)
        page = found[: asked.limit]
        return answer(Page(page, page[-1].id if len(found) > asked.limit else None))

    return [list_acts]
