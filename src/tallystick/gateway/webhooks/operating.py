"""What operators do with webhooks, under /operator/v1: dead letters, redrives, endpoints, secrets (RULES §6)."""

from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.gateway.webhooks.dead_letters import Attempt, DeadLetter, DeadLetters
from tallystick.gateway.webhooks.rotation import OVERLAP_S, OVERLAP_S_MAX, roll_secrets
from tallystick.kernel.delivery.operating import (
    PAGE_ROWS,
    PAGE_ROWS_MAX,
    cursor,
    place_of,
    redrive_routes,
    standing_route,
)
from tallystick.kernel.delivery.redrive import RATE, RATE_MAX, Filter, Instant, Redrives, Word
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import NotFound
from tallystick.kernel.requests import NoQuery, body, query
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy


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
    return [
        *_letter_routes(letters),
        *redrive_routes(redrives, NewRedrive),
        standing_route(Standings(database, clock)),
        _rolling(database, clock, entropy),
    ]


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


def cursor_of(letter: DeadLetter) -> str:
    """Where the page behind `letter` begins."""
    return cursor(letter.died_at, letter.account, letter.id)
