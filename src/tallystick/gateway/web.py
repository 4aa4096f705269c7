"""What the gateway answers: the shopper's and the operators' pages and the operators' API, beside the wire."""

from collections.abc import MutableMapping
from typing import Any, cast

import structlog
from litestar import Litestar, Request, Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from tallystick.gateway.access import OPERATORS, SANDBOX
from tallystick.gateway.acts.operating import act_routes
from tallystick.gateway.cases.cases import Cases
from tallystick.gateway.cases.operating import case_routes
from tallystick.gateway.checkout.commands import Checkout
from tallystick.gateway.console import routes as console_routes
from tallystick.gateway.console.routes import console_views
from tallystick.gateway.console.wiring import Commands, access_of, pages_of
from tallystick.gateway.faults.operating import fault_routes
from tallystick.gateway.monitoring.figures import FIGURES
from tallystick.gateway.pages.answers import Answers
from tallystick.gateway.pages.assets import read_assets
from tallystick.gateway.pages.bank import Bank
from tallystick.gateway.pages.pages import Pages
from tallystick.gateway.pages.routes import routes as page_routes
from tallystick.gateway.pages.views import Views
from tallystick.gateway.payments.operating import unknown_outcome_routes
from tallystick.gateway.people.operating import people_routes
from tallystick.gateway.settlement.operating import settlement_routes
from tallystick.gateway.timeline.operating import timeline_routes
from tallystick.gateway.timeline.timeline import Timelines
from tallystick.gateway.webhooks.operating import operator_routes
from tallystick.kernel.audit.operating import audit_routes
from tallystick.kernel.audit.trail import Trail
from tallystick.kernel.console.access import ROOT as CONSOLE_ROOT
from tallystick.kernel.console.console import Console
from tallystick.kernel.logins.sessions import Logins
from tallystick.kernel.monitoring.counting import counted
from tallystick.kernel.monitoring.operating import status_routes
from tallystick.kernel.operators.api import PREFIX as OPERATOR_PREFIX
from tallystick.kernel.operators.api import operator_api
from tallystick.kernel.page_headers import document_headers
from tallystick.kernel.people.access import Access
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.kernel.sandbox.operating import clock_routes
from tallystick.kernel.service import Asgi, is_below
from tallystick.ports.database import Database, DatabaseError, Statements
from tallystick.ports.tracing import Tracer

SQL = Statements.beside(__file__)

WIRE_PREFIX = "/v1"

log = structlog.get_logger("tallystick.gateway")


class Behind(Commands, frozen=True):
    """What stands behind the pages, and behind the operators' API."""

    checkout: Checkout
    logins: Logins
    trail: Trail
    proxies: Proxies
    rates: Rates
    access: Access
    tracer: Tracer


def operators(_origin: str, behind: Behind) -> Asgi:
    """What operators call."""
    database, clock, entropy = behind.database, behind.clock, behind.entropy
    sandbox = [behind.sandbox] if isinstance(behind.sandbox, SandboxTime) else []
    handlers = [
        *operator_routes(database, behind.letters, behind.redrives, clock, entropy),
        *fault_routes(behind.faults),
        *settlement_routes(behind.settlement, database, clock),
        *case_routes(Cases(database, clock)),
        *unknown_outcome_routes(behind.resolving),
        *act_routes(behind.acts),
        *timeline_routes(Timelines(database, clock)),
        *people_routes(behind.access),
        *status_routes("gateway", database, FIGURES, clock),
        *audit_routes(behind.trail),
        *(route for time in sandbox for route in clock_routes(time)),
    ]
    access = {**OPERATORS, **SANDBOX} if sandbox else OPERATORS
    return operator_api("gateway", access, handlers, database, clock, entropy, behind.proxies, behind.rates)


def pages(origin: str, behind: Behind) -> Asgi:
    """What shoppers' browsers and load balancers see."""
    assets, https = read_assets(), origin.startswith("https://")
    answers = Answers(Views(assets), behind.entropy, https)
    pages_of_sessions = Pages(behind.checkout, answers, behind.clock, behind.proxies, behind.tracer)
    application = Litestar(
        route_handlers=[
            page_routes(pages_of_sessions, Bank(behind.checkout, answers), assets, behind.rates),
            *_health_routes(behind.database),
        ],
        openapi_config=None,
        logging_config=None,
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )
    return cast(Asgi, application)


def console(origin: str, behind: Behind) -> Asgi:
    """The operators' pages."""
    access, views, https = access_of(behind), console_views(), origin.startswith("https://")
    console = Console(access, behind.logins, behind.trail, views, behind.entropy, behind.proxies, https)
    return console_routes.application(console, pages_of(console, behind))


def mounted(wire: Asgi, console: Asgi, operators: Asgi, pages: Asgi) -> Asgi:
    """The wire goes past the framework: nothing stands between the server and the hot path."""
    wire, console = counted("wire", wire), counted("console", console)
    operators, pages = counted("operator", operators), counted("pages", pages)

    async def application(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and is_below(WIRE_PREFIX, path):
            await wire(scope, receive, send)
        elif scope["type"] == "http" and is_below(OPERATOR_PREFIX, path):
            await operators(scope, receive, send)
        elif scope["type"] == "http" and is_below(CONSOLE_ROOT, path):
            await console(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return application


def _health_routes(database: Database) -> list[HTTPRouteHandler]:
    @get("/healthz")
    async def health() -> Response[bytes]:
        return _plain(200, b"ok\n")

    @get("/readyz")
    async def ready() -> Response[bytes]:
        try:
            await database.rows(SQL.ready)
        except DatabaseError as error:
            return _plain(503, f"the database does not answer: {type(error).__name__}\n".encode())
        return _plain(200, b"ok\n")

    return [health, ready]


def _refused(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses outside the pages, which have answers of their own."""
    return _plain(error.status_code, b"There is nothing here.\n" if error.status_code == 404 else b"Refused.\n")


def _broken(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("page_broke", exc_info=error)
    return _plain(500, b"An error of ours.\n")


def _plain(status: int, body: bytes) -> Response[bytes]:
    return Response(body, status_code=status, media_type="text/plain", headers=document_headers(""))
