"""The routes of cases: list and show. What is done about one, two people decide who are operators (`operating.py`)."""

from typing import Annotated, Literal

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.requests import NoQuery, query
from tallystick.merchant import answers
from tallystick.merchant.cases.cases import Case, find_case, list_cases
from tallystick.merchant.errors import NotFound
from tallystick.merchant.requests import PAGE_ROWS, Call, IdCursor, Limit
from tallystick.ports.database import Database


class CasesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/cases`."""

    limit: Limit = PAGE_ROWS
    state: Annotated[Literal["open", "closed", "any"], Meta(description="Only cases in this state.")] = "any"
    cursor: IdCursor | None = None


class CasePage(Struct, frozen=True):
    """A page of cases, the newest first. `next_cursor` is null on the last page."""

    data: tuple[Case, ...]
    next_cursor: str | None


def case_routes(database: Database) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @get("/v1/cases")
    async def show_cases(request: Call) -> Response[bytes]:
        wanted = query(request, CasesQuery)
        found = await list_cases(
            database,
            request.auth.merchant_id,
            state=None if wanted.state == "any" else wanted.state,
            before=wanted.cursor,
            rows_max=wanted.limit + 1,
        )
        data = tuple(found[: wanted.limit])
        return answers.json(CasePage(data, data[-1].id if len(found) > wanted.limit else None))

    @get("/v1/cases/{case_id:str}")
    async def show_case(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        case_id: str = request.path_params["case_id"]
        known = case_id.isascii() and case_id.isprintable()
        found = await find_case(database, request.auth.merchant_id, case_id) if known else None
        if found is None:
            raise NotFound
        return answers.json(found)

    return [show_cases, show_case]
