"""What the operators' pages do: log in, look through dead letters, redrive them (RULES §6, §12).

Every form carries the session's CSRF token, and what changes something is answered by 303, so that reloading repeats
nothing. A redrive is asked for twice: first it is said how many dead letters it concerns.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

import msgspec
from litestar import Request, Response
from msgspec import Struct

from tallystick.gateway.console.views import ConsoleViews
from tallystick.gateway.pages import forms
from tallystick.gateway.pages.answers import HTML, NONCE_BYTES
from tallystick.gateway.pages.headers import page_headers
from tallystick.gateway.webhooks.dead_letters import DeadLetters
from tallystick.gateway.webhooks.operating import LettersQuery, Which, cursor_of
from tallystick.kernel.delivery.operating import place_of
from tallystick.kernel.delivery.redrive import RATE, RUNNING, Redrives
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.logins.users import SESSION_S, Logins, csrf_of, is_csrf
from tallystick.kernel.operators.problems import FieldsRefused
from tallystick.ports.entropy import Entropy

ROOT: Final = "/console"
LETTERS: Final = f"{ROOT}/dead-letters"
REDRIVES: Final = f"{ROOT}/redrives"
LOGIN: Final = f"{ROOT}/login"
COOKIE: Final = "tallystick_operator"
COOKIE_ATTRIBUTES: Final = f"Path={ROOT}; Secure; HttpOnly; SameSite=Strict"
PAGE_ROWS: Final = 50
STANDINGS_ROWS: Final = 20
REFRESH_S: Final = 2  # while a redrive is running
SAME_SITE: Final = (None, "same-origin", "none")  # Sec-Fetch-Site of what our own pages send; older browsers send none

BrowserRequest = Request[Any, Any, Any]
Html = Response[bytes]


class Session(Struct, frozen=True):
    """Who is logged in. Its repr does not show the token."""

    name: str
    token: str

    @property
    def csrf(self) -> str:
        """What every form of this session carries."""
        return csrf_of(self.token)

    def __repr__(self) -> str:
        return f"Session({self.name!r})"


Work = Callable[[Session], Awaitable[Html]]
FormWork = Callable[[Session, Mapping[str, str]], Awaitable[Html]]


class Console(Struct, frozen=True):
    """What the routes do."""

    logins: Logins
    letters: DeadLetters
    redrives: Redrives
    standings: Standings
    views: ConsoleViews
    entropy: Entropy
    https: bool

    async def show_login(self) -> Html:
        """The form that asks who it is."""
        return self._page("login", None, "Log in", wrong=False)

    async def log_in(self, request: BrowserRequest) -> Html:
        """A session for who knows the password."""
        fields = await self._fields(request)
        if fields is None:
            return self.problem(400)
        token = await self.logins.log_in(fields.get("name", ""), fields.get("password", ""))
        if token is None:
            return self._page("login", None, "Log in", status=401, wrong=True)
        cookie = f"{COOKIE}={token}; Max-Age={SESSION_S}; {COOKIE_ATTRIBUTES}"
        return self._see_other(LETTERS, {"Set-Cookie": cookie})

    async def log_out(self, request: BrowserRequest) -> Html:
        """The session ends, here and at the browser."""

        async def leave(session: Session, _: Mapping[str, str]) -> Html:
            await self.logins.log_out(session.token)
            return self._see_other(LOGIN, {"Set-Cookie": f"{COOKIE}=; Max-Age=0; {COOKIE_ATTRIBUTES}"})

        return await self._posted(request, leave)

    async def list_letters(self, request: BrowserRequest) -> Html:
        """Dead letters that fit the filters, the last to die first."""

        async def show(session: Session) -> Html:
            sent = {name: value.strip() for name, value in request.query_params.items() if value.strip()}
            try:
                asked = msgspec.convert({**sent, "limit": PAGE_ROWS}, LettersQuery, strict=False)
                before = None if asked.cursor is None else place_of(asked.cursor)
            except (msgspec.ValidationError, FieldsRefused):
                return self._page("letters", session, "Dead letters", status=422, **_no_letters(sent, refused=True))
            found = await self.letters.page(asked.filter(), before=before, letters_max=PAGE_ROWS + 1)
            shown = _no_letters(sent) | {
                "standings": await self.standings.ailing(endpoint=asked.endpoint, rows_max=STANDINGS_ROWS),
                "letters": found[:PAGE_ROWS],
                "cursor": cursor_of(found[PAGE_ROWS - 1]) if len(found) > PAGE_ROWS else None,
            }
            return self._page("letters", session, "Dead letters", **shown)

        return await self._seen(request, show)

    async def show_letter(self, request: BrowserRequest, delivery_id: str) -> Html:
        """One with every try."""

        async def show(session: Session) -> Html:
            found = None if "\x00" in delivery_id else await self.letters.find(delivery_id)
            if found is None:
                return self.problem(404, session)
            return self._page("letter", session, found[0].id, letter=found[0], attempts=found[1])

        return await self._seen(request, show)

    async def redrive(self, request: BrowserRequest) -> Html:
        """First how many it concerns; confirmed, it begins."""

        async def begin(session: Session, fields: Mapping[str, str]) -> Html:
            given = {name: fields[name] for name in Which.__struct_fields__ if fields.get(name)}
            try:
                filter = msgspec.convert(given, Which, strict=False).filter()
            except msgspec.ValidationError:
                return self.problem(400, session)
            if fields.get("confirmed") != "yes":
                matched = await self.redrives.count(filter)
                return self._page("confirm", session, "Redrive", given=given, matched=matched, rate=RATE)
            made = await self.redrives.create(filter, rate_max=RATE, by=session.name)
            return self._see_other(f"{REDRIVES}/{made.id}")

        return await self._posted(request, begin)

    async def show_redrive(self, request: BrowserRequest, redrive_id: str) -> Html:
        """How far it has come; the page looks again by itself while it is running."""

        async def show(session: Session) -> Html:
            found = None if "\x00" in redrive_id else await self.redrives.find(redrive_id)
            if found is None:
                return self.problem(404, session)
            refresh = REFRESH_S if found.state == RUNNING else None
            return self._page("redrive", session, "Redrive", refresh=refresh, redrive=found)

        return await self._seen(request, show)

    async def cancel(self, request: BrowserRequest, redrive_id: str) -> Html:
        """Stop a redrive where it is."""

        async def stop(session: Session, _: Mapping[str, str]) -> Html:
            found = None if "\x00" in redrive_id else await self.redrives.cancel(redrive_id)
            return self.problem(404, session) if found is None else self._see_other(f"{REDRIVES}/{found.id}")

        return await self._posted(request, stop)

    def problem(self, status: int, session: Session | None = None) -> Html:
        """A page for what cannot be shown or done."""
        return self._page("problem", session, "That did not work", status=status, problem=PROBLEMS.get(status, ""))

    async def _seen(self, request: BrowserRequest, work: Work) -> Html:
        """A page for who is logged in; others are led to the login."""
        session = await self._session(request)
        return self._see_other(LOGIN) if session is None else await work(session)

    async def _posted(self, request: BrowserRequest, work: FormWork) -> Html:
        """A form of a page of ours, made for this very session."""
        session = await self._session(request)
        if session is None:
            return self._see_other(LOGIN)
        fields = await self._fields(request)
        if fields is None or not is_csrf(session.token, fields.get("csrf", "")):
            return self.problem(403, session)
        return await work(session, fields)

    async def _session(self, request: BrowserRequest) -> Session | None:
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        token = "" if cookie is None else cookie.value
        found = await self.logins.operator_of(token)
        return None if found is None else Session(found.name, token)

    async def _fields(self, request: BrowserRequest) -> dict[str, str] | None:
        """The fields of a form that a page of ours sent, or None."""
        same_site = request.headers.get("sec-fetch-site") in SAME_SITE
        if not same_site or request.content_type[0] != forms.FORM_MEDIA_TYPE:
            return None
        try:
            return forms.read_form(await request.body())
        except forms.FormUnreadable:
            return None

    def _page(
        self,
        name: str,
        session: Session | None,
        title: str,
        *,
        status: int = 200,
        refresh: int | None = None,
        **shown: Any,
    ) -> Html:
        nonce = self._nonce()
        body = self.views.render(name, title=title, nonce=nonce, session=session, refresh=refresh, **shown)
        headers = page_headers(nonce, ancestors=(), https=self.https)
        return Response(body, status_code=status, media_type=HTML, headers=headers)

    def _see_other(self, location: str, more_headers: Mapping[str, str] | None = None) -> Html:
        headers = page_headers(self._nonce(), ancestors=(), https=self.https)
        headers |= {"Location": location, **(more_headers or {})}
        return Response(b"", status_code=303, media_type=HTML, headers=headers)

    def _nonce(self) -> str:
        return base64.b64encode(self.entropy.token_bytes(NONCE_BYTES)).decode()


PROBLEMS: Final = {
    400: "We could not read that.",
    403: "That form was not made for this session. Go back, reload the page and try again.",
    404: "There is no such thing, or no more.",
    503: "We cannot reach our records. Reload this page in a moment.",
}


def _no_letters(sent: Mapping[str, str], *, refused: bool = False) -> dict[str, Any]:
    given = {name: sent.get(name, "") for name in Which.__struct_fields__}
    return {"given": given, "refused": refused, "letters": [], "standings": [], "cursor": None}
