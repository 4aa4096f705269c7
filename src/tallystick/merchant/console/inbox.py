"""Inbound dead letters as pages: webhooks that were stored and not applied, and tried again (RULES §7)."""

from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.merchant.console.merchants import Merchants, Scope, is_merchant_id, said
from tallystick.merchant.intake.again import BEHIND, Again, Unapplied

INBOX: Final = "/console/inbox"
RUN: Final = f"POST {INBOX}/run"
PAGE_ROWS: Final = 50
LIVE_S: Final = 5
CURSOR: Final = "/"  # between connection and event; no id holds one
STATES: Final = (("parked", "parked: fits no order"), ("failed", "failed: could not be applied"))


class InboxPages(msgspec.Struct, frozen=True):
    """What the routes do."""

    merchants: Merchants
    again: Again

    async def list_webhooks(self, request: BrowserRequest) -> Html:
        """Webhooks that fit the filters."""
        scope, sent = await self.merchants.scope(request), said(request)
        cursor, tried = sent.pop("cursor", ""), sent.pop("tried", "")
        try:
            asked = msgspec.convert(sent, Unapplied, strict=False)
        except msgspec.ValidationError:
            return self._page(request, scope, sent, [], status=422, refused=True)
        after = tuple(cursor.split(CURSOR, 1)) if CURSOR in cursor and "\x00" not in cursor else BEHIND
        place = (after[0], after[1])
        found = await self.again.page(scope.id, asked, after=place, rows_max=PAGE_ROWS + 1) if scope.id else []
        told = f"{tried} webhooks are tried again now." if tried.isdecimal() and len(tried) < 10 else ""
        return self._page(request, scope, sent, found, cursor, told=told)

    async def run(self, request: BrowserRequest) -> Html:
        """First how many it concerns; confirmed, they are tried again."""
        console = self.merchants.console
        fields = await console.fields(request) or {}
        merchant_id = fields.get("merchant", "")
        given = {name: fields[name] for name in Unapplied.__struct_fields__ if fields.get(name)}
        try:
            asked = msgspec.convert(given, Unapplied, strict=False)
        except msgspec.ValidationError:
            return console.problem(400, request.auth)
        if not is_merchant_id(merchant_id):
            return console.problem(400, request.auth)
        scope = Scope(merchant_id, (await self.merchants.scope(request)).known)
        if fields.get("confirmed") == "yes":
            tried = await self.again.run(merchant_id, asked)
            return console.see_other(f"{INBOX}?{urlencode({'merchant': merchant_id, 'tried': tried})}")
        matched = await self.again.count(merchant_id, asked)
        which = ", ".join(f"{name} {value}" for name, value in given.items()) or "all there are"
        shown: dict[str, Any] = {
            "heading": f"Try {matched} {'webhook' if matched == 1 else 'webhooks'} again?",
            "words": "Each is matched and applied once more, as if it came now; what was applied before is not in it.",
            "action": f"{INBOX}/run",
            "kept": {**given, "merchant": merchant_id, "confirmed": "yes"},
            "button": "Try again",
        }
        back = f"{INBOX}?{urlencode({'merchant': merchant_id, **given})}"
        return self.merchants.page("sure", request, "Try again", scope, back=back, about=which, **shown)

    def _page(
        self,
        request: BrowserRequest,
        scope: Scope,
        sent: dict[str, str],
        found: list[Any],
        at: str = "",
        **more: Any,
    ) -> Html:
        given = {name: sent.get(name, "") for name in Unapplied.__struct_fields__}
        rows = found[:PAGE_ROWS]
        behind = f"{rows[-1]['connection_id']}{CURSOR}{rows[-1]['event_id']}" if len(found) > PAGE_ROWS else None
        shown: dict[str, Any] = {
            "given": given,
            "kept": {name: value for name, value in given.items() if value} | {"merchant": scope.id},
            "webhooks": rows,
            "cursor": behind,
            "at": at,
            "states": STATES,
            "runs": self.merchants.console.may(request.auth, RUN),
            "refused": False,
            "told": "",
            "live": None if at else LIVE_S,
        }
        return self.merchants.page("inbox", request, "Inbound webhooks", scope, **(shown | more))
