"""What operators do with notifications, under /operator/v1: dead letters and redrives (RULES §6)."""

from datetime import datetime
from typing import Annotated, Final

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.kernel.delivery.redrive import RATE, RATE_MAX, Filter, Instant, Place, Redrive, Redrives, Word
from tallystick.kernel.operators.api import Call, NoQuery, answer, body, query
from tallystick.kernel.operators.problems import FieldError, FieldsRefused, NotFound
from tallystick.merchant.notifications.dead_letters import NEVER, DeadLetter, DeadLetters

PAGE_ROWS: Final = 20
PAGE_ROWS_MAX: Final = 100


class Which(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters: all that fit everything that is given."""

    delivery: Word | None = None
    merchant: Word | None = None
    endpoint: Word | None = None
    type: Word | None = None
    reason: Word | None = None
    ours: bool | None = None
    since: Instant | None = None
    until: Instant | None = None

    def filter(self) -> Filter:
        """As the engine takes it."""
        given = {name: getattr(self, name) for name in Which.__struct_fields__ if name != "merchant"}
        return Filter(owner=self.merchant, **given)


class LettersQuery(Which, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /operator/v1/dead-letters`."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=200)] | None = None


class NewRedrive(Which, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /operator/v1/redrives`. Without any filter `all` must be true: nobody redrives everything by mistake."""

    all: bool = False
    rate_max: Annotated[int, Meta(ge=1, le=RATE_MAX)] = RATE
    dry_run: bool = False


class LettersPage(Struct, frozen=True):
    """Some dead letters, the first to die first; `next_cursor` leads to the page behind."""

    data: list[DeadLetter]
    next_cursor: str | None


class DryRun(Struct, frozen=True):
    """What a redrive would concern."""

    matched: int
    dry_run: bool = True


class RedrivesPage(Struct, frozen=True):
    """The newest redrives first."""

    data: list[Redrive]


def letter_routes(letters: DeadLetters, redrives: Redrives) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @get("/dead-letters")
    async def list_letters(request: Call) -> Response[bytes]:
        wanted = query(request, LettersQuery)
        after = NEVER if wanted.cursor is None else _place_of(wanted.cursor)
        found = await letters.page(wanted.filter(), after=after, letters_max=wanted.limit + 1)
        page = found[: wanted.limit]
        return answer(LettersPage(page, _cursor_of(page[-1]) if len(found) > wanted.limit else None))

    @post("/redrives")
    async def create(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        asked = await body(request, NewRedrive)
        if asked.filter() == Filter() and not asked.all:
            raise FieldsRefused("Say which dead letters, or `all`.", errors=[FieldError("all", "nothing is chosen")])
        if asked.dry_run:
            return answer(DryRun(await redrives.count(asked.filter())))
        return answer(await redrives.create(asked.filter(), rate_max=asked.rate_max, by=request.auth.name), 201)

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

    return [list_letters, create, list_redrives, show, cancel]


def _there(redrive: Redrive | None) -> Redrive:
    if redrive is None:
        raise NotFound
    return redrive


def _cursor_of(letter: DeadLetter) -> str:
    return f"{letter.died_at.isoformat()}~{letter.merchant}~{letter.id}"


def _place_of(cursor: str) -> Place:
    """The place that a cursor names. Raises FieldsRefused."""
    try:
        at, owner_id, id = cursor.split("~")
        place = Place(datetime.fromisoformat(at), owner_id, id)
    except ValueError:
        place = None
    if place is None or place.at.tzinfo is None or "\x00" in cursor:
        raise FieldsRefused("See errors.", errors=[FieldError("cursor", "no next_cursor of ours")])
    return place
