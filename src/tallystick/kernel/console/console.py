"""Who may see an operators' page, and how it reaches the browser (RULES §9, §12).

The guard stands before every page but the login. It asks in this order: is somebody logged in, does the role allow it
(the table of the service, `access.py`), was the form made for this session; then it notes the act. So a page of a
service decides nothing of this, and cannot forget it. Every page works without a script; some have one that keeps them
new (`static/live.js`), and what it asks for does not count as somebody being there.
"""

import base64
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from msgspec import Struct

from tallystick.kernel.audit.outcomes import begin
from tallystick.kernel.audit.trail import Act, Trail
from tallystick.kernel.console.access import ENROLMENT
from tallystick.kernel.console.views import ConsoleViews
from tallystick.kernel.forms import FORM_MEDIA_TYPE, SAME_SITE, FormUnreadable, read_form
from tallystick.kernel.logins.sessions import SESSION_S, Logins, csrf_of, is_csrf
from tallystick.kernel.operators.keys import Operator
from tallystick.kernel.operators.roles import Access, Role, may, route
from tallystick.kernel.page_headers import page_headers
from tallystick.kernel.proxies import Proxies
from tallystick.ports.entropy import Entropy

NONCE_BYTES: Final = 16
HTML: Final = "text/html"
LIVE_HEADER: Final = "tallystick-live"  # sent by the script that keeps a page new
COOKIE_ATTRIBUTES: Final = "Path=/; Secure; HttpOnly; SameSite=Strict"

Html = Response[bytes]


class Session(Struct, frozen=True):
    """Who is logged in, and where they are. Its repr does not show the token."""

    name: str
    role: Role
    token: str
    path: str = ""

    def at(self, path: str) -> bool:
        """Whether they look at this page, or at one below it."""
        return self.path == path or self.path.startswith(path + "/")

    @property
    def csrf(self) -> str:
        """What every form of this session carries."""
        return csrf_of(self.token)

    def __repr__(self) -> str:
        return f"Session({self.name!r}, {self.role!r})"


BrowserRequest = Request[Session, Any, Any]


class LoginNeeded(Exception):
    """Nobody is logged in: the browser is led to the login."""


class SecondFactorNeeded(Exception):
    """The role needs a second factor, and there is none: the browser is led to where one is added."""


