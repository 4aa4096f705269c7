"""What operators do with webhooks, under /operator/v1: dead letters, redrives, secrets of endpoints (RULES §6)."""

from datetime import datetime
from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.gateway.webhooks.dead_letters import Attempt, DeadLetter, DeadLetters
from tallystick.gateway.webhooks.rotation import OVERLAP_S, OVERLAP_S_MAX, roll_secrets
from tallystick.kernel.delivery.redrive import RATE, RATE_MAX, Filter, Instant, Place, Redrive, Redrives, Word
from tallystick.kernel.operators.api import Call, NoQuery, answer, body, query
from tallystick.kernel.operators.problems import FieldError, FieldsRefused, NotFound
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy

PAGE_ROWS = 20
PAGE_ROWS_MAX = 100  # one page is one statement and one answer; both stay small


class Which(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters: all that fit everything that is given."""

    delivery: Word | None = None
    account: Word | None = None
    livemode: bool | None = None
    endpoint: Word | None = None
    type: Word | None = None
    reason: Word | None = None
    ours: bool | None = None
    since: Instant | None = None
    until: Instant | None = None

    def filter(self) -> Filter:
        """As the engine takes it."""
        given = {name: getattr(self, name) for name in Which.__struct_fields__ if name != "account"}
        return Filter(owner=self.account, **given)


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
    """Some dead letters, the last to die first; `next_cursor` leads to the page behind."""

    data: list[DeadLetter]
    next_cursor: str | None


class ShownLetter(Struct, frozen=True):
    """A dead letter with every try."""

    dead_letter: DeadLetter
    attempts: list[Attempt]


class DryRun(Struct, frozen=True):
    """What a redrive would concern."""

    matched: int
    dry_run: bool = True


class RedrivesPage(Struct, frozen=True):
    """The newest redrives first."""

    data: list[Redrive]


class Roll(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /operator/v1/endpoints/{id}/roll-secret`."""

    account: Word
    livemode: bool = False
    overlap_s: Annotated[int, Meta(ge=0, le=OVERLAP_S_MAX)] = OVERLAP_S


class Rolled(Struct, frozen=True):
    """The new secret, shown once."""

    endpoint: str
    secret: str
    overlap_s: int


def operator_routes(
    database: Database, letters: DeadLetters, redrives: Redrives, clock: Clock, entropy: Entropy
) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""
    return [*_letter_routes(letters), *_redrive_routes(redrives), _rolling(database, clock, entropy)]


def _letter_routes(letters: DeadLetters) -> list[HTTPRouteHandler]:
    @get("/dead-letters")
    async def list_letters(request: Call) -> Response[bytes]:
        wanted = query(request, LettersQuery)
        before = None if wanted.cursor is None else place_of(wanted.cursor)
        found = await letters.page(wanted.filter(), before=before, letters_max=wanted.limit + 1)
        page = found[: wanted.limit]
        return answer(LettersPage(page, cursor_of(page[-1]) if len(found) > wanted.limit else None))

    @get("/dead-letters/{delivery_id:str}")
    async def show_letter(request: Call, delivery_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        found = await letters.find(delivery_id)
        if found is None:
            raise NotFound
        return answer(ShownLetter(*found))

    return [list_letters, show_letter]


def _redrive_routes(redrives: Redrives) -> list[HTTPRouteHandler]:
    @post("/redrives")
    async def create(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        asked = await body(request, NewRedrive)
        filter = asked.filter()
        if filter == Filter() and not asked.all:
            raise FieldsRefused("Say which dead letters, or `all`.", errors=[FieldError("all", "nothing is chosen")])
        if asked.dry_run:
            return answer(DryRun(await redrives.count(filter)))
        return answer(await redrives.create(filter, rate_max=asked.rate_max, by=request.auth.name), 201)

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


def _rolling(database: Database, clock: Clock, entropy: Entropy) -> HTTPRouteHandler:
    @post("/endpoints/{endpoint_id:str}/roll-secret")
    async def roll(request: Call, endpoint_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        asked = await body(request, Roll)
        key = (asked.account, asked.livemode, endpoint_id)
        async with database.transaction() as tx:
            rolled = await roll_secrets(tx, {key: asked.overlap_s}, at=clock.now(), entropy=entropy)
        if key not in rolled:
            raise NotFound
        return answer(Rolled(endpoint_id, rolled[key], asked.overlap_s))

    return roll


def _there(redrive: Redrive | None) -> Redrive:
    if redrive is None:
        raise NotFound
    return redrive


def cursor_of(letter: DeadLetter) -> str:
    """Where the page behind `letter` begins."""
    return f"{letter.died_at.isoformat()}~{letter.account}~{letter.id}"


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
