"""The payment page: hosted under /pay/{session}, in an iframe under /embed/{session} (DESIGN §5, RULES §9).

One address, and the state in the database decides what it shows: the form, the way to the bank, "one moment", the
outcome. A POST that reached the commands is answered by 303 to that same address, so reloading or going back never
sends a card again. What makes a second payment impossible is not here but in the commands, which hold at most one live
charge for an intent.
"""

from typing import Any, Protocol

from babel import Locale
from litestar import Request, Response
from msgspec import Struct

from tallystick.gateway.acquirers.port import CardRefused
from tallystick.gateway.cards.pan import CardEntry
from tallystick.gateway.cards.typed import TryLater
from tallystick.gateway.checkout.results import Challenge, PayResult, SessionPage, TooMany
from tallystick.gateway.pages import forms, wording
from tallystick.gateway.pages.answers import Answers
from tallystick.gateway.pages.locale import locale_of
from tallystick.gateway.pages.presenting import (
    bank_url,
    expired,
    followable,
    order_of,
    problem_of,
    processing,
    received,
    saving,
    standing,
    to_bank,
)
from tallystick.gateway.pages.views import Notice, Page
from tallystick.kernel.forms import FORM_MEDIA_TYPE, SAME_SITE, FormUnreadable, read_form
from tallystick.kernel.page_headers import framing_origins
from tallystick.kernel.proxies import Proxies
from tallystick.ports.clock import Clock
from tallystick.ports.tracing import UNTRACED, Span, Tracer, read

PROCESSING_REFRESH_S = 2  # a bank that answers late mostly answers within seconds
OUTCOME_SHOWN_S = 1  # long enough to see the tick, short enough not to wait for it

BrowserRequest = Request[Any, Any, Any]
Html = Response[bytes]


class Checkout(Protocol):
    """The commands behind the pages."""

    async def page(self, session_id: str) -> SessionPage | None: ...

    async def pay(
        self, session_id: str, card: CardEntry, *, save: bool = False, address: str | None = None
    ) -> PayResult: ...

    async def pay_saved(self, session_id: str, method_id: str, *, address: str | None = None) -> PayResult: ...

    async def finish_challenge(self, session_id: str) -> None: ...


class Place(Struct, frozen=True):
    """Where a session's page stands."""

    prefix: str
    ui_mode: str

    @property
    def embedded(self) -> bool:
        return self.ui_mode == "embedded_page"


HOSTED = Place("/pay", "hosted_page")
EMBEDDED = Place("/embed", "embedded_page")


