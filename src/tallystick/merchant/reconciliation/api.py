"""The routes of reconciliation: runs, mismatches, a day's report, and a file that is handed in (DESIGN §6)."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date
from typing import Annotated, Final, Literal

import msgspec
from litestar import Response, get, post
from litestar.exceptions import InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from msgspec import Meta, Struct

from tallystick.kernel.identifiers import new_id
from tallystick.kernel.problems import FieldError, FieldsRefused, Malformed, TooLarge
from tallystick.kernel.requests import NoQuery, query
from tallystick.merchant import answers
from tallystick.merchant.accounts.directory import Merchant
from tallystick.merchant.errors import NotFound
from tallystick.merchant.reconciliation import report
from tallystick.merchant.reconciliation.comparing import RunKey
from tallystick.merchant.reconciliation.job import PREFIX, request_corrected, request_run
from tallystick.merchant.reconciliation.taking import SQL
from tallystick.merchant.reconciliation.view import (
    MismatchPage,
    MismatchView,
    RunPage,
    RunView,
    file_view,
    mismatch_view,
    run_view,
)
from tallystick.merchant.requests import PAGE_ROWS, Call, IdCursor, Limit, allowed_methods, body
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError
from tallystick.ports.entropy import Entropy

FILE_BYTES_MAX: Final = 1024 * 1024 * 1024
PIECE_BYTES: Final = 1024 * 1024
REPORT_ROWS_MAX: Final = 5_000  # of a page that a person reads; the CSV has all
REPORT_PAGE: Final = 1_000
CURSOR: Final = "/"  # between the parts of a cursor; the last may hold one
Place = tuple[str, str, str]
FIRST: Final[Place] = ("", "", "")

# Names may hold spaces, and Adyen's lines are named by four fields of theirs.
Cursor = Annotated[str, Meta(max_length=1_200, pattern="^[ -~]+$", description="next_cursor of the page before.")]
Id = Annotated[str, Meta(max_length=100, pattern="^[A-Za-z0-9_]+$", description="Of this run alone.")]


class RunsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/reconciliations`."""

    limit: Limit = PAGE_ROWS
    cursor: IdCursor | None = None


class MismatchesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/mismatches`."""

    limit: Limit = PAGE_ROWS
    reconciliation: Id | None = None
    cursor: Cursor | None = None


class ReportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/reconciliations/{id}/report`."""

    format: Annotated[Literal["html", "csv"], Meta(description="A page to read, or a table.")] = "html"


class Reconcile(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/reconciliations`: a day that is to be reconciled."""

    date: Annotated[date, Meta(description="The business day, UTC.")]
    connection: Annotated[str, Meta(max_length=100, description="Optional where there is one.")] | None = None
    dry_run: Annotated[bool, Meta(description="Show what would be done, and do nothing.")] = False
    corrected: Annotated[
        bool, Meta(description="The gateway has corrected its reports: compare this day and those after it again.")
    ] = False


class FileQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/reconciliations/files`: what the body is."""

    format: Annotated[Literal["stripe", "adyen", "camt053"], Meta(description="The layout of the file.")]
    date: Annotated[date, Meta(description="The business day that it is about, UTC.")]
    connection: Annotated[str, Meta(max_length=100, description="Optional where there is one.")] | None = None
    dry_run: Annotated[bool, Meta(description="Show what would be done, and do nothing.")] = False


def reconciliation_routes(database: Database, clock: Clock, entropy: Entropy) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @get("/v1/reconciliations")
    async def list_runs(request: Call) -> Response[bytes]:
        wanted = query(request, RunsQuery)
        rows = await database.rows(SQL.list_runs, request.auth.merchant_id, wanted.cursor, wanted.limit + 1)
        data = tuple(run_view(row) for row in rows[: wanted.limit])
        return answers.json(RunPage(data, data[-1].id if len(rows) > wanted.limit else None))

    @post("/v1/reconciliations")
    async def reconcile(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        wanted, _ = await body(request, Reconcile)
        connection_id = _connection(request.auth, wanted.connection)
        at = clock.now()
        key = RunKey(request.auth.merchant_id, new_id(PREFIX, at, entropy))
        if wanted.corrected and not wanted.dry_run:
            await request_corrected(database, key.merchant_id, connection_id, wanted.date, at, entropy)
        row = await request_run(
            database, key, connection_id, wanted.date, "gateway", at, requested_by="api", dry_run=wanted.dry_run
        )
        return answers.encoded(msgspec.json.encode(run_view(row)), 202)

    @post("/v1/reconciliations/files", request_max_body_size=FILE_BYTES_MAX)
    async def hand_in(request: Call) -> Response[bytes]:
        wanted = query(request, FileQuery)
        connection_id = _connection(request.auth, wanted.connection)
        at = clock.now()
        key = RunKey(request.auth.merchant_id, new_id(PREFIX, at, entropy))
        await _keep_pieces(database, key, request)
        row = await request_run(
            database, key, connection_id, wanted.date, wanted.format, at, requested_by="api", dry_run=wanted.dry_run
        )
        if row["reconciliation_id"] != key.reconciliation_id:
            await database.execute(SQL.delete_pieces, *key)  # that day's file was handed in before
        return answers.encoded(msgspec.json.encode(run_view(row)), 202)

    @get("/v1/reconciliations/{run_id:str}")
    async def show_run(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        return answers.json(await _run(database, request))

    @get("/v1/reconciliations/{run_id:str}/report")
    async def show_report(request: Call) -> Response[str] | Stream:
        wanted = query(request, ReportQuery)
        run = await _run(database, request)
        merchant_id = request.auth.merchant_id
        if wanted.format == "csv":
            return Stream(_table(database, merchant_id, run), media_type="text/csv", headers=report.HEADERS)
        found = await _mismatches(database, merchant_id, run.id, FIRST, REPORT_ROWS_MAX + 1)
        text = report.page(run, found[:REPORT_ROWS_MAX], more=len(found) > REPORT_ROWS_MAX)
        return Response(text, media_type="text/html", headers=report.HEADERS)

    @get("/v1/mismatches")
    async def list_mismatches(request: Call) -> Response[bytes]:
        wanted = query(request, MismatchesQuery)
        merchant_id, place = request.auth.merchant_id, _place(wanted.cursor)
        found = await _mismatches(database, merchant_id, wanted.reconciliation, place, wanted.limit + 1)
        data = tuple(found[: wanted.limit])
        return answers.json(MismatchPage(data, CURSOR.join(_place_of(data[-1])) if len(found) > wanted.limit else None))

    return [
        allowed_methods("/v1/reconciliations", "GET, OPTIONS, POST"),
        list_runs,
        reconcile,
        hand_in,
        show_run,
        show_report,
        list_mismatches,
    ]


async def _run(database: Database, request: Call) -> RunView:
    """The run in the path, if it is one of the caller's. Raises NotFound."""
    run_id: str = request.path_params["run_id"]
    if not (run_id.isascii() and run_id.isprintable()):
        raise NotFound
    key = (request.auth.merchant_id, run_id)
    rows = await database.rows(SQL.find_run, *key)
    if not rows:
        raise NotFound
    return run_view(rows[0], tuple(file_view(row) for row in await database.rows(SQL.list_files, *key)))


async def _mismatches(
    database: Database, merchant_id: str, run_id: str | None, after: Place, rows_max: int
) -> list[MismatchView]:
    rows = await database.rows(SQL.list_mismatches, merchant_id, run_id, *after, rows_max)
    return [mismatch_view(row) for row in rows]


async def _table(database: Database, merchant_id: str, run: RunView) -> AsyncIterator[str]:
    """All mismatches of a run as CSV, page by page."""
    yield report.table(run, (), head=True)
    after = FIRST
    while found := await _mismatches(database, merchant_id, run.id, after, REPORT_PAGE):
        yield report.table(run, found, head=False)
        after = _place_of(found[-1])


async def _keep_pieces(database: Database, key: RunKey, request: Call) -> None:
    """The body in the database, all of it or nothing. Raises TooLarge, and Malformed where it breaks off."""
    number = 0
    try:
        async for piece in _pieces(request):
            number += 1
            await database.execute(SQL.insert_piece, *key, number, piece)
    except Exception as error:
        with suppress(DatabaseError):  # then they go with those of processes that died
            await database.execute(SQL.delete_pieces, *key)
        if isinstance(error, InternalServerException):  # how the framework says it; nobody listens any more
            raise Malformed from None
        raise


async def _pieces(request: Call) -> AsyncIterator[bytes]:
    """The body in pieces of one size. Raises TooLarge."""
    held, size = bytearray(), 0
    async for block in request.stream():
        held += block
        size += len(block)
        if size > FILE_BYTES_MAX:
            raise TooLarge(f"A file has at most {FILE_BYTES_MAX} bytes.")
        while len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    if held:
        yield bytes(held)


def _connection(merchant: Merchant, connection_id: str | None) -> str:
    """The connection that is meant. Raises FieldsRefused."""
    connection = merchant.connection(connection_id)
    if connection is None:
        raise FieldsRefused("See errors.", errors=[FieldError("connection", "name one of your connections")])
    return connection.connection_id


def _place(cursor: str | None) -> Place:
    """Where a cursor points to. Raises FieldsRefused."""
    if cursor is None:
        return FIRST
    parts = cursor.split(CURSOR, 2)
    if len(parts) != 3:
        raise FieldsRefused("See errors.", errors=[FieldError("cursor", "is none of ours")])
    return parts[0], parts[1], parts[2]


def _place_of(found: MismatchView) -> Place:
    return found.reconciliation, found.code, found.subject
