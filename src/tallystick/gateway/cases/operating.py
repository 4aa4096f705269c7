"""`/operator/v1/cases`: what a person must see or decide about payments, and closing it with a note."""

from typing import Annotated, Literal

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.gateway.cases.cases import Case, Cases
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import Conflict
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.requests import NoQuery, body, query

PAGE_ROWS_MAX = 100
CURSOR = "/"  # between account and id; neither holds one

Id = Annotated[str, Meta(pattern="^[0-9A-Za-z_]{1,255}$")]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /operator/v1/cases`."""

    account: Id | None = None
    state: Literal["open", "closed", "any"] = "any"
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX
    cursor: Annotated[str, Meta(max_length=600, pattern="^[!-~]+$")] = ""


class Page(Struct, frozen=True):
    """A page of cases. `next_cursor` is null on the last page."""

    data: list[Case]
    next_cursor: str | None


class Closing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /operator/v1/cases/{id}/close`: what was done about it."""

    account: Id
    note: Annotated[str, Meta(min_length=1, max_length=5_000)]
    livemode: bool = False


class Closed(Struct, frozen=True):
    """It is closed, with the note and the operator's name."""

    id: str
    state: str = "closed"


def case_routes(cases: Cases) -> list[HTTPRouteHandler]:
    """List cases, and close one."""

    @get("/cases")
    async def list_all(request: Call) -> Response[bytes]:
        wanted = query(request, Wanted)
        account, _, id = wanted.cursor.partition(CURSOR)
        rows = await cases.page(
            (account, id),
            wanted.limit + 1,
            account=wanted.account,
            state=None if wanted.state == "any" else wanted.state,
        )
        page = rows[: wanted.limit]
        more = f"{page[-1].account}{CURSOR}{page[-1].id}" if len(rows) > wanted.limit else None
        return answer(Page(page, more))

    @post("/cases/{case_id:str}/close")
    async def close_one(request: Call, case_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        await close(cases, case_id, await body(request, Closing), request.auth.name)
        return answer(Closed(case_id))

    return [list_all, close_one]


async def close(cases: Cases, case_id: str, closing: Closing, operator: str) -> None:
    """Close a case, whoever asks for it by whatever door. Raises FieldsRefused, Conflict."""
    if not closing.note.strip() or "\x00" in closing.note:
        raise FieldsRefused("See errors.", errors=[FieldError("note", "say what was done about it")])
    if not await cases.close(closing.account, closing.livemode, case_id, note=closing.note, operator=operator):
        raise Conflict("There is no open case of that id; perhaps somebody has closed it.")
