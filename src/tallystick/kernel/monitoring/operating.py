"""`GET /operator/v1/status`: how a service is (RULES §13)."""

from collections.abc import Sequence

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from tallystick.kernel.monitoring.figures import Figure
from tallystick.kernel.monitoring.status import status_of
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.requests import NoQuery, query
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database


def status_routes(service: str, database: Database, figures: Sequence[Figure], clock: Clock) -> list[HTTPRouteHandler]:
    """Say how the service is."""

    @get("/status")
    async def status(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answer(await status_of(service, database, figures, clock))

    return [status]
