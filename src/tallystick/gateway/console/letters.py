"""Dead letters as pages: look through them, redrive them (RULES §6).

What changes something is answered by 303, so that reloading repeats nothing. A redrive is asked for twice: first it is
said how many dead letters it concerns. Who may do this stands in `gateway/access.py`; the guard of the console has
looked there, and at the form, before anything here runs.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.gateway.console.desk import id_in
from tallystick.gateway.webhooks.dead_letters import DeadLetters
from tallystick.gateway.webhooks.operating import LettersQuery, NewRedrive, Which, cursor_of
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.delivery.operating import place_of
from tallystick.kernel.delivery.redrive import RATE_MAX, RUNNING, Redrives
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.problems import FieldsRefused

LETTERS: Final = f"{ROOT}/dead-letters"
REDRIVES: Final = f"{ROOT}/redrives"
PAGE_ROWS: Final = 50
STANDINGS_ROWS: Final = 20
REFRESH_S: Final = 2  # while a redrive is running


class LetterPages(Struct, frozen=True):
    """What the routes do."""

    console: Console
    letters: DeadLetters
    redrives: Redrives
    standings: Standings

    async def list_letters(self, request: BrowserRequest) -> Html:
        """Dead letters that fit the filters, the last to die first."""
        session = request.auth
        sent = {name: value.strip() for name, value in request.query_params.items() if value.strip()}
        try:
            asked = msgspec.convert({**sent, "limit": PAGE_ROWS}, LettersQuery, strict=False)
            before = None if asked.cursor is None else place_of(asked.cursor)
        except (msgspec.ValidationError, FieldsRefused):
            shown = _no_letters(sent, refused=True)
            return self.console.page("letters", session, "Dead letters", status=422, **shown)
        found = await self.letters.page(asked.filter(), before=before, letters_max=PAGE_ROWS + 1)
        shown = _no_letters(sent) | {
            "standings": await self.standings.ailing(endpoint=asked.endpoint, rows_max=STANDINGS_ROWS),
            "letters": found[:PAGE_ROWS],
            "cursor": cursor_of(found[PAGE_ROWS - 1]) if len(found) > PAGE_ROWS else None,
        }
        return self.console.page("letters", session, "Dead letters", **shown)

    async def show_letter(self, request: BrowserRequest) -> Html:
        """One with every try."""
        delivery_id = id_in(request, "delivery_id")
        found = await self.letters.find(delivery_id) if delivery_id is not None else None
        if found is None:
            return self.console.problem(404, request.auth)
        return self.console.page("letter", request.auth, found[0].id, letter=found[0], attempts=found[1])

    async def redrive(self, request: BrowserRequest) -> Html:
        """First how many it concerns; confirmed, it begins."""
        fields = await self.console.fields(request) or {}
        given = {name: fields[name] for name in (*Which.__struct_fields__, "rate_max") if fields.get(name)}
        try:
            asked = msgspec.convert(given, NewRedrive, strict=False)
        except msgspec.ValidationError:
            return self.console.problem(400, request.auth)
        if fields.get("confirmed") != "yes":
            matched = await self.redrives.count(asked.filter())
            shown: dict[str, Any] = {"given": given, "matched": matched, "rate": asked.rate_max, "rate_max": RATE_MAX}
            return self.console.page("confirm", request.auth, "Redrive", **shown)
        made = await self.redrives.create(asked.filter(), rate_max=asked.rate_max, by=request.auth.name)
        return self.console.see_other(f"{REDRIVES}/{made.id}")

    async def list_redrives(self, request: BrowserRequest) -> Html:
        """The newest redrives."""
        return self.console.page("redrives", request.auth, "Redrives", redrives=await self.redrives.newest())

    async def show_redrive(self, request: BrowserRequest) -> Html:
        """How far it has come; the page looks again by itself while it is running."""
        redrive_id = id_in(request, "redrive_id")
        found = await self.redrives.find(redrive_id) if redrive_id is not None else None
        if found is None:
            return self.console.problem(404, request.auth)
        refresh = REFRESH_S if found.state == RUNNING else None
        return self.console.page("redrive", request.auth, "Redrive", refresh=refresh, redrive=found)

    async def cancel(self, request: BrowserRequest) -> Html:
        """Stop a redrive where it is."""
        redrive_id = id_in(request, "redrive_id")
        found = await self.redrives.cancel(redrive_id) if redrive_id is not None else None
        if found is None:
            return self.console.problem(404, request.auth)
        return self.console.see_other(f"{REDRIVES}/{found.id}")


def _no_letters(sent: Mapping[str, str], *, refused: bool = False) -> dict[str, Any]:
    given = {name: sent.get(name, "") for name in Which.__struct_fields__}
    return {"given": given, "refused": refused, "letters": [], "standings": [], "cursor": None}
