"""How a page reaches the browser: headers, status, and what is said when there is no page to show."""

import base64
from collections.abc import Sequence

from litestar import Response
from msgspec import Struct

from tallystick.gateway.pages.views import Notice, Page, Views
from tallystick.kernel.page_headers import page_headers
from tallystick.ports.entropy import Entropy

NONCE_BYTES = 16
HTML = "text/html"
RETRY_AFTER_S = 5  # the database is back after a failover by then, as a rule


class Answers(Struct, frozen=True):
    """Turns views into responses with the headers of RULES §9."""

    views: Views
    entropy: Entropy
    https: bool
    """Whether shoppers reach the gateway over TLS."""

    def nonce(self) -> str:
        """A fresh nonce for one page."""
        return base64.b64encode(self.entropy.token_bytes(NONCE_BYTES)).decode()

    def html(
        self,
        body: bytes,
        nonce: str,
        *,
        ancestors: Sequence[str] = (),
        status: int = 200,
        retry_after_s: int | None = None,
    ) -> Response[bytes]:
        """A page; `ancestors` are the origins that may frame it."""
        headers = page_headers(nonce, ancestors=ancestors, https=self.https)
        if status == 503 or retry_after_s is not None:
            headers["Retry-After"] = str(retry_after_s or RETRY_AFTER_S)
        return Response(body, status_code=status, media_type=HTML, headers=headers)

    def see_other(self, location: str) -> Response[bytes]:
        """303. After a form's POST only to the gateway's own pages: browsers hold redirects against `form-action`."""
        headers = page_headers(self.nonce(), ancestors=(), https=self.https)
        return Response(b"", status_code=303, media_type=HTML, headers={**headers, "Location": location})

    def refused(self, status: int) -> Response[bytes]:
        """The page for a request that no page of ours sends, or that cannot be served now. No script, no session."""
        notice = REFUSALS.get(status, REFUSALS[400])
        page = Page(title=notice.heading, status="stopped", path="", nonce=self.nonce(), test=False)
        wait_s = RETRY_AFTER_S if status == 429 else None
        return self.html(self.views.notice(page, notice), page.nonce, status=status, retry_after_s=wait_s)


_START_AGAIN = "Nothing was charged here. Please go back to the shop and start again."

REFUSALS = {
    400: Notice(sign="stopped", heading="We could not read that", text=_START_AGAIN),
    403: Notice(sign="stopped", heading="That came from another site", text=_START_AGAIN),
    404: Notice(
        sign="stopped",
        heading="There is no such page",
        text=_START_AGAIN,
    ),
    413: Notice(sign="stopped", heading="That was more than a card", text=_START_AGAIN),
    415: Notice(sign="stopped", heading="We could not read that", text=_START_AGAIN),
    429: Notice(
        sign="stopped",
        heading="That was too fast",
        text="Please wait a moment, then reload this page. However often you try, you cannot be charged twice.",
    ),
    503: Notice(
        sign="stopped",
        heading="We cannot reach our records",
        text="Please reload this page in a moment. However often you try, you cannot be charged twice.",
    ),
}
"""By status: what the page says."""
