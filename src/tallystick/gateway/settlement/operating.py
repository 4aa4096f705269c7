"""`/operator/v1/settlements`: the reports of an account, closing what has ended, correcting what was wrong."""

import datetime
from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.gateway.settlement.closing import SQL, report_of
from tallystick.gateway.settlement.report import Report
from tallystick.gateway.settlement.worker import Settlement
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.requests import NoQuery, body, query
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

PAGE_ROWS_MAX = 100
LAST_ID = "~"  # sorts after every id

AccountId = Annotated[str, Meta(pattern="^acct_[0-9A-Za-z]{1,64}$")]
Id = Annotated[str, Meta(pattern="^[0-9A-Za-z_]{1,255}$")]


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /operator/v1/settlements`: an account's reports, the newest first, of one day where one is named."""

    account: AccountId
    date: datetime.date | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX
    cursor: Id | None = None


class Settle(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /operator/v1/settlements`: close every day that has ended, up to `date`; of one account or of all."""

    date: datetime.date | None = None
    account: AccountId | None = None


class Correct(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /operator/v1/settlements/correct`: new revisions of an account's reports from `date` on."""

    account: AccountId
    date: datetime.date


class Shown(Struct, frozen=True, kw_only=True):
    """A report as operators see it. Amounts in minor units of the currency on the wire."""

    account: str
    livemode: bool
    id: str
    currency: str
    date: datetime.date
    revision: int
    sequence: int
    lines: int
    gross: int
    fee: int
    net: int
    opening: int
    closing: int
    sha256: str
    faults: int


class Page(Struct, frozen=True):
    """Reports. `next_cursor` is null on the last page, and of what was just written."""

    data: list[Shown]
    next_cursor: str | None = None


def settlement_routes(settlement: Settlement, database: Database, clock: Clock) -> list[HTTPRouteHandler]:
    """List reports, close days, correct reports."""

    @get("/settlements")
    async def list_all(request: Call) -> Response[bytes]:
        wanted = query(request, Wanted)
        rows = await database.rows(
            SQL.list_reports, wanted.account, wanted.date, wanted.cursor or LAST_ID, wanted.limit + 1
        )
        page = [_shown(report_of(row)) for row in rows[: wanted.limit]]
        return answer(Page(page, page[-1].id if len(rows) > wanted.limit else None))

    @post("/settlements")
    async def settle(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        asked = await body(request, Settle)
        until = asked.date or clock.now().date()
        return answer(Page([_shown(one) for one in await settlement.close_until(until, asked.account)]))

    @post("/settlements/correct")
    async def correct(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        asked = await body(request, Correct)
        return answer(Page([_shown(one) for one in await settlement.correct(asked.account, asked.date)]))

    return [list_all, settle, correct]


def _shown(report: Report) -> Shown:
    return Shown(
        account=report.account_id,
        livemode=report.livemode,
        id=report.id,
        currency=report.currency,
        date=report.day,
        revision=report.revision,
        sequence=report.sequence,
        lines=report.lines,
        gross=report.gross,
        fee=report.fee,
        net=report.net,
        opening=report.opening,
        closing=report.closing,
        sha256=report.sha256,
        faults=len(report.faults),
    )
