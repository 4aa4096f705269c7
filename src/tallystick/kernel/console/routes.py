"""The addresses of the operators' pages: those of both services, and those that a service adds."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath

from tallystick.kernel.assets import Asset
from tallystick.kernel.console.access import ACCOUNT, AUDIT, LOGIN, ROOT
from tallystick.kernel.console.acts import show_acts
from tallystick.kernel.console.console import (
    BrowserRequest,
    Console,
    Html,
    LoginNeeded,
    PageRefused,
    SecondFactorNeeded,
)
from tallystick.kernel.console.people import People
from tallystick.kernel.forms import BODY_BYTES_MAX
from tallystick.kernel.operators.roles import route
from tallystick.kernel.page_headers import asset_headers
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.key_encryption import KeyEncryptionError

log = logging.getLogger(__name__)

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]
Page = Callable[[BrowserRequest], Awaitable[Html]]


def routes(console: Console, service: str, start: Page, more: Sequence[HTTPRouteHandler] = ()) -> Router:
    """All of them, with errors as pages; `start` is what one sees first, `more` are the service's own."""
    pages = [_start(start), *_people(console, service), _acts(console), *more]
    guarded = Router(path="/", route_handlers=pages, guards=[_guard(console)])
    here = {route(method, f"{ROOT}{each.path_format}") for each in guarded.routes for method in each.methods}
    here = {each for each in here if not each.startswith("OPTIONS ")}
    assert here == console.access.keys(), f"routes and roles differ: {sorted(here ^ console.access.keys())}"
    return Router(
        path=ROOT,
        route_handlers=[guarded, *_open(console, service)],
        exception_handlers=_exception_handlers(console),
        request_max_body_size=BODY_BYTES_MAX,
        include_in_schema=False,
    )


def _guard(console: Console) -> Guard:
    """The framework copies guards when it nests routers, and with a method all that it belongs to: so a function."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        await console.guard(connection, handler)

    return guard


def _start(start: Page) -> HTTPRouteHandler:
    @get("/")
    async def enter(request: BrowserRequest) -> Html:
        return await start(request)

    return enter


def _open(console: Console, service: str) -> list[HTTPRouteHandler]:
    """What needs no login."""
    people = People(console, service)

    @get(_below(LOGIN))
    async def show_login() -> Html:
        return await people.show_login()

    @post(_below(LOGIN))
    async def log_in(request: Request[Any, Any, Any]) -> Html:
        return await people.log_in(request)

    @get("/{elsewhere:path}")
    async def nothing(elsewhere: FromPath[str]) -> Html:
        return console.problem(404)

    assets = (console.views.style, console.views.icon, console.views.script)
    return [show_login, log_in, *(_asset(console, asset) for asset in assets), nothing]


def _asset(console: Console, asset: Asset) -> HTTPRouteHandler:
    @get(_below(asset.path))
    async def serve() -> Html:
        return Response(asset.body, media_type=asset.media_type, headers=asset_headers(https=console.https))

    return serve


def _people(console: Console, service: str) -> list[HTTPRouteHandler]:
    people = People(console, service)

    @post("/logout")
    async def log_out(request: BrowserRequest) -> Html:
        return await people.log_out(request)

    @get(_below(ACCOUNT))
    async def show_account(request: BrowserRequest) -> Html:
        return await people.show_account(request)

    @post(f"{_below(ACCOUNT)}/logout-everywhere")
    async def log_out_everywhere(request: BrowserRequest) -> Html:
        return await people.log_out_everywhere(request)

    @post(f"{_below(ACCOUNT)}/password")
    async def change_password(request: BrowserRequest) -> Html:
        return await people.change_password(request)

    @post(f"{_below(ACCOUNT)}/second-factor")
    async def begin_second_factor(request: BrowserRequest) -> Html:
        return await people.begin_second_factor(request)

    @post(f"{_below(ACCOUNT)}/second-factor/confirm")
    async def confirm_second_factor(request: BrowserRequest) -> Html:
        return await people.confirm_second_factor(request)

    @post(f"{_below(ACCOUNT)}/second-factor/remove")
    async def remove_second_factor(request: BrowserRequest) -> Html:
        return await people.remove_second_factor(request)

    return [
        log_out,
        show_account,
        log_out_everywhere,
        change_password,
        begin_second_factor,
        confirm_second_factor,
        remove_second_factor,
    ]


def _acts(console: Console) -> HTTPRouteHandler:
    @get(_below(AUDIT))
    async def list_acts(request: BrowserRequest) -> Html:
        return await show_acts(console, request)

    return list_acts


def _exception_handlers(console: Console) -> dict[Any, Callable[[Request[Any, Any, Any], Any], Html]]:
    def broken(_: Request[Any, Any, Any], error: Exception) -> Html:
        log.error("a page of operators broke", exc_info=error)
        return console.problem(500)

    return {
        SecondFactorNeeded: lambda _, _error: console.see_other(ACCOUNT),
        KeyEncryptionError: lambda _, _error: console.problem(503),
        LoginNeeded: lambda _, _error: console.see_other(LOGIN),
        PageRefused: lambda _, refused: console.problem(refused.status, refused.session, refused.words),
        DatabaseUnavailable: lambda _, _error: console.problem(503),
        SerializationFailed: lambda _, _error: console.problem(503),
        HTTPException: lambda _, error: console.problem(error.status_code),
        Exception: broken,
    }


def _below(path: str) -> str:
    return path.removeprefix(ROOT)
