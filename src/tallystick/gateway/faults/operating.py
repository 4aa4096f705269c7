"""`/operator/v1/faults`: set, list and clear what the sandbox does wrong."""

from typing import Annotated

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.gateway.faults.faults import DELAY_S_MAX, KINDS, Fault, Faults, NewFault, Place
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import NotFound
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.requests import NoQuery, body, query

CALLS_MAX = 1_000_000
DELAYED = ("slow", "delay")


class AddFault(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /operator/v1/faults`: for the next `calls` calls, a `share_pct` of them, or both; of one account or all."""

    place: Place
    kind: str
    account: Annotated[str, Meta(pattern="^acct_[0-9A-Za-z]{1,64}$")] | None = None
    share_pct: Annotated[int, Meta(ge=1, le=100)] | None = None
    calls: Annotated[int, Meta(ge=1, le=CALLS_MAX)] | None = None
    delay_s: Annotated[float, Meta(gt=0, le=DELAY_S_MAX)] | None = None


class Added(Struct, frozen=True):
    """The fault is set."""

    id: str


class Listed(Struct, frozen=True):
    """All faults, spent ones too."""

    data: list[Fault]
    next_cursor: None = None


class Cleared(Struct, frozen=True):
    """How many faults were cleared."""

    cleared: int


def fault_routes(faults: Faults) -> list[HTTPRouteHandler]:
    """Set, list and clear faults."""

    @get("/faults")
    async def list_all(request: Call) -> Response[bytes]:
        return answer(Listed(await faults.all()))

    @post("/faults")
    async def add(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        new = checked(await body(request, AddFault))
        return answer(Added(await faults.add(new, request.auth.name)), 201)

    @delete("/faults", status_code=200)
    async def clear_all(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answer(Cleared(await faults.clear()))

    @delete("/faults/{fault_id:str}", status_code=200)
    async def clear_one(request: Call, fault_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        cleared = await faults.clear(fault_id)
        if not cleared:
            raise NotFound
        return answer(Cleared(cleared))

    return [list_all, add, clear_all, clear_one]


def checked(asked: AddFault) -> NewFault:
    """The fault that is asked for, by whatever door. Raises FieldsRefused."""
    if asked.kind not in KINDS[asked.place]:
        kinds = ", ".join(KINDS[asked.place])
        raise FieldsRefused("See errors.", errors=[FieldError("kind", f"one of {kinds}")])
    if asked.delay_s is not None and asked.kind not in DELAYED:
        raise FieldsRefused("See errors.", errors=[FieldError("delay_s", f"{asked.kind} knows no delay")])
    return NewFault(
        place=asked.place,
        kind=asked.kind,
        account=asked.account,
        share_pct=asked.share_pct,
        calls=asked.calls,
        delay_s=asked.delay_s,
    )
