"""The merchant service wired together, top to bottom: settings and ports in, the ASGI application and its workers
out.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any, cast

import msgspec
from litestar import Litestar, Response, Router, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from tallystick.kernel.audit.api import audit_routes
from tallystick.kernel.audit.outcomes import noting_outcomes
from tallystick.kernel.audit.trail import Trail
from tallystick.kernel.console.access import ROOT as CONSOLE_ROOT
from tallystick.kernel.console.console import Console
from tallystick.kernel.delivery.alerting import Alerter
from tallystick.kernel.delivery.keeper import Keeper
from tallystick.kernel.delivery.redrive import Redriver, Redrives
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.kernel.idempotency.completer import Completer
from tallystick.kernel.idempotency.worker import KeyReaper
from tallystick.kernel.invariants.worker import Invariants
from tallystick.kernel.logins.sessions import Logins
from tallystick.kernel.monitoring.counting import counted
from tallystick.kernel.monitoring.following import followed
from tallystick.kernel.monitoring.operating import status_routes
from tallystick.kernel.monitoring.watching import watched
from tallystick.kernel.operators.api import PREFIX as OPERATOR_PREFIX
from tallystick.kernel.operators.api import operator_api
from tallystick.kernel.operators.roles import roles_of
from tallystick.kernel.people.access import Access
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.sandbox.api import clock_routes
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.kernel.service import Asgi, Direct, Service, Web, Worker, at_first_call, built_anew
from tallystick.merchant import answers, docs_page, openapi
from tallystick.merchant.access import CONSOLE, OPERATORS, SANDBOX
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.cases.api import case_routes
from tallystick.merchant.cases.cases import case_teller
from tallystick.merchant.cases.operating import case_operations
from tallystick.merchant.cases.proposals import Proposals
from tallystick.merchant.checkout.api import checkout_routes
from tallystick.merchant.checkout.canceling import Canceling
from tallystick.merchant.checkout.commands import Checkout
from tallystick.merchant.checkout.drafts import Terms
from tallystick.merchant.console.order import Acting
from tallystick.merchant.console.routes import console_routes, console_views
from tallystick.merchant.console.wiring import open_pages
from tallystick.merchant.customers.api import customer_routes
from tallystick.merchant.customers.operating import customer_operations
from tallystick.merchant.customers.wiring import Customers, open_customers
from tallystick.merchant.errors import DatabaseDown
from tallystick.merchant.expiry.sweeping import Sweeper
from tallystick.merchant.expiry.worker import AttemptWorker
from tallystick.merchant.gateways.port import Gateway
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.gateways.stripe_reports import StripeReports
from tallystick.merchant.intake.api import inbox_routes
from tallystick.merchant.intake.backfill import BackfillWorker
from tallystick.merchant.intake.commands import Intake
from tallystick.merchant.intake.connections import WebhookConnections
from tallystick.merchant.intake.endpoint import PATH_PREFIX, WebhookEndpoint
from tallystick.merchant.intake.inbox import InboxWorker
from tallystick.merchant.invariants.rules import OWNERS, RULES
from tallystick.merchant.keyed import Keyed
from tallystick.merchant.late_money.stock import Stock
from tallystick.merchant.late_money.worker import ErrandWorker
from tallystick.merchant.monitoring.figures import FIGURES
from tallystick.merchant.notifications.about import about
from tallystick.merchant.notifications.api import letter_routes
from tallystick.merchant.notifications.dead_letters import DeadLetters
from tallystick.merchant.notifications.worker import ShopEndpoints
from tallystick.merchant.orders.api import order_routes
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.polling.commands import Poller
from tallystick.merchant.ports import Ports as Ports
from tallystick.merchant.ports import open_ports as open_ports
from tallystick.merchant.reconciliation.api import reconciliation_routes
from tallystick.merchant.reconciliation.contracts import contract_routes
from tallystick.merchant.reconciliation.job import Reconciler
from tallystick.merchant.reconciliation.resolving import Resolver
from tallystick.merchant.reconciliation.salvaging import Salvager
from tallystick.merchant.reconciliation.taking import Taker
from tallystick.merchant.refunds.api import refund_routes
from tallystick.merchant.refunds.commands import Refunds
from tallystick.merchant.refusals import RETRY_AFTER_S, exception_handlers
from tallystick.merchant.requests import BODY_BYTES_MAX, authenticate
from tallystick.merchant.resuming import Resuming
from tallystick.merchant.returning.api import ReturnPage, return_routes
from tallystick.merchant.settings import Settings
from tallystick.merchant.timeline.operating import timeline_routes
from tallystick.merchant.timeline.timeline import Timelines
from tallystick.ports.clock import Clock, SandboxClock, unmoved
from tallystick.ports.database import Database, DatabaseError, Statements
from tallystick.ports.entropy import Entropy
from tallystick.ports.traced_http import TracedDownloads, TracedHttp

SQL = Statements.beside(__file__)


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Behind(Struct, frozen=True):
    """What stands behind the API and the return page."""

    checkout: Checkout
    customers: Customers
    access: Access
    canceling: Canceling
    refunds: Refunds
    returning: ReturnPage
    directory: Directory
    proposals: Proposals
    letters: DeadLetters
    redrives: Redrives
    logins: Logins
    trail: Trail
    proxies: Proxies
    rates: Rates
    database: Database
    clock: Clock
    entropy: Entropy


class Operated(Struct, frozen=True):
    """What stands behind the operators' API. `sandbox` is None where time is nobody's to move."""

    proposals: Proposals
    access: Access
    inbox: InboxWorker
    letters: DeadLetters
    redrives: Redrives
    sandbox: SandboxTime | None
    proxies: Proxies
    rates: Rates
    database: Database
    clock: Clock
    entropy: Entropy


def build(settings: Settings, ports: Ports, *, web: Web = built_anew) -> Service:
    """The whole service over these ports."""
    database, clock, entropy, tracer = ports.database, ports.clock, ports.entropy, ports.traces.tracer
    http = TracedDownloads(ports.http, tracer, "gateway") if tracer.on else ports.http
    gateways: dict[str, Gateway] = {"stripe": StripeGateway(http, ports.secrets, clock, entropy)}
    directory = Directory(database, clock)

    terms = Terms(settings.origin, settings.order_ttl_s, settings.declines_max)
    outbox = Outbox(clock, entropy)
    keyed = Keyed(database, clock, settings.index_keys)
    customers = open_customers(
        ports.personal or database, ports.policy, ports.key_encryption, settings.index_keys, clock, entropy
    )
    checkout = Checkout(database, gateways, directory, clock, entropy, terms, keyed, customers.people, outbox)
    refunds = Refunds(database, gateways, directory, clock, keyed, outbox)
    poller = Poller(database, gateways, directory, clock, outbox)
    returning = ReturnPage(database, directory, poller, clock)
    intake = Intake(database, clock, outbox)
    webhooks = WebhookEndpoint(
        intake,
        WebhookConnections(database, ports.secrets, clock),
        {name: gateway.read_event for name, gateway in gateways.items()},
        clock,
        tracer,
    )
    attempts = AttemptWorker(database, gateways, directory, clock, entropy, outbox)
    sweeper = Sweeper(database, clock, outbox)
    shops = ports.shops or ports.http
    deliveries = Dispatcher(database, shops, ShopEndpoints(), clock, entropy, tracer=tracer, about=about)
    letters = DeadLetters(database)
    redrives = Redrives(database, letters, clock, entropy)
    notifying = (
        deliveries,
        Redriver(database, letters, clock),
        Keeper(database, ShopEndpoints(), clock),
        Alerter(database, ports.alerts, clock, command="tallystick merchant dead-letters"),
    )
    inbox = InboxWorker(database, gateways, clock, entropy, outbox)
    stock = Stock(TracedHttp(shops, tracer, "stock hook") if tracer.on else shops)
    errands = ErrandWorker(database, gateways, directory, stock, clock, entropy, outbox)
    backfill = BackfillWorker(database, intake, gateways, directory, clock, entropy)
    reconciler, proposals = _reconciling(ports, directory, outbox)
    completer = Completer(keyed.idempotency, Resuming(checkout, refunds).resume, clock)
    reaper = KeyReaper(keyed.idempotency, clock)

    canceling = Canceling(database, clock, keyed, outbox)
    second_factor_roles = roles_of(settings.second_factor_roles)
    logins = Logins(database, unmoved(clock), entropy, ports.key_encryption, second_factor_roles)
    trail = Trail(database, clock, entropy)
    proxies, rates = Proxies(settings.trusted_proxies), _rates(settings)
    asked = (checkout, customers, customers.access, canceling, refunds, returning, directory)
    hanging = (proposals, letters, redrives)
    behind = Behind(*asked, *hanging, logins, trail, proxies, rates, database, clock, entropy)
    api = noting_outcomes(followed(web(_api, settings.origin, behind), tracer), trail, below=CONSOLE_ROOT)
    sandbox = SandboxTime(database, clock, SQL.pending) if isinstance(clock, SandboxClock) else None
    operated = Operated(
        proposals, customers.access, inbox, letters, redrives, sandbox, proxies, rates, database, clock, entropy
    )
    operators = at_first_call(lambda: web(_operators, settings.origin, operated))
    every_s = settings.invariants_every_s
    invariants = [Invariants(database, clock, RULES, OWNERS, every_s=every_s)] if every_s else []
    workers: tuple[Worker, ...] = (
        attempts,
        case_teller(database, ports.alerts, clock),
        sweeper,
        inbox,
        backfill,
        errands,
        reconciler,
        *notifying,
        completer,
        reaper,
        *customers.workers,
        *invariants,
        *ports.traces.workers,
        *([sandbox] if sandbox else []),
    )
    direct = Direct(PATH_PREFIX.encode(), webhooks.begin)
    seen = watched("Merchant service", FIGURES, database, ports.alerts, clock, settings)
    return Service(_mounted(api, operators, webhooks), workers, direct, seen)


def _api(origin: str, behind: Behind) -> Asgi:
    """The API, the shopper's return page, the operators' pages, and what describes the API."""
    https = origin.startswith("https://")
    console = Console(CONSOLE, behind.logins, behind.trail, console_views(), behind.entropy, behind.proxies, https)
    acting = Acting(behind.checkout, behind.canceling, behind.refunds, behind.directory)
    hanging = (behind.proposals, behind.letters, behind.redrives)
    pages = open_pages(console, acting, behind.access, *hanging, behind.database, behind.clock, behind.entropy)
    api = Litestar(
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
            console_routes(console, pages),
            *_health_routes(behind.database),
            *_description_routes(origin),
        ],
        openapi_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        exception_handlers=exception_handlers(behind.clock, behind.entropy),
        logging_config=None,
    )
    return cast(Asgi, api)


def _operators(_origin: str, operated: Operated) -> Asgi:
    """What operators call; with the routes that both services have."""
    database, clock, entropy = operated.database, operated.clock, operated.entropy
    sandbox = [operated.sandbox] if isinstance(operated.sandbox, SandboxTime) else []
    handlers = [
        *case_operations(database, operated.proposals),
        *contract_routes(database, clock, entropy),
        *customer_operations(operated.access),
        *inbox_routes(database, operated.inbox, clock),
        *letter_routes(operated.letters, operated.redrives, Standings(database, clock)),
        *timeline_routes(Timelines(database, clock)),
        *status_routes("merchant", database, FIGURES, clock),
        *audit_routes(Trail(database, clock, entropy)),
        *(route for time in sandbox for route in clock_routes(time)),
    ]
    access = {**OPERATORS, **SANDBOX} if sandbox else OPERATORS
    return operator_api("merchant", access, handlers, database, clock, entropy, operated.proxies, operated.rates)


def _rates(settings: Settings) -> Rates:
    return Rates(calls_per_key=settings.calls_per_key_max, refusals_per_address=settings.refusals_per_address_max)


def _reconciling(ports: Ports, directory: Directory, outbox: Outbox) -> tuple[Reconciler, Proposals]:
    """The job that compares what was settled with what was sold, and what people decide about its cases."""
    database, clock, entropy = ports.database, ports.clock, ports.entropy
    reports = StripeReports(ports.http, ports.secrets, clock, entropy)
    taker = Taker(database, reports, Salvager(database, reports, clock, outbox), clock, entropy)
    resolver = Resolver(database, reports, clock, entropy, outbox)
    reconciler = Reconciler(database, directory, taker, resolver, clock, entropy, ports.alerts, ports.traces.tracer)
    return reconciler, Proposals(database, directory, reports, clock, entropy, outbox)


def _mounted(api: Asgi, operators: Asgi, webhooks: Asgi) -> Asgi:
    """Webhooks go past the framework: nothing stands between the server and the hot path."""
    api, operators = counted("api", api), counted("operator", operators)  # webhooks are counted by what became of them

    async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PATH_PREFIX):
            await webhooks(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(OPERATOR_PREFIX):
            await operators(scope, receive, send)
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
