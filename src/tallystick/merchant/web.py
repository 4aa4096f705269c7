"""What the merchant service answers: its API with the shopper's return page, the operators' pages, their API."""

from functools import cache
from typing import cast

import msgspec
from litestar import Litestar, Response, Router, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from tallystick.kernel.audit.operating import audit_routes
from tallystick.kernel.audit.trail import Trail
from tallystick.kernel.console.access import ROOT as CONSOLE_ROOT
from tallystick.kernel.console.console import Console
from tallystick.kernel.delivery.redrive import Redrives
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.logins.sessions import Logins
from tallystick.kernel.monitoring.counting import counted
from tallystick.kernel.monitoring.operating import status_routes
from tallystick.kernel.operators.api import PREFIX as OPERATOR_PREFIX
from tallystick.kernel.operators.api import operator_api
from tallystick.kernel.people.access import Access
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.kernel.sandbox.operating import clock_routes
from tallystick.kernel.service import Asgi, is_below
from tallystick.merchant import answers, docs_page, openapi
from tallystick.merchant.access import CONSOLE, OPERATORS, SANDBOX
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.cases.api import case_routes
from tallystick.merchant.cases.operating import case_operations
from tallystick.merchant.cases.proposals import Proposals
from tallystick.merchant.checkout.api import checkout_routes
from tallystick.merchant.checkout.canceling import Canceling
from tallystick.merchant.checkout.commands import Checkout
from tallystick.merchant.console import routes as console_routes
from tallystick.merchant.console.order import Acting
from tallystick.merchant.console.routes import console_views
from tallystick.merchant.console.wiring import open_pages
from tallystick.merchant.customers.api import customer_routes
from tallystick.merchant.customers.operating import customer_operations
from tallystick.merchant.customers.wiring import Customers
from tallystick.merchant.errors import DatabaseDown
from tallystick.merchant.intake.endpoint import PATH_PREFIX, Receive, Scope, Send
from tallystick.merchant.intake.inbox import InboxWorker
from tallystick.merchant.intake.operating import inbox_routes
from tallystick.merchant.monitoring.figures import FIGURES
from tallystick.merchant.notifications.dead_letters import DeadLetters
from tallystick.merchant.notifications.operating import letter_routes
from tallystick.merchant.orders.api import order_routes
from tallystick.merchant.reconciliation.api import reconciliation_routes
from tallystick.merchant.reconciliation.contracts import contract_routes
from tallystick.merchant.refunds.api import refund_routes
from tallystick.merchant.refunds.commands import Refunds
from tallystick.merchant.refusals import RETRY_AFTER_S, exception_handlers
from tallystick.merchant.requests import BODY_BYTES_MAX, authenticate
from tallystick.merchant.returning.api import ReturnPage, return_routes
from tallystick.merchant.timeline.operating import timeline_routes
from tallystick.merchant.timeline.timeline import Timelines
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)


class Behind(Struct, frozen=True):
    """What stands behind all of it. `sandbox` is None where time is nobody's to move."""

    checkout: Checkout
    customers: Customers
    access: Access
    canceling: Canceling
    refunds: Refunds
    returning: ReturnPage
    directory: Directory
    proposals: Proposals
    inbox: InboxWorker
    letters: DeadLetters
    redrives: Redrives
    logins: Logins
    trail: Trail
    sandbox: SandboxTime | None
    proxies: Proxies
    rates: Rates
    database: Database
    clock: Clock
    entropy: Entropy


def api(origin: str, behind: Behind) -> Asgi:
    """The API, the shopper's return page, and what describes the API."""
    application = Litestar(
        route_handlers=[
            Router(
                "/",
                route_handlers=[
                    *order_routes(behind.database),
                    *checkout_routes(behind.checkout, behind.canceling),
                    *refund_routes(behind.refunds),
                    *customer_routes(behind.customers),
                    *case_routes(behind.database),
                    *reconciliation_routes(behind.database, behind.clock, behind.entropy),
                ],
                guards=[authenticate(behind.directory, behind.rates, behind.proxies, behind.clock)],
            ),
            *return_routes(behind.returning),
            *_health_routes(behind.database),
            *_description_routes(origin),
        ],
        openapi_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        exception_handlers=exception_handlers(behind.clock, behind.entropy),
        logging_config=None,
    )
    return cast(Asgi, application)


def console(origin: str, behind: Behind) -> Asgi:
    """The operators' pages."""
    https = origin.startswith("https://")
    console = Console(CONSOLE, behind.logins, behind.trail, console_views(), behind.entropy, behind.proxies, https)
    acting = Acting(behind.checkout, behind.canceling, behind.refunds, behind.directory)
    hanging = (behind.proposals, behind.letters, behind.redrives)
    pages = open_pages(console, acting, behind.access, *hanging, behind.database, behind.clock, behind.entropy)
    return console_routes.application(console, pages)


def operators(_origin: str, behind: Behind) -> Asgi:
    """What operators call; with the routes that both services have."""
    database, clock, entropy = behind.database, behind.clock, behind.entropy
    sandbox = [behind.sandbox] if isinstance(behind.sandbox, SandboxTime) else []
    handlers = [
        *case_operations(database, behind.proposals),
        *contract_routes(database, clock, entropy),
        *customer_operations(behind.access),
        *inbox_routes(database, behind.inbox, clock),
        *letter_routes(behind.letters, behind.redrives, Standings(database, clock)),
        *timeline_routes(Timelines(database, clock)),
        *status_routes("merchant", database, FIGURES, clock),
        *audit_routes(behind.trail),
        *(route for time in sandbox for route in clock_routes(time)),
    ]
    access = {**OPERATORS, **SANDBOX} if sandbox else OPERATORS
    return operator_api("merchant", access, handlers, database, clock, entropy, behind.proxies, behind.rates)


def mounted(api: Asgi, console: Asgi, operators: Asgi, webhooks: Asgi) -> Asgi:
    """Webhooks go past the framework: nothing stands between the server and the hot path."""
    # Webhooks are counted by what became of them.
    api, console, operators = counted("api", api), counted("console", console), counted("operator", operators)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PATH_PREFIX):
            await webhooks(scope, receive, send)
        elif scope["type"] == "http" and is_below(OPERATOR_PREFIX, scope["path"]):
            await operators(scope, receive, send)
        elif scope["type"] == "http" and is_below(CONSOLE_ROOT, scope["path"]):
            await console(scope, receive, send)
        else:
            await api(scope, receive, send)

    return application


def _health_routes(database: Database) -> list[HTTPRouteHandler]:
    @get("/healthz")
    async def health() -> Response[bytes]:
        return answers.json(openapi.Health("ok"))

    @get("/readyz")
    async def ready() -> Response[bytes]:
        try:
            await database.rows(SQL.ready, "mer_0")
        except DatabaseError:
            raise DatabaseDown(retry_after_s=RETRY_AFTER_S) from None
        return answers.json(openapi.Health("ok"))

    return [health, ready]


def _description_routes(origin: str) -> list[HTTPRouteHandler]:
    encoded, page = _description(origin)

    @get("/openapi.json")
    async def description() -> Response[bytes]:
        return answers.encoded(encoded, 200)

    @get("/docs")
    async def docs() -> Response[str]:
        return Response(page, media_type="text/html; charset=utf-8", headers=docs_page.HEADERS)

    return [description, docs]


@cache
def _description(origin: str) -> tuple[bytes, str]:
    """What the API's description and its page are: the same for every service that a process builds."""
    document = openapi.document(origin)
    return msgspec.json.encode(document), docs_page.render(document)