class Pages(Struct, frozen=True):
    """What the routes of a session's page do."""

    checkout: Checkout
    answers: Answers
    clock: Clock
    proxies: Proxies
    tracer: Tracer = UNTRACED

    async def show(self, place: Place, request: BrowserRequest, session_id: str) -> Html:
        """The page as the session stands."""
        found = await self._find(place, session_id)
        if found is None:
            return self.answers.refused(404)
        with self._step("show the page", found) as span:
            span.note(state=standing(found, self.clock.now()))
            return self._standing(place, found, locale_of(request.headers.get("accept-language", "")))

    async def pay(self, place: Place, request: BrowserRequest, session_id: str) -> Html:
        """Pay with the card in the form; then back to the page, or the form again with its mistakes."""
        if request.headers.get("sec-fetch-site") not in SAME_SITE:
            return self.answers.refused(403)
        if request.content_type[0] != FORM_MEDIA_TYPE:
            return self.answers.refused(415)
        try:
            fields = read_form(await request.body())
        except FormUnreadable:
            return self.answers.refused(400)
        found = await self._find(place, session_id)
        if found is None:
            return self.answers.refused(404)
        address = self.proxies.client(request.scope)
        if forms.SAVED in fields:
            with self._step("pay on the page", found) as span:
                paid = await self.checkout.pay_saved(session_id, fields[forms.SAVED], address=address)
                span.note(outcome=type(paid).__name__)
        else:
            card = forms.read_card(fields, self.clock.now())
            if not isinstance(card, CardEntry):
                return self._mistakes(place, found, request, fields, card)
            save = fields.get(forms.SAVE) == forms.YES
            with self._step("pay on the page", found) as span:
                paid = await self.checkout.pay(session_id, card, save=save, address=address)
                span.note(outcome=type(paid).__name__)
        match paid:
            case CardRefused(field=field, message=message):
                return self._mistakes(place, found, request, fields, {field: message})
            case TryLater():
                return self._form(
                    place,
                    found,
                    locale_of(request.headers.get("accept-language", "")),
                    wording.TRY_LATER,
                    entered=forms.entered(fields),
                    status=503,
                )
            case TooMany(retry_after_s=retry_after_s):
                return self._form(
                    place,
                    found,
                    locale_of(request.headers.get("accept-language", "")),
                    wording.TOO_MANY,
                    status=429,
                    retry_after_s=retry_after_s,
                )
            case Challenge():
                return self.answers.see_other(f"{place.prefix}/{session_id}/challenge")
            case _:
                return self.answers.see_other(f"{place.prefix}/{session_id}")

    async def lead_to_bank(self, place: Place, request: BrowserRequest, session_id: str) -> Html:
        """The page between ours and the bank's: it leads on by link and meta refresh, to any origin."""
        found = await self._find(place, session_id)
        if found is None:
            return self.answers.refused(404)
        url = bank_url(found)
        if url is None or standing(found, self.clock.now()) != "challenge":
            return self.answers.see_other(f"{place.prefix}/{session_id}")
        locale = locale_of(request.headers.get("accept-language", ""))
        notice = to_bank(url, f"{place.prefix}/{session_id}")
        return self._notice(place, found, locale, "challenge", notice, refresh=f"0; url={url}")

    async def back_from_bank(self, place: Place, session_id: str) -> Html:
        """The shopper is back: ask the bank's server what came of it, then show the page. A browser proves nothing."""
        found = await self._find(place, session_id)
        if found is None:
            return self.answers.refused(404)
        with self._step("return from the bank", found):
            await self.checkout.finish_challenge(session_id)
        return self.answers.see_other(f"{place.prefix}/{session_id}")

    async def leave(self, session_id: str) -> Html:
        """Where the page around an embedded one goes when it is done: the session's return_url."""
        found = await self._find(EMBEDDED, session_id)
        if found is None:
            return self.answers.refused(404)
        url = followable(found.session, found.session.return_url)
        if found.session.status != "complete" or url is None:
            return self.answers.see_other(f"{EMBEDDED.prefix}/{session_id}")
        return self.answers.see_other(url)

    def _step(self, name: str, found: SessionPage) -> Span:
        """What the shopper does as a step of the trace in which the session was opened. A browser's own `traceparent`
        is not looked at: it is a stranger's."""
        span = self.tracer.span(name, "server", read(found.intent.trace))
        span.note(payment_intent=found.intent.id)
        return span

    async def _find(self, place: Place, session_id: str) -> SessionPage | None:
        found = await self.checkout.page(session_id)
        return found if found is not None and found.session.ui_mode == place.ui_mode else None

    def _standing(self, place: Place, found: SessionPage, locale: Locale) -> Html:
        match standing(found, self.clock.now()):
            case "complete":
                return self._complete(place, found, locale)
            case "expired":
                return self._notice(place, found, locale, "expired", expired(found))
            case "processing":
                path = f"{place.prefix}/{found.session.id}"
                refresh = f"{PROCESSING_REFRESH_S}; url={path}"
                return self._notice(place, found, locale, "processing", processing(path), refresh=refresh)
            case "challenge":
                return self._form(place, found, locale, None, bank_path=f"{place.prefix}/{found.session.id}/challenge")
            case _:
                return self._form(place, found, locale, problem_of(found))

    def _complete(self, place: Place, found: SessionPage, locale: Locale) -> Html:
        session = found.session
        if place.embedded:
            # The page around us navigates, on our word; the link is for where its script is gone.
            returns = followable(session, session.return_url) is not None
            link = f"{EMBEDDED.prefix}/{session.id}/return" if returns else None
            notice = received(found.merchant, link, to_top=True)
            return self._notice(place, found, locale, "returning" if returns else "complete", notice)
        url = followable(session, session.success_url)
        refresh = f"{OUTCOME_SHOWN_S}; url={url}" if url else None
        return self._notice(place, found, locale, "complete", received(found.merchant, url), refresh=refresh)

    def _mistakes(
        self,
        place: Place,
        found: SessionPage,
        request: BrowserRequest,
        fields: dict[str, str],
        mistakes: dict[str, str],
    ) -> Html:
        locale = locale_of(request.headers.get("accept-language", ""))
        return self._form(place, found, locale, wording.MISTAKES, mistakes=mistakes, entered=forms.entered(fields))

    def _form(
        self,
        place: Place,
        found: SessionPage,
        locale: Locale,
        problem: wording.Problem | None,
        *,
        mistakes: dict[str, str] | None = None,
        entered: forms.Entered | None = None,
        bank_path: str | None = None,
        status: int = 200,
        retry_after_s: int | None = None,
    ) -> Html:
        order = order_of(found, locale)
        page = self._page(place, found, "challenge" if bank_path else "open", f"Pay {order.merchant}", problem=problem)
        body = self.answers.views.form(
            page,
            order,
            problem=problem,
            mistakes=mistakes,
            entered=entered,
            bank_path=bank_path,
            back_url=followable(found.session, found.session.cancel_url),
            saved=found.saved,
            saving=saving(found),
        )
        return self.answers.html(
            body,
            page.nonce,
            ancestors=_ancestors(place, found),
            status=422 if mistakes else status,
            retry_after_s=retry_after_s,
        )

    def _notice(
        self,
        place: Place,
        found: SessionPage,
        locale: Locale,
        status: str,
        notice: Notice,
        *,
        refresh: str | None = None,
    ) -> Html:
        page = self._page(place, found, status, notice.heading, refresh=refresh)
        body = self.answers.views.notice(page, notice, order_of(found, locale))
        return self.answers.html(body, page.nonce, ancestors=_ancestors(place, found))

    def _page(
        self,
        place: Place,
        found: SessionPage,
        status: str,
        title: str,
        *,
        problem: wording.Problem | None = None,
        refresh: str | None = None,
    ) -> Page:
        return Page(
            title=f"{problem.heading} – {title}" if problem else title,
            status=status,
            path=f"{place.prefix}/{found.session.id}",
            nonce=self.answers.nonce(),
            test=not found.session.livemode,
            embedded=place.embedded,
            parents=" ".join(_ancestors(place, found)),
            refresh=refresh,
            scripted=place.embedded or status in ("open", "challenge"),
        )


def _ancestors(place: Place, found: SessionPage) -> list[str]:
    return framing_origins(found.origins) if place.embedded else []
