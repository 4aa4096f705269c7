"""Reconciliation as pages: the days that were compared, and what did not fit (RULES §11)."""

from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.merchant.console.cases import is_id
from tallystick.merchant.console.merchants import Merchants, said
from tallystick.merchant.reconciliation.taking import SQL
from tallystick.merchant.reconciliation.view import file_view, mismatch_view, run_view
from tallystick.ports.database import Database

DAYS: Final = "/console/reconciliations"
PAGE_ROWS: Final = 50
LIVE_S: Final = 15
CURSOR: Final = "/"  # between code and subject; no code holds one


class DayPages(Struct, frozen=True):
    """What the routes do."""

    merchants: Merchants
    database: Database

    async def list_days(self, request: BrowserRequest) -> Html:
        """Runs of a merchant, the newest first."""
        scope, sent = await self.merchants.scope(request), said(request)
        before = sent.pop("cursor", "")
        if sent or not is_id(before):
            return self.merchants.console.problem(400, request.auth)
        rows = await self.database.rows(SQL.list_runs, scope.id, before or None, PAGE_ROWS + 1)
        runs = [run_view(row) for row in rows[:PAGE_ROWS]]
        shown: dict[str, Any] = {
            "runs": runs,
            "cursor": runs[-1].id if len(rows) > PAGE_ROWS else None,
            "at": before,
            "kept": {"merchant": scope.id},
            "live": None if before else LIVE_S,
        }
        return self.merchants.page("days", request, "Reconciliation", scope, **shown)

    async def show_day(self, request: BrowserRequest) -> Html:
        """One day with its files and its mismatches."""
        scope, run_id = await self.merchants.scope(request), request.path_params["run"]
        rows = await self.database.rows(SQL.find_run, scope.id, run_id) if scope.id and is_id(run_id) else []
        at = said(request).get("cursor", "")
        if not rows or "\x00" in at:
            return self.merchants.console.problem(404, request.auth)
        files = tuple(file_view(row) for row in await self.database.rows(SQL.list_files, scope.id, run_id))
        code, _, subject = at.partition(CURSOR)
        found = await self.database.rows(
            SQL.list_mismatches, scope.id, run_id, run_id if at else "", code, subject, PAGE_ROWS + 1
        )
        mismatches = [mismatch_view(row) for row in found[:PAGE_ROWS]]
        last = mismatches[-1] if len(found) > PAGE_ROWS else None
        shown: dict[str, Any] = {
            "run": run_view(rows[0], files),
            "mismatches": mismatches,
            "cursor": f"{last.code}{CURSOR}{last.subject}" if last else None,
            "at": at,
            "live": None if at else LIVE_S,
        }
        return self.merchants.page("day", request, f"Day {rows[0]['business_date']}", scope, **shown)
