"""What operators do with notifications, under /operator/v1: dead letters, redrives and endpoints (RULES §6)."""

from typing import Annotated

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

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
from tallystick.kernel.requests import query
from tallystick.merchant.notifications.dead_letters import NEVER, DeadLetter, DeadLetters


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


def letter_routes(letters: DeadLetters, redrives: Redrives, standings: Standings) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @get("/dead-letters")
    async def list_letters(request: Call) -> Response[bytes]:
        wanted = query(request, LettersQuery)
        after = NEVER if wanted.cursor is None else place_of(wanted.cursor)
        found = await letters.page(wanted.filter(), after=after, letters_max=wanted.limit + 1)
        page = found[: wanted.limit]
        return answer(LettersPage(page, _cursor_of(page[-1]) if len(found) > wanted.limit else None))

    return [list_letters, *redrive_routes(redrives, NewRedrive), standing_route(standings)]


def _cursor_of(letter: DeadLetter) -> str:
    return cursor(letter.died_at, letter.merchant, letter.id)
