"""`/operator/v1/clock`: the sandbox's time. There only where the setting `sandbox_clock` is on."""

from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.requests import NoQuery, body, query
from tallystick.kernel.sandbox.clock import ADVANCE_S_MAX, SandboxTime


class Advance(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /operator/v1/clock`: by how many seconds the time is to move forward."""

    advance_s: Annotated[float, Meta(gt=0, le=ADVANCE_S_MAX)]


def clock_routes(time: SandboxTime) -> list[HTTPRouteHandler]:
    """Show the sandbox's time, and move it forward: 202, it goes on by itself until `now` is `target_at`."""

    @get("/clock")
    async def show(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answer(await time.standing())

    @post("/clock")
    async def advance(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        asked = await body(request, Advance)
        return answer(await time.advance(asked.advance_s), 202)

    return [show, advance]
