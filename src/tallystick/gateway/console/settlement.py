"""The money of accounts as pages: disputes, business days, payouts, balance and ledger (RULES §10)."""

import datetime
from datetime import timedelta
from typing import Any, Final, Literal

from msgspec import Struct

from tallystick.gateway.console.desk import (
    LAST_ID,
    MODES,
    PAGE_ROWS,
    SQL,
    Cursor,
    Desk,
    Id,
    Mode,
    asked,
    cut,
    filled,
    sent,
)
from tallystick.gateway.invariants.rules import RULES
from tallystick.gateway.invariants.rules import SQL as INVARIANTS
from tallystick.gateway.ledger.postings import MERCHANT_AVAILABLE, MERCHANT_PENDING
from tallystick.gateway.settlement.closing import SQL as SETTLEMENT
from tallystick.gateway.settlement.operating import Correct, Settle
from tallystick.gateway.settlement.worker import Settlement
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.invariants.rules import Violation
from tallystick.kernel.problems import Problem

DISPUTES: Final = f"{ROOT}/disputes"
SETTLEMENTS: Final = f"{ROOT}/settlements"
PAYOUTS: Final = f"{ROOT}/payouts"
REPORTS: Final = f"{ROOT}/reports"
BALANCE_PAGE: Final = f"{ROOT}/balance"

CHECKED_BACK_S: Final = 24 * 3600
FOUND_MAX: Final = 20
CHECKED: Final = tuple(
    rule
    for rule in RULES
    if rule.statement
    in (
        INVARIANTS.ledger_sums_to_zero,
        INVARIANTS.clearing_accounts_hold_what_is_open,
        INVARIANTS.reports_are_chained,
        INVARIANTS.reports_close_with_the_balance,
    )
)
"""The rules about the ledger as a whole, of those that are checked all the time."""


class DisputesQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/disputes`."""

    account: Id | None = None
    mode: Mode | None = None
    state: Literal["open", "decided"] | None = None
    cursor: Cursor | None = None


class PayoutsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/payouts`."""

    account: Id | None = None
    mode: Mode | None = None
    status: Literal["pending", "paid", "failed", "canceled"] | None = None
    cursor: Cursor | None = None


class ReportsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/reports`."""

    account: Id | None = None
    mode: Mode | None = None
    cursor: Cursor | None = None


class SettlementsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/settlements`."""

    account: Id | None = None
    date: datetime.date | None = None
    cursor: Cursor | None = None


class BalanceQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/balance`. `check`: whether the rules about the ledger are tried now."""

    account: Id | None = None
    mode: Mode | None = None
    check: bool = False


class MoneyPages(Struct, frozen=True):
    """What the routes do."""

    desk: Desk
    settlement: Settlement

    async def list_disputes(self, request: BrowserRequest) -> Html:
        """Disputes, the newest first."""
        given, wanted = sent(request), asked(sent(request), DisputesQuery)
        if wanted is None:
            return self._list("disputes", request, "Disputes", given, DisputesQuery)
        owners = await self.desk.owners(wanted.account, wanted.mode)
        is_open = None if wanted.state is None else wanted.state == "open"
        found = await self.desk.database.rows(
            SQL.newest_disputes, *owners[:2], wanted.cursor or LAST_ID, is_open, PAGE_ROWS + 1
        )
        return self._list("disputes", request, "Disputes", given, DisputesQuery, found)

    async def list_payouts(self, request: BrowserRequest) -> Html:
        """Payouts, the newest first."""
        given, wanted = sent(request), asked(sent(request), PayoutsQuery)
        if wanted is None:
            return self._list("payouts", request, "Payouts", given, PayoutsQuery)
        owners = await self.desk.owners(wanted.account, wanted.mode)
        found = await self.desk.database.rows(
            SQL.newest_payouts, *owners[:2], wanted.cursor or LAST_ID, wanted.status, PAGE_ROWS + 1
        )
        return self._list("payouts", request, "Payouts", given, PayoutsQuery, found)

    async def list_reports(self, request: BrowserRequest) -> Html:
        """Reports that merchants asked for, the newest first."""
        given, wanted = sent(request), asked(sent(request), ReportsQuery)
        if wanted is None:
            return self._list("reports", request, "Reports", given, ReportsQuery)
        owners = await self.desk.owners(wanted.account, wanted.mode)
        found = await self.desk.database.rows(
            SQL.newest_report_runs, *owners[:2], wanted.cursor or LAST_ID, PAGE_ROWS + 1
        )
        return self._list("reports", request, "Reports", given, ReportsQuery, found)

    async def list_settlements(self, request: BrowserRequest) -> Html:
        """The reports of an account's business days, the newest first."""
        given, wanted = sent(request), asked(sent(request), SettlementsQuery)
        if wanted is None:
            return self._list("settlements", request, "Settlement days", given, SettlementsQuery, account=None)
        account = await self.desk.chosen(wanted.account)
        place = (account, wanted.date, wanted.cursor or LAST_ID, PAGE_ROWS + 1)
        found = await self.desk.database.rows(SETTLEMENT.list_reports, *place) if account is not None else []
        return self._list("settlements", request, "Settlement days", given, SettlementsQuery, found, account=account)

    async def close_days(self, request: BrowserRequest) -> Html:
        """Close every day that has ended, up to a date; of one account or of all."""
        try:
            wanted = await self.desk.form(request, Settle)
        except Problem as problem:
            return self.desk.refused(request, problem)
        await self.settlement.close_until(wanted.date or self.desk.clock.now().date(), wanted.account)
        return self.desk.console.see_other(f"{SETTLEMENTS}?account={wanted.account}" if wanted.account else SETTLEMENTS)

    async def correct_days(self, request: BrowserRequest) -> Html:
        """Write new revisions of an account's reports from a day on."""
        try:
            wanted = await self.desk.form(request, Correct)
        except Problem as problem:
            return self.desk.refused(request, problem)
        await self.settlement.correct(wanted.account, wanted.date)
        return self.desk.console.see_other(f"{SETTLEMENTS}?account={wanted.account}")

    async def show_balance(self, request: BrowserRequest) -> Html:
        """What an account has, what lies in each account of its ledger, and whether the rules about it hold."""
        given, wanted = sent(request), asked(sent(request), BalanceQuery)
        shown: dict[str, Any] = {
            "given": filled(given, BalanceQuery),
            "modes": MODES,
            "account": None,
            "mode": "test",
            "balances": {},
            "currencies": {},
            "checked": None,
        }
        if wanted is None:
            return self.desk.page("balance", request, "Balance and ledger", status=422, refused=True, **shown)
        account, mode = await self.desk.chosen(wanted.account), wanted.mode or "test"
        if account is not None:
            key, database = (account, mode == "live"), self.desk.database
            by_currency: dict[str, list[Any]] = {}
            for row in await database.rows(SQL.ledger_accounts, *key):
                by_currency.setdefault(row["currency"], []).append(row)
            shown |= {
                "account": account,
                "mode": mode,
                "balances": {currency: _had(rows) for currency, rows in by_currency.items()},
                "currencies": by_currency,
                "checked": await self._check(account) if wanted.check else None,
            }
        return self.desk.page("balance", request, "Balance and ledger", refused=False, **shown)

    async def _check(self, account: str) -> list[tuple[str, list[Violation]]]:
        """Each rule with what broke it within the last day."""
        at = self.desk.clock.now()
        since = at - timedelta(seconds=CHECKED_BACK_S)
        found = []
        for rule in CHECKED:
            rows = await self.desk.database.rows(rule.statement, *rule.parameters(account, since, at))
            found.append((rule.statement.name.replace("_", " "), [rule.violation(row) for row in rows[:FOUND_MAX]]))
        return found

    def _list(
        self,
        name: str,
        request: BrowserRequest,
        title: str,
        given: dict[str, str],
        kind: type[Struct],
        found: Any = None,
        **more: Any,
    ) -> Html:
        rows, cursor = cut(found or [])
        shown: dict[str, Any] = {"given": filled(given, kind), "at": given.get("cursor", ""), "modes": MODES}
        shown |= {"rows": rows, "cursor": cursor, "refused": found is None, **more}
        return self.desk.page(name, request, title, status=422 if found is None else 200, **shown)


def _had(legs: list[Any]) -> tuple[int, int]:
    """What the ledger owes the merchant: available, and pending. Credits are negative."""
    owed = {leg["account"]: -leg["amount"] for leg in legs}
    return owed.get(MERCHANT_AVAILABLE, 0), owed.get(MERCHANT_PENDING, 0)
