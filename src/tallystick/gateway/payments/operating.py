"""`/operator/v1/unknown-outcomes`: what may or may not have happened at the acquirer, and ending it with evidence."""

from typing import Annotated, Literal

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.gateway.payments.resolving import NotUnknown, Resolution, Resolving, UnknownOutcome
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import Conflict
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.requests import NoQuery, body, query

PAGE_ROWS_MAX = 100
CURSOR = "/"  # between account and id; neither holds one

Id = Annotated[str, Meta(pattern="^[0-9A-Za-z_]{1,255}$")]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /operator/v1/unknown-outcomes`. `cases`: only those that a person must look at."""

    account: Id | None = None
    cases: bool = False
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX
    cursor: Annotated[str, Meta(max_length=600, pattern="^[!-~]+$")] = ""


class Page(Struct, frozen=True):
    """A page of unknown outcomes. `next_cursor` is null on the last page."""

    data: list[UnknownOutcome]
    next_cursor: str | None


class Found(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /operator/v1/unknown-outcomes/{id}/resolve`: what happened, and how one knows."""

    account: Id
    outcome: Literal["done", "refused"]
    evidence: Annotated[str, Meta(min_length=1, max_length=5_000)]
    reference: Annotated[str, Meta(min_length=1, max_length=255, pattern="^[ -~]+$")] | None = None
    livemode: bool = False


class Resolved(Struct, frozen=True):
    """It is recorded as if the acquirer had said it."""

    id: str
    outcome: str


def unknown_outcome_routes(resolving: Resolving) -> list[HTTPRouteHandler]:
    """List unknown outcomes, and resolve one."""

    @get("/unknown-outcomes")
    async def list_all(request: Call) -> Response[bytes]:
        wanted = query(request, Wanted)
        account, _, id = wanted.cursor.partition(CURSOR)
        rows = await resolving.unknown((account, id), wanted.limit + 1, account=wanted.account, cases=wanted.cases)
        page = rows[: wanted.limit]
        more = f"{page[-1].account}{CURSOR}{page[-1].id}" if len(rows) > wanted.limit else None
        return answer(Page(page, more))

    @post("/unknown-outcomes/{object_id:str}/resolve")
    async def resolve_one(request: Call, object_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        found = await body(request, Found)
        await resolve(resolving, object_id, found, request.auth.name)
        return answer(Resolved(object_id, found.outcome))

    return [list_all, resolve_one]


async def resolve(resolving: Resolving, object_id: str, found: Found, operator: str) -> None:
    """End an unknown outcome with evidence, whoever found it by whatever door. Raises FieldsRefused, Conflict."""
    if found.outcome == "done" and found.reference is None:
        raise _refused("reference", "the acquirer's own, where it was done")
    if not found.evidence.strip() or "\x00" in found.evidence:
        raise _refused("evidence", "say how you know")
    resolution = Resolution(
        account=found.account,
        livemode=found.livemode,
        id=object_id,
        outcome=found.outcome,
        evidence=found.evidence,
        operator=operator,
        reference=found.reference,
    )
    try:
        await resolving.resolve(resolution)
    except NotUnknown:
        raise Conflict("There is no unknown outcome of that id; perhaps it has become known.") from None


def _refused(field: str, message: str) -> FieldsRefused:
    return FieldsRefused("See errors.", errors=[FieldError(field, message)])
