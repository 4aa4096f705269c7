"""What operators of both services do under /operator/v1: redrives, and how endpoints stand (RULES §6)."""

from datetime import datetime
from typing import Annotated, Final, Protocol

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.kernel.delivery.redrive import Filter, Place, Redrive, Redrives, Word
from tallystick.kernel.delivery.standing import Standing, Standings
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import NotFound
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.requests import NoQuery, body, query

PAGE_ROWS: Final = 20
PAGE_ROWS_MAX: Final = 100  # one page is one statement and one answer; both stay small


class NewRedrive(Protocol):
    """What `POST /operator/v1/redrives` takes; each service has its own names for the filter."""

    @property
    def all(self) -> bool: ...

    @property
    def rate_max(self) -> int: ...

    @property
    def dry_run(self) -> bool: ...

    def filter(self) -> Filter:
        """Which dead letters, as the engine takes it."""
        ...


class DryRun(Struct, frozen=True):
    """What a redrive would concern."""

    matched: int
    dry_run: bool = True


class RedrivesPage(Struct, frozen=True):
    """The newest redrives first."""

    data: list[Redrive]


class StandingsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /operator/v1/endpoints`."""

    endpoint: Word | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX


class StandingsPage(Struct, frozen=True):
    """Endpoints that are not well, or have something held."""

    data: list[Standing]


def redrive_routes(redrives: Redrives, asked: type[NewRedrive]) -> list[HTTPRouteHandler]:
    """Begin, list, show and cancel redrives; `asked` is what a request for one says."""

    @post("/redrives")
    async def create(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        wanted = await body(request, asked)
        if wanted.filter() == Filter() and not wanted.all:
            raise FieldsRefused("Say which dead letters, or `all`.", errors=[FieldError("all", "nothing is chosen")])
        if wanted.dry_run:
            return answer(DryRun(await redrives.count(wanted.filter())))
        return answer(await redrives.create(wanted.filter(), rate_max=wanted.rate_max, by=request.auth.name), 201)

    @get("/redrives")
    async def list_redrives(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answer(RedrivesPage(await redrives.newest()))

    @get("/redrives/{redrive_id:str}")
    async def show(request: Call, redrive_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        return answer(_there(await redrives.find(redrive_id)))

    @post("/redrives/{redrive_id:str}/cancel")
    async def cancel(request: Call, redrive_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        return answer(_there(await redrives.cancel(redrive_id)))

    return [create, list_redrives, show, cancel]


def standing_route(standings: Standings) -> HTTPRouteHandler:
    """How endpoints stand."""

    @get("/endpoints")
    async def list_standings(request: Call) -> Response[bytes]:
        wanted = query(request, StandingsQuery)
        return answer(StandingsPage(await standings.ailing(endpoint=wanted.endpoint, rows_max=wanted.limit)))

    return list_standings


def cursor(died_at: datetime, owner_id: str, id: str) -> str:
    """Where the page behind a dead letter begins."""
    return f"{died_at.isoformat()}~{owner_id}~{id}"


def place_of(cursor: str) -> Place:
    """The place that a cursor names. Raises FieldsRefused."""
    try:
        at, owner_id, id = cursor.split("~")
        place = Place(datetime.fromisoformat(at), owner_id, id)
    except ValueError:
        place = None
    if place is None or place.at.tzinfo is None or "\x00" in cursor:
        raise FieldsRefused("See errors.", errors=[FieldError("cursor", "no next_cursor of ours")])
    return place


def _there(redrive: Redrive | None) -> Redrive:
    if redrive is None:
        raise NotFound
    return redrive