class PageRefused(Exception):
    """A page that says why not."""

    def __init__(self, status: int, session: Session | None = None, words: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.session = session
        self.words = words


class Console(Struct, frozen=True):
    """What all pages of operators need. `access` names every route below /console that needs a login."""

    access: Access
    logins: Logins
    trail: Trail
    views: ConsoleViews
    entropy: Entropy
    proxies: Proxies
    https: bool

    async def guard(self, connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        """Raises LoginNeeded, SecondFactorNeeded and PageRefused; whoever passes is `request.auth`."""
        assert isinstance(connection, Request)
        asked = route(connection.method, connection.scope["path_template"])
        if connection.method == "OPTIONS":  # the framework's own answer: which methods there are
            return
        session = connection.scope["auth"] = await self._session(connection)
        if session is None:
            raise LoginNeeded
        ids = "/".join(map(str, connection.path_params.values()))
        act = self.act(connection, Operator(session.name, session.role), asked, ids)
        if not may(self.access, asked, session.role):
            await self.trail.note(act, 403)
            raise PageRefused(403, session, "Your role does not allow that.")
        enrols = asked not in ENROLMENT and self.logins.needs_second_factor(session.role)
        if enrols and not await self.logins.has_second_factor(session.name):
            await self.trail.note(act, 403)
            raise SecondFactorNeeded
        if connection.method != "POST" and not asked.endswith("/audit"):
            return
        fields = await self.fields(connection) if connection.method == "POST" else dict(connection.query_params.items())
        if fields is None or (connection.method == "POST" and not is_csrf(session.token, fields.get("csrf", ""))):
            await self.trail.note(act, 403)
            raise PageRefused(403, session)
        act = self.act(connection, Operator(session.name, session.role), asked, ids, fields)
        await begin(cast("dict[str, Any]", connection.scope), self.trail, act)

    def act(
        self,
        request: Request[Any, Any, Any],
        operator: Operator | None,
        asked: str,
        subject: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> Act:
        """What a page's visitor is about to do."""
        return Act(
            operator=operator.name if operator else "",
            role=operator.role if operator else None,
            via="console",
            act=asked,
            subject=subject,
            asked=dict(fields) if fields else None,
            address=self.address(request),
        )

    def address(self, request: Request[Any, Any, Any]) -> str:
        """From where the visitor comes."""
        return self.proxies.client(request.scope)

    async def fields(self, request: Request[Any, Any, Any]) -> dict[str, str] | None:
        """The fields of a form that a page of ours sent, or None."""
        same_site = request.headers.get("sec-fetch-site") in SAME_SITE
        if not same_site or request.content_type[0] != FORM_MEDIA_TYPE:
            return None
        try:
            return read_form(await request.body())
        except FormUnreadable:
            return None

    def page(
        self,
        name: str,
        session: Session | None,
        title: str,
        *,
        status: int = 200,
        refresh: int | None = None,
        live: int | None = None,
        carry: Mapping[str, str] | None = None,
        more_headers: Mapping[str, str] | None = None,
        **shown: Any,
    ) -> Html:
        """A template as a page.

        live      after how many seconds its parts with `data-region` are asked for again, where a script may run
        refresh   the same, and without a script the whole page is loaded again: for pages where nothing is filled in
        carry     what the pages linked from the bar on top are told of this one
        """
        nonce = self._nonce()
        role = session.role if session else None
        links = [link for link in self.views.links if role and may(self.access, f"GET {link.path}", role)]
        told = {"title": title, "nonce": nonce, "session": session, "links": links, "carry": carry or {}}
        live = refresh or live
        body = self.views.render(name, **told, refresh=refresh, live=live, **shown)
        assert not live or b"data-region" in body, f"{name} is to be kept new, and no part of it is marked"
        headers = page_headers(nonce, ancestors=(), https=self.https, fetches=bool(live)) | dict(more_headers or {})
        return Response(body, status_code=status, media_type=HTML, headers=headers)

    def see_other(self, location: str, more_headers: Mapping[str, str] | None = None) -> Html:
        """303, so that reloading repeats nothing."""
        headers = page_headers(self._nonce(), ancestors=(), https=self.https)
        headers |= {"Location": location, **(more_headers or {})}
        return Response(b"", status_code=303, media_type=HTML, headers=headers)

    def may(self, session: Session, asked: str) -> bool:
        """Whether somebody may use a route, `METHOD /path/{parameter}`: what they may not is not offered to them."""
        return may(self.access, asked, session.role)

    def problem(self, status: int, session: Session | None = None, words: str = "") -> Html:
        """A page for what cannot be shown or done."""
        shown = words or PROBLEMS.get(status, "")
        return self.page("problem", session, "That did not work", status=status, problem=shown)

    def cookie(self, token: str) -> dict[str, str]:
        """The header that hands a session to the browser; an empty token takes it away."""
        return {"Set-Cookie": f"{self._cookie}={token}; Max-Age={SESSION_S if token else 0}; {COOKIE_ATTRIBUTES}"}

    @property
    def _cookie(self) -> str:
        """`__Host-`: no other host and no plain HTTP can have set it. Browsers take the prefix over HTTPS only."""
        return "__Host-tallystick_operator" if self.https else "tallystick_operator"

    async def token_of(self, request: Request[Any, Any, Any]) -> str:
        """The token that the browser sent, or nothing."""
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return "" if cookie is None else cookie.value

    async def _session(self, request: Request[Any, Any, Any]) -> Session | None:
        token = await self.token_of(request)
        found = await self.logins.session_of(token, seen=LIVE_HEADER not in request.headers)
        return None if found is None else Session(found.name, found.role, token, request.url.path)

    def _nonce(self) -> str:
        return base64.b64encode(self.entropy.token_bytes(NONCE_BYTES)).decode()


PROBLEMS: Final = {
    400: "We could not read that.",
    403: "That form was not made for this session. Go back, reload the page and try again.",
    404: "There is no such thing, or no more.",
    405: "That address does not take this.",
    413: "That was too much.",
    500: "That is a fault of ours, and was logged.",
    503: "We cannot reach our records. Reload this page in a moment.",
}
