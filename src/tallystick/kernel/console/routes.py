"""The addresses of the operators' pages: those of both services, and those that a service adds."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from litestar import Litestar, Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath

from tallystick.kernel.assets import Asset
from tallystick.kernel.audit.outcomes import noting_outcomes
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
from tallystick.kernel.service import Asgi
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.key_encryption import KeyEncryptionError

log = logging.getLogger(__name__)

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]
Page = Callable[[BrowserRequest], Awaitable[Html]]


def application(console: Console, service: str, start: Page, more: Mapping[str, Page]) -> Asgi:
    """All of them, with errors as pages, and every act noted with how it ended; `start` is what one sees first, `more`
    are the service's own, by method and address: `GET /console/orders/{order}`."""
    addresses = {f"GET {ROOT}/": start, **_of_both(console, service), **more}
    handlers = [_handler(asked, page) for asked, page in addresses.items()]
    guarded = Router(path="/", route_handlers=handlers, guards=[_guard(console)])
    here = {route(method, f"{ROOT}{each.path_format}") for each in guarded.routes for method in each.methods}
    here = {each for each in here if not each.startswith("OPTIONS ")}
    assert here == console.access.keys(), f"routes and roles differ: {sorted(here ^ console.access.keys())}"
    pages = Litestar(
        [Router(path=ROOT, route_handlers=[guarded, *_open(console, service)])],
        exception_handlers=_exception_handlers(console),
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )
    return noting_outcomes(cast(Asgi, pages), console.trail)


def _guard(console: Console) -> Guard:
    """The framework copies guards when it nests routers, and with a method all that it belongs to: so a function."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        await console.guard(connection, handler)

    return guard


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


def _of_both(console: Console, service: str) -> Mapping[str, Page]:
    people = People(console, service)

    async def list_acts(request: BrowserRequest) -> Html:
        return await show_acts(console, request)

    return {
        f"POST {ROOT}/logout": people.log_out,
        f"GET {ACCOUNT}": people.show_account,
        f"POST {ACCOUNT}/logout-everywhere": people.log_out_everywhere,
        f"POST {ACCOUNT}/password": people.change_password,
        f"POST {ACCOUNT}/second-factor": people.begin_second_factor,
        f"POST {ACCOUNT}/second-factor/confirm": people.confirm_second_factor,
        f"POST {ACCOUNT}/second-factor/remove": people.remove_second_factor,
        f"GET {AUDIT}": list_acts,
    }


def _handler(asked: str, page: Page) -> HTTPRouteHandler:
    """What answers a method at an address with a page."""
    method, _, path = asked.partition(" ")
    below = re.sub(r"{(\w+)}", r"{\1:str}", _below(path))

    async def handle(request: BrowserRequest) -> Html:
        return await page(request)

    return (get if method == "GET" else post)(below)(handle)


def _exception_handlers(console: Console) -> dict[Any, Callable[[Request[Any, Any, Any], Any], Html]]:
    def broken(_: Request[Any, Any, Any], error: Exception) -> Html:
        log.error("a page of operators broke", exc_info=error)
        return console.problem(500)

    def sealed(_: Request[Any, Any, Any], error: Exception) -> Html:
        log.warning("second factors cannot be opened now: %s", error)
        return console.problem(503)

    return {
        SecondFactorNeeded: lambda _, _error: console.see_other(ACCOUNT),
        KeyEncryptionError: sealed,
        LoginNeeded: lambda _, _error: console.see_other(LOGIN),
        PageRefused: lambda _, refused: console.problem(refused.status, refused.session, refused.words),
        DatabaseUnavailable: lambda _, _error: console.problem(503),
        SerializationFailed: lambda _, _error: console.problem(503),
        HTTPException: lambda _, error: console.problem(error.status_code),
        Exception: broken,
    }


def _below(path: str) -> str:
    return path.removeprefix(ROOT)
