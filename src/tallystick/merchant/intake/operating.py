"""The operator's routes of the intake: inbound dead letters, and how far a connection's events are known (RULES §7)."""

from datetime import datetime
from typing import Annotated, Final, Literal

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.identifiers import owner_of
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import Conflict, NotFound
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.requests import NoQuery, body, query
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX
from tallystick.merchant.intake.again import Again, Unapplied, Word
from tallystick.merchant.intake.backfill import Wanted, want_backfills
from tallystick.merchant.intake.commands import SQL, EventKey
from tallystick.merchant.intake.inbox import InboxWorker
from tallystick.merchant.orders.rows import InboxState
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record

PAGE_ROWS: Final = 20
PAGE_ROWS_MAX: Final = 100
CURSOR: Final = "/"  # between the parts of a cursor; no id holds one


class InboxQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /operator/v1/inbox`."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    state: Literal["parked", "failed"] | None = None
    cursor: Annotated[str, Meta(max_length=600, pattern="^[!-~]+$")] = ""


class WebhookView(Struct, frozen=True):
    """A webhook that came to nothing so far. `due_at` is null once it is tried no more by itself: a dead letter."""

    merchant: str
    connection: str
    event: str
    type: str
    order: str | None
    state: InboxState
    error: str | None
    tries: int
    due_at: datetime | None
    received_at: datetime


class WebhookPage(Struct, frozen=True):
    """A page of webhooks. `next_cursor` is null on the last page."""

    data: tuple[WebhookView, ...]
    next_cursor: str | None


class RunAgain(Unapplied, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /operator/v1/inbox/run`: which are tried again, of one merchant, of a connection, or of all."""

    merchant: Word | None = None
    all: bool = False
    dry_run: bool = False


class RanAgain(Struct, frozen=True):
    """How many fit, and how many of them are due now because of it: the others were, or are just being tried."""

    matched: int
    due: int
    dry_run: bool


class WatchView(Struct, frozen=True):
    """How far a connection's events are known. A backfill is wanted or under way where `backfill_from` is not null."""

    connection: str
    watched_at: datetime | None
    backfill_from: datetime | None
    backfill_cursor: str | None
    backfilled_at: datetime | None


class WantBackfill(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /operator/v1/connections/{connection}/backfill`: compare the gateway's events since then."""

    since: Annotated[datetime, Meta(tz=True)]


def inbox_routes(database: Database, inbox: InboxWorker, clock: Clock) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""
    again = Again(database, clock)

    @get("/inbox")
    async def list_inbox(request: Call) -> Response[bytes]:
        wanted = query(request, InboxQuery)
        behind = (*wanted.cursor.split(CURSOR), "", "", "")[:3]
        rows = await database.rows(SQL.list_webhooks, wanted.state, *behind, wanted.limit + 1)
        data = tuple(_webhook(row) for row in rows[: wanted.limit])
        more = len(rows) > wanted.limit
        return answer(WebhookPage(data, CURSOR.join(_key(data[-1])) if more else None))

    @get("/inbox/{connection_id:str}/{event_id:str}")
    async def show_webhook(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answer(await found(_event_key(request)))

    @post("/inbox/{connection_id:str}/{event_id:str}/run")
    async def run_webhook(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = _event_key(request)
        await found(key)
        if not await inbox.run_now(key):
            raise Conflict("It was applied or ignored before, or somebody else is at it right now.")
        return answer(await found(key))

    @post("/inbox/run")
    async def run_webhooks(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        wanted = await body(request, RunAgain)
        which = Unapplied(**{name: getattr(wanted, name) for name in Unapplied.__struct_fields__})
        if which == Unapplied() and wanted.merchant is None and not wanted.all:
            raise FieldsRefused("See errors.", errors=[FieldError("all", "say which webhooks, or all")])
        owners = await again.owners(wanted.merchant, which)
        matched = sum([await again.count(each, which) for each in owners])
        due = 0 if wanted.dry_run else sum([await again.run(each, which) for each in owners])
        return answer(RanAgain(matched, due, wanted.dry_run), 200 if wanted.dry_run else 202)

    @get("/connections/{connection_id:str}")
    async def show_watch(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answer(await watch(*_connection(request)))

    @post("/connections/{connection_id:str}/backfill")
    async def want_backfill(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        wanted = await body(request, WantBackfill)
        merchant_id, connection_id = _connection(request)
        await watch(merchant_id, connection_id)
        await want_backfills(database, [Wanted(merchant_id, connection_id, wanted.since)], clock.now())
        return answer(await watch(merchant_id, connection_id), 202)

    async def found(key: EventKey) -> WebhookView:
        rows = await database.rows(SQL.find_webhook, *key)
        if not rows:
            raise NotFound
        return _webhook(rows[0])

    async def watch(merchant_id: str, connection_id: str) -> WatchView:
        if not await database.rows(SQL.webhook_connection, merchant_id, connection_id):
            raise NotFound
        rows = await database.rows(SQL.find_watch, merchant_id, connection_id)
        return _watch(connection_id, rows[0] if rows else None)

    return [list_inbox, show_webhook, run_webhook, run_webhooks, show_watch, want_backfill]


def _connection(request: Call) -> tuple[str, str]:
    """Owner and id of the connection in the path. Raises NotFound where there can be none."""
    connection_id: str = request.path_params["connection_id"]
    merchant_id = owner_of(connection_id, MERCHANT_PREFIX)
    if merchant_id is None:
        raise NotFound
    return merchant_id, connection_id


def _event_key(request: Call) -> EventKey:
    event_id: str = request.path_params["event_id"]
    if not (event_id.isascii() and event_id.isprintable()):
        raise NotFound
    return EventKey(*_connection(request), event_id)


def _key(view: WebhookView) -> EventKey:
    return EventKey(view.merchant, view.connection, view.event)


def _webhook(row: Record) -> WebhookView:
    return WebhookView(
        merchant=row["merchant_id"],
        connection=row["connection_id"],
        event=row["event_id"],
        type=row["type"],
        order=row["order_id"],
        state=row["state"],
        error=row["error"],
        tries=row["tries"],
        due_at=row["due_at"],
        received_at=row["received_at"],
    )


def _watch(connection_id: str, row: Record | None) -> WatchView:
    if row is None:
        return WatchView(connection_id, None, None, None, None)
    return WatchView(
        connection_id, row["watched_at"], row["backfill_from"], row["backfill_cursor"], row["backfilled_at"]
    )
