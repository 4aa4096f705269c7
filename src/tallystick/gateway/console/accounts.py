"""Accounts as pages: who takes payments here, on which terms, with which keys (never the keys themselves)."""

from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.accounts.accounts import list_keys
from tallystick.gateway.console.desk import PAGE_ROWS, SQL, Cursor, Desk, Text, asked, cut, filled, id_in, sent
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html

ACCOUNTS: Final = f"{ROOT}/accounts"
KEYS_MAX: Final = 100


class AccountsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/accounts`."""

    name: Text | None = None
    cursor: Cursor | None = None


class AccountPages(Struct, frozen=True):
    """What the routes do."""

    desk: Desk

    async def list_accounts(self, request: BrowserRequest) -> Html:
        """Accounts by id, those with a word in their name or id where one is given."""
        given = sent(request)
        wanted = asked(given, AccountsQuery)
        shown: dict[str, Any] = {"given": filled(given, AccountsQuery), "rows": [], "cursor": None}
        shown["at"] = given.get("cursor", "")
        if wanted is None:
            return self.desk.page("accounts", request, "Accounts", status=422, refused=True, **shown)
        found = await self.desk.database.rows(
            SQL.page_of_accounts, wanted.cursor or "", wanted.name or "", PAGE_ROWS + 1
        )
        shown["rows"], shown["cursor"] = cut(found, id="account_id")
        return self.desk.page("accounts", request, "Accounts", refused=False, **shown)

    async def show_account(self, request: BrowserRequest) -> Html:
        """One account: terms, origins, keys."""
        id = id_in(request, "account_id")
        found = await self.desk.database.rows(SQL.show_account, id) if id is not None else []
        if not found:
            return self.desk.missing(request)
        keys = await list_keys(self.desk.database, id or "")
        return self.desk.page(
            "account_of",
            request,
            f"Account {found[0]['name']}",
            account=found[0],
            terms=await self.desk.database.rows(SQL.terms_of_account, id),
            keys=sorted(keys, key=lambda key: key.created_at, reverse=True)[:KEYS_MAX],
        )
