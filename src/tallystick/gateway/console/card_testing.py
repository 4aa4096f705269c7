"""Card testing as a page: which cards and networks try often, and who has to wait (docs/cards.md).

A card stands there without its fingerprint, a network without the end of its address: the page says how bad it is and
at whom, not who.
"""

from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.card_testing.guard import CardTesting
from tallystick.gateway.console.desk import Desk, Id, asked, filled, sent
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html

CARD_TESTING: Final = f"{ROOT}/card-testing"
TITLE: Final = "Card testing"
ROWS_MAX: Final = 50
REFRESH_S: Final = 30


class StandingsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/card-testing`."""

    account: Id | None = None


class CardTestingPage(Struct, frozen=True):
    """What the route does."""

    desk: Desk
    guard: CardTesting

    async def show(self, request: BrowserRequest) -> Html:
        """Who was declined or tried most, in this hour and the one before."""
        given = sent(request)
        wanted = asked(given, StandingsQuery)
        shown: dict[str, Any] = {"given": filled(given, StandingsQuery), "limits": self.guard.limits}
        if wanted is None:
            return self.desk.page("card_testing", request, TITLE, status=422, refused=True, rows=[], **shown)
        rows = await self.guard.standings(account=wanted.account, rows_max=ROWS_MAX)
        return self.desk.page("card_testing", request, TITLE, live=REFRESH_S, refused=False, rows=rows, **shown)
