"""The simulated bank's page, /acs/{charge}: where a 3DS challenge is met in test mode (RULES §9).

It stands for a server that is not ours. What the shopper answers here is kept on the bank's side; the gateway asks for
it server to server, so nothing that a browser brings back can make a payment succeed. The first answer counts, however
often it is sent.
"""

from typing import Protocol

from litestar import Response
from msgspec import Struct

from tallystick.gateway.checkout.results import ChallengePage
from tallystick.gateway.pages.answers import Answers
from tallystick.gateway.pages.locale import locale_of
from tallystick.gateway.pages.pages import BrowserRequest
from tallystick.gateway.pages.views import Challenged, Notice, Page
from tallystick.gateway.stripe_wire.currencies import exponent
from tallystick.kernel.forms import FORM_MEDIA_TYPE, SAME_SITE, FormUnreadable, read_form
from tallystick.kernel.money import display

RESULTS = ("succeeded", "failed", "canceled")


class Challenges(Protocol):
    """The commands behind the bank's page."""

    async def challenge(self, charge_id: str) -> ChallengePage | None: ...

    async def answer_challenge(self, charge_id: str, result: str) -> object: ...


class Bank(Struct, frozen=True):
    """What the routes of the simulated bank do."""

    challenges: Challenges
    answers: Answers

    async def show(self, request: BrowserRequest, charge_id: str) -> Response[bytes]:
        """The question, or, once it is answered, the way back."""
        found = await self.challenges.challenge(charge_id)
        if found is None:
            return self.answers.refused(404)
        if found.state != "pending":
            return self._way_back(found)
        nonce = self.answers.nonce()
        locale = locale_of(request.headers.get("accept-language", ""))
        page = Page(title="Is this you?", status="challenge", path=f"/acs/{charge_id}", nonce=nonce, test=True)
        amount = display(found.amount, found.currency, exponent(found.currency), locale)
        challenge = Challenged(found.merchant, amount, f"{found.brand.title()} •••• {found.last4}")
        return self.answers.html(self.answers.views.challenge(page, challenge), nonce, ancestors=_ancestors(found))

    async def answer(self, request: BrowserRequest, charge_id: str) -> Response[bytes]:
        """Keep the shopper's answer."""
        if request.headers.get("sec-fetch-site") not in SAME_SITE:
            return self.answers.refused(403)
        if request.content_type[0] != FORM_MEDIA_TYPE:
            return self.answers.refused(415)
        try:
            result = read_form(await request.body()).get("result")
        except FormUnreadable:
            return self.answers.refused(400)
        if result not in RESULTS:
            return self.answers.refused(400)
        if await self.challenges.challenge(charge_id) is None:
            return self.answers.refused(404)
        await self.challenges.answer_challenge(charge_id, result)
        return self.answers.see_other(f"/acs/{charge_id}")

    def _way_back(self, found: ChallengePage) -> Response[bytes]:
        back = f"We are taking you back to {found.merchant}." if found.return_url else "You can close this page now."
        sign = "waiting" if found.return_url else "done"
        notice = Notice(sign=sign, heading="Thank you", text=back, link=found.return_url, link_text="Continue")
        nonce = self.answers.nonce()
        refresh = f"0; url={found.return_url}" if found.return_url else None
        page = Page(title=notice.heading, status="challenge", path="", nonce=nonce, test=True, refresh=refresh)
        return self.answers.html(self.answers.views.notice(page, notice), nonce, ancestors=_ancestors(found))


def _ancestors(found: ChallengePage) -> tuple[str, ...]:
    return found.origins if found.embedded else ()
