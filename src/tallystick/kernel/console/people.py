"""Logging in and out, and what people do with their own account: the second factor, logging out everywhere."""

import hmac
from functools import partial
from typing import Any

from litestar import Request

from tallystick.kernel.console.access import ACCOUNT, LOGIN, ROOT
from tallystick.kernel.console.console import BrowserRequest, Console, Html, Session
from tallystick.kernel.logins import totp
from tallystick.kernel.logins.sessions import Wait, Wrong
from tallystick.kernel.operators.keys import OperatorRefused

WRONG = "Name, password or code is wrong."


class People:
    """What the routes do."""

    def __init__(self, console: Console, service: str) -> None:
        self._console = console
        self._logins = console.logins
        self._service = service

    async def show_login(self) -> Html:
        """The form that asks who it is."""
        return self._console.page("login", None, "Log in", problem="")

    async def log_in(self, request: Request[Any, Any, Any]) -> Html:
        """A new session for who knows the password, and has the code where one is needed."""
        console = self._console
        fields = await console.fields(request)
        if fields is None:
            return console.problem(400)
        name, address = fields.get("name", ""), console.address(request)
        begun = await self._logins.log_in(name, fields.get("password", ""), fields.get("code", ""), address=address)
        refused = self._refused(begun)
        if refused is not None:
            if isinstance(begun, Wrong):
                known = name if await self._logins.knows(name) else ""
                await console.trail.note(console.act(request, None, "login", known), 401)
            return refused
        assert isinstance(begun, str)
        operator = await self._logins.session_of(begun)
        await console.trail.note(console.act(request, operator, "login"), 200)
        await self._logins.log_out(await console.token_of(request))  # whoever was logged in here before
        return console.see_other(ROOT, console.cookie(begun))

    async def log_out(self, request: BrowserRequest) -> Html:
        """The session ends, here and at the browser."""
        await self._logins.log_out(request.auth.token)
        return self._console.see_other(LOGIN, self._console.cookie(""))

    async def log_out_everywhere(self, request: BrowserRequest) -> Html:
        """All sessions of the person end."""
        await self._logins.log_out_everywhere(request.auth.name)
        return self._console.see_other(LOGIN, self._console.cookie(""))

    async def show_account(self, request: BrowserRequest) -> Html:
        """Who one is here, and how one logs in."""
        return await self._account(request.auth)

    async def begin_second_factor(self, request: BrowserRequest) -> Html:
        """Show the secret, once, to who knows the password."""
        session = request.auth
        refused = await self._doubted(request, session)
        if refused is not None:
            return refused
        secret = await self._logins.propose_second_factor(session.name)
        if secret is None:
            return await self._account(session, "There is a second factor already; remove it first.", 409)
        issuer = f"Tallystick {self._service}"
        link = totp.address(secret, session.name, issuer)
        return self._console.page("factor", session, "Second factor", secret=totp.shown(secret), link=link)

    async def confirm_second_factor(self, request: BrowserRequest) -> Html:
        """From now on a login needs a code. The session is a new one; all others end."""
        fields = await self._console.fields(request) or {}
        token = await self._logins.confirm_second_factor(request.auth.name, fields.get("code", ""))
        if token is None:
            return await self._account(request.auth, "That code is wrong. Begin again.", 422)
        return self._console.see_other(ACCOUNT, self._console.cookie(token))

    async def change_password(self, request: BrowserRequest) -> Html:
        """Another password. The session is a new one; all others end."""
        session = request.auth
        refused = await self._doubted(request, session)
        if refused is not None:
            return refused
        fields = await self._console.fields(request) or {}
        password = fields.get("new-password", "")
        if not hmac.compare_digest(password.encode(), fields.get("new-password-again", "").encode()):
            return await self._account(session, "The new password was not typed the same twice.", 422)
        try:
            token = await self._logins.change_password(session.name, password)
        except OperatorRefused as error:
            return await self._account(session, f"That did not work: {error}.", 422)
        return self._console.see_other(ACCOUNT, self._console.cookie(token))

    async def remove_second_factor(self, request: BrowserRequest) -> Html:
        """From now on a login needs no code."""
        session = request.auth
        if self._logins.needs_second_factor(session.role):
            return await self._account(session, "Your role needs a second factor.", 409)
        refused = await self._doubted(request, session)
        if refused is not None:
            return refused
        token = await self._logins.remove_second_factor(session.name)
        return self._console.see_other(ACCOUNT, self._console.cookie(token))

    async def _doubted(self, request: BrowserRequest, session: Session) -> Html | None:
        """A session that was left open is not enough to change how one logs in: the password, and the code where there
        is one, are asked again."""
        fields = await self._console.fields(request) or {}
        password, code = fields.get("password", ""), fields.get("code", "")
        address = self._console.address(request)
        found = await self._logins.check(session.name, password, code, address=address)
        if isinstance(found, Wait):
            return await self._account(session, f"Too many tries. Wait {found.retry_after_s} seconds.", 429)
        return None if found is None else await self._account(session, WRONG, 422)

    async def _account(self, session: Session, problem: str = "", status: int = 200) -> Html:
        second = await self._logins.has_second_factor(session.name)
        needed = self._logins.needs_second_factor(session.role)
        page = partial(self._console.page, "account", session, "Your account", status=status)
        return page(problem=problem, second_factor=second, needed=needed)

    def _refused(self, begun: str | Wrong | Wait) -> Html | None:
        if isinstance(begun, Wait):
            words = f"Too many tries. Wait {begun.retry_after_s} seconds, then try again."
            after = {"Retry-After": str(begun.retry_after_s)}
            return self._console.page("login", None, "Log in", status=429, problem=words, more_headers=after)
        if isinstance(begun, Wrong):
            return self._console.page("login", None, "Log in", status=401, problem=WRONG)
        return None
