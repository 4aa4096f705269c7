"""The audit trail as a page."""

from typing import Any

import msgspec

from tallystick.kernel.audit.operating import Asked
from tallystick.kernel.console.console import BrowserRequest, Console, Html

PAGE_ROWS = 50
TITLE = "Audit trail"


async def show_acts(console: Console, request: BrowserRequest) -> Html:
    """What operators did, the newest first."""
    sent = {name: value.strip() for name, value in request.query_params.items() if value.strip()}
    given = {name: sent.get(name, "") for name in ("operator", "act", "subject", "since", "until")}
    try:
        asked = msgspec.convert({**sent, "limit": PAGE_ROWS}, Asked, strict=False)
    except msgspec.ValidationError:
        shown: dict[str, Any] = {"given": given, "refused": True, "acts": [], "cursor": None}
        return console.page("audit", request.auth, TITLE, status=422, **shown)
    found = await console.trail.page(asked.wanted(), before=asked.cursor, rows_max=PAGE_ROWS + 1)
    cursor = found[PAGE_ROWS - 1].id if len(found) > PAGE_ROWS else None
    shown = {"given": given, "refused": False, "acts": found[:PAGE_ROWS], "cursor": cursor}
    return console.page("audit", request.auth, TITLE, **shown)
