"""What a person must decide, as pages: outcomes that nobody knows, and cases about money (RULES §3).

Both are ended by the commands behind the operator API, with the same words where they refuse.
"""

from typing import Any, Final, Literal

from msgspec import Struct

from tallystick.gateway.cases.cases import Cases
from tallystick.gateway.cases.operating import Closing, close
from tallystick.gateway.console.desk import PAGE_ROWS, Cursor, Desk, Id, asked, filled, id_in, sent
from tallystick.gateway.payments.operating import Found, resolve
from tallystick.gateway.payments.resolving import Resolving
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.problems import Problem

CASES: Final = f"{ROOT}/cases"
UNKNOWN: Final = f"{ROOT}/unknown-outcomes"
PLACE: Final = "/"  # between account and id; neither holds one
REFRESH_S: Final = 30


class CasesQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/cases`."""

    account: Id | None = None
    state: Literal["open", "closed", "any"] = "open"
    cursor: Cursor | None = None


class UnknownQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/unknown-outcomes`. `cases`: those that were asked about for a day in vain."""

    account: Id | None = None
    cases: bool = False
    cursor: Cursor | None = None


class CasePages(Struct, frozen=True):
    """What the routes do."""

    desk: Desk
    cases: Cases
    resolving: Resolving

    async def list_cases(self, request: BrowserRequest) -> Html:
        """Cases, the open ones unless others are asked for."""
        given = sent(request)
        wanted = asked(given, CasesQuery)
        shown = _empty(given, CasesQuery)
        if wanted is None:
            return self.desk.page("cases", request, "Cases", status=422, refused=True, **shown)
        state = None if wanted.state == "any" else wanted.state
        found = await self.cases.page(_place(wanted.cursor), PAGE_ROWS + 1, account=wanted.account, state=state)
        shown |= {"rows": found[:PAGE_ROWS], "cursor": _behind(found)}
        return self.desk.page("cases", request, "Cases", refused=False, **shown)

    async def close_case(self, request: BrowserRequest) -> Html:
        """A person has seen to it."""
        id = id_in(request, "case_id")
        if id is None:
            return self.desk.missing(request)
        try:
            await close(self.cases, id, await self.desk.form(request, Closing), request.auth.name)
        except Problem as problem:
            return self.desk.refused(request, problem)
        return self.desk.console.see_other(CASES)

    async def list_unknown(self, request: BrowserRequest) -> Html:
        """Charges, captures, voids and refunds of which nobody knows what the bank did."""
        given = sent(request)
        wanted = asked(given, UnknownQuery)
        shown = _empty(given, UnknownQuery)
        if wanted is None:
            return self.desk.page("unknown", request, "Unknown outcomes", status=422, refused=True, **shown)
        found = await self.resolving.unknown(
            _place(wanted.cursor), PAGE_ROWS + 1, account=wanted.account, cases=wanted.cases
        )
        shown |= {"rows": found[:PAGE_ROWS], "cursor": _behind(found)}
        return self.desk.page("unknown", request, "Unknown outcomes", refused=False, **shown)

    async def resolve_outcome(self, request: BrowserRequest) -> Html:
        """A person has found out what the bank did."""
        id = id_in(request, "object_id")
        if id is None:
            return self.desk.missing(request)
        try:
            await resolve(self.resolving, id, await self.desk.form(request, Found), request.auth.name)
        except Problem as problem:
            return self.desk.refused(request, problem)
        return self.desk.console.see_other(UNKNOWN)


def _empty(given: dict[str, str], kind: type[Struct]) -> dict[str, Any]:
    return {"given": filled(given, kind), "at": given.get("cursor", ""), "rows": [], "cursor": None}


def _place(cursor: str | None) -> tuple[str, str]:
    account, _, id = (cursor or "").partition(PLACE)
    return account, id


def _behind(found: list[Any]) -> str | None:
    last = found[PAGE_ROWS - 1] if len(found) > PAGE_ROWS else None
    return None if last is None else f"{last.account}{PLACE}{last.id}"
