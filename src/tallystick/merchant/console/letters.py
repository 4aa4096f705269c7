"""Notifications that the shop did not take, as pages: look through them, redrive them (RULES §6)."""

from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.delivery.operating import cursor, place_of
from tallystick.kernel.delivery.redrive import RATE, RUNNING, Redrives
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.problems import FieldsRefused
from tallystick.merchant.console.merchants import Merchants, Scope, said
from tallystick.merchant.notifications.dead_letters import NEVER, DeadLetter, DeadLetters
from tallystick.merchant.notifications.operating import Which

LETTERS: Final = "/console/dead-letters"
REDRIVES: Final = "/console/redrives"
REDRIVE: Final = f"POST {REDRIVES}"
PAGE_ROWS: Final = 50
STANDINGS_ROWS: Final = 20
LIVE_S: Final = 10
REFRESH_S: Final = 2  # while a redrive is running


class LetterPages(Struct, frozen=True):
    """What the routes do."""

    merchants: Merchants
    letters: DeadLetters
    redrives: Redrives
    standings: Standings

    async def list_letters(self, request: BrowserRequest) -> Html:
        """Dead letters of a merchant that fit the filters, the first to die first."""
        scope, sent = await self.merchants.scope(request), said(request)
        at = sent.pop("cursor", "")
        try:
            asked = msgspec.convert({**sent, "merchant": scope.id or "-"}, Which, strict=False)
            after = place_of(at) if at else NEVER
        except (msgspec.ValidationError, FieldsRefused):
            return self._page(request, scope, sent, [], status=422, refused=True)
        found = await self.letters.page(asked.filter(), after=after, letters_max=PAGE_ROWS + 1)
        standings = await self.standings.ailing(endpoint=asked.endpoint, rows_max=STANDINGS_ROWS)
        return self._page(
            request, scope, sent, found, at, standings=[each for each in standings if each.owner == scope.id]
        )

    async def redrive(self, request: BrowserRequest) -> Html:
        """First how many it concerns; confirmed, it begins."""
        console = self.merchants.console
        fields = await console.fields(request) or {}
        given = {name: fields[name] for name in Which.__struct_fields__ if fields.get(name)}
        if not given.get("merchant"):
            return console.problem(400, request.auth)
        try:
            filter = msgspec.convert(given, Which, strict=False).filter()
        except msgspec.ValidationError:
            return console.problem(400, request.auth)
        if fields.get("confirmed") == "yes":
            made = await self.redrives.create(filter, rate_max=RATE, by=request.auth.name)
            return console.see_other(f"{REDRIVES}/{made.id}")
        matched = await self.redrives.count(filter)
        shown: dict[str, Any] = {
            "heading": f"Redrive {matched} {'dead letter' if matched == 1 else 'dead letters'}?",
            "words": f"They are sent again under their old ids, {RATE} a second.",
            "action": REDRIVES,
            "kept": {**given, "confirmed": "yes"},
            "button": "Redrive",
        }
        which = ", ".join(f"{name} {value}" for name, value in given.items())
        scope, back = await self.merchants.scope(request), f"{LETTERS}?{urlencode(given)}"
        scope = Scope(given["merchant"], scope.known)
        return self.merchants.page("sure", request, "Redrive", scope, back=back, about=which, **shown)

    async def show_redrive(self, request: BrowserRequest) -> Html:
        """How far it has come; the page looks again by itself while it is running."""
        redrive_id = request.path_params["redrive"]
        found = None if "\x00" in redrive_id else await self.redrives.find(redrive_id)
        if found is None:
            return self.merchants.console.problem(404, request.auth)
        refresh = REFRESH_S if found.state == RUNNING else None
        cancelable = found.state == RUNNING and self.merchants.console.may(request.auth, REDRIVE)
        scope = await self.merchants.scope(request)
        return self.merchants.page(
            "redrive", request, "Redrive", scope, refresh=refresh, redrive=found, cancelable=cancelable
        )

    async def cancel(self, request: BrowserRequest) -> Html:
        """Stop a redrive where it is."""
        redrive_id = request.path_params["redrive"]
        found = None if "\x00" in redrive_id else await self.redrives.cancel(redrive_id)
        if found is None:
            return self.merchants.console.problem(404, request.auth)
        return self.merchants.console.see_other(f"{REDRIVES}/{found.id}")

    def _page(
        self,
        request: BrowserRequest,
        scope: Scope,
        sent: dict[str, str],
        found: list[DeadLetter],
        at: str = "",
        **more: Any,
    ) -> Html:
        given = {name: sent.get(name, "") for name in Which.__struct_fields__ if name != "merchant"}
        rows = found[:PAGE_ROWS]
        behind = cursor(rows[-1].died_at, rows[-1].merchant, rows[-1].id) if len(found) > PAGE_ROWS else None
        shown: dict[str, Any] = {
            "given": given,
            "kept": {name: value for name, value in given.items() if value} | {"merchant": scope.id},
            "letters": rows,
            "cursor": behind,
            "at": at,
            "standings": [],
            "redrives": self.merchants.console.may(request.auth, REDRIVE),
            "refused": False,
            "live": None if at else LIVE_S,
        }
        return self.merchants.page("letters", request, "Dead letters", scope, **(shown | more))
