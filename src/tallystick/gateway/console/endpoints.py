"""Webhook endpoints as a page: how they stand and what waits for each (RULES §6). Never their secrets."""

from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.console.desk import PAGE_ROWS, SQL, Cursor, Desk, Id, asked, filled, sent
from tallystick.gateway.webhooks.dead_letters import address
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.delivery.health import Health
from tallystick.kernel.delivery.standing import standing_of
from tallystick.ports.database import Record

ENDPOINTS: Final = f"{ROOT}/endpoints"
TITLE: Final = "Webhook endpoints"
COUNTED_MAX: Final = 1_000
"""Waiting deliveries of one endpoint are counted so far: enough to see how bad it is."""
REFRESH_S: Final = 15
PLACE: Final = "/"  # between the parts of a cursor; none holds one


class EndpointsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/endpoints`. `ailing`: those that are not well, or have something held or dead."""

    account: Id | None = None
    endpoint: Id | None = None
    ailing: bool = False
    cursor: Cursor | None = None


class EndpointPages(Struct, frozen=True):
    """What the route does. `rate_max` is how many deliveries a second each process sends to one endpoint."""

    desk: Desk
    rate_max: float

    async def list_endpoints(self, request: BrowserRequest) -> Html:
        """Endpoints by account."""
        given = sent(request)
        wanted = asked(given, EndpointsQuery)
        shown: dict[str, Any] = {
            "given": filled(given, EndpointsQuery),
            "at": given.get("cursor", ""),
            "rows": [],
            "cursor": None,
            "counted_max": COUNTED_MAX,
            "rate_max": self.rate_max,
        }
        if wanted is None:
            return self.desk.page("endpoints", request, TITLE, status=422, refused=True, **shown)
        at = self.desk.clock.now()
        account, mode, id = [*(wanted.cursor or "").split(PLACE), "", ""][:3]
        chosen = (account, mode == "live", id, wanted.account, wanted.endpoint, wanted.ailing)
        found = await self.desk.database.rows(SQL.page_of_endpoints, *chosen, at, COUNTED_MAX, PAGE_ROWS + 1)
        shown["rows"] = [self._shown(row) for row in found[:PAGE_ROWS]]
        if len(found) > PAGE_ROWS:
            last = found[PAGE_ROWS - 1]
            shown["cursor"] = PLACE.join((last["account_id"], "live" if last["livemode"] else "test", last["id"]))
        return self.desk.page("endpoints", request, TITLE, live=REFRESH_S, refused=False, **shown)

    def _shown(self, row: Record) -> dict[str, Any]:
        health = Health(
            width=row["width"],
            failures=row["failures"],
            slowed_until=row["slowed_until"],
            broken_until=row["broken_until"],
        )
        standing, until = standing_of(health, self.desk.clock.now())
        return {**row, "standing": standing, "until": until, "address": address(row["url"])}
