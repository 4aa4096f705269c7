"""`GET /operator/v1/timelines/{id}`: the gateway's half of a payment's timeline (RULES §13)."""

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tallystick.gateway.timeline.timeline import Timelines
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import NotFound
from tallystick.kernel.requests import query
from tallystick.kernel.timeline.operating import Id, TimelineQuery, place_of_query


class Asked(TimelineQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page; `account`: only if the payment is this one's."""

    account: Id | None = None


def timeline_routes(timelines: Timelines) -> list[HTTPRouteHandler]:
    """Explain a payment, by any id of it."""

    @get("/timelines/{id:str}")
    async def explain(request: Call, id: FromPath[str]) -> Response[bytes]:
        asked = query(request, Asked)
        after = place_of_query(asked)
        found = await timelines.find(id, account=asked.account)
        if found is None:
            raise NotFound
        return answer(await timelines.read(found, after=after, rows_max=asked.limit))

    return [explain]
