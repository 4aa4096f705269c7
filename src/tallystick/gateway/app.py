"""The gateway wired together, top to bottom: settings and ports in, the ASGI application and its workers out."""

from collections.abc import Callable, MutableMapping
from typing import Any, cast

import structlog
from litestar import Litestar, Request, Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from tallystick.gateway.access import OPERATORS, SANDBOX
from tallystick.gateway.accounts.authentication import Authenticator
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.acts.commands import Acts
from tallystick.gateway.acts.operating import act_routes
from tallystick.gateway.balance import api as balance_api
from tallystick.gateway.card_testing.guard import CardTesting, Forgetting
from tallystick.gateway.card_testing.limits import Limits as TestingLimits
from tallystick.gateway.cards import api as cards_api
from tallystick.gateway.cards.commands import Cards
from tallystick.gateway.cards.typed import TypedCards
from tallystick.gateway.cards.worker import Purge
from tallystick.gateway.cases.cases import Cases, case_teller
from tallystick.gateway.cases.operating import case_routes
from tallystick.gateway.checkout import api as checkout_api
from tallystick.gateway.checkout.commands import Checkout
from tallystick.gateway.checkout.worker import Expiry
from tallystick.gateway.console.routes import console_routes, console_views
from tallystick.gateway.console.wiring import Commands, access_of, pages_of
from tallystick.gateway.customers import api as customers_api
from tallystick.gateway.customers.commands import Customers
from tallystick.gateway.disputes import api as disputes_api
from tallystick.gateway.disputes.commands import Disputes
from tallystick.gateway.disputes.worker import Contests
from tallystick.gateway.faults.acquirer import FaultyAcquirer
from tallystick.gateway.faults.faults import Faults
from tallystick.gateway.faults.operating import fault_routes
from tallystick.gateway.faults.webhooks import FaultyHttp
from tallystick.gateway.invariants.rules import OWNERS, RULES
from tallystick.gateway.monitoring.figures import FIGURES
from tallystick.gateway.pages.answers import Answers
from tallystick.gateway.pages.assets import read_assets
from tallystick.gateway.pages.bank import Bank
from tallystick.gateway.pages.pages import Pages
from tallystick.gateway.pages.routes import routes as page_routes
from tallystick.gateway.pages.views import Views
from tallystick.gateway.payments import api as payments_api
from tallystick.gateway.payments.calling import Calling
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.commands import Payments
from tallystick.gateway.payments.completing import Completion
from tallystick.gateway.payments.inquiring import Inquirer, Inquiries
from tallystick.gateway.payments.operating import unknown_outcome_routes
from tallystick.gateway.payments.resolving import Resolving
from tallystick.gateway.payments.work import Commits
from tallystick.gateway.people.operating import people_routes
from tallystick.gateway.people.wiring import People as WhoTheyAre
from tallystick.gateway.people.wiring import open_people
from tallystick.gateway.ports import Ports as Ports
from tallystick.gateway.ports import open_ports as open_ports
from tallystick.gateway.refunds import api as refunds_api
from tallystick.gateway.refunds.commands import Refunds
from tallystick.gateway.reporting import api as reporting_api
from tallystick.gateway.reporting.commands import Reports
from tallystick.gateway.reporting.worker import ReportWriter
from tallystick.gateway.settings import Settings
from tallystick.gateway.settlement import api as settlement_api
from tallystick.gateway.settlement.closing import Closing
from tallystick.gateway.settlement.manual_payouts import ManualPayouts
from tallystick.gateway.settlement.operating import settlement_routes
from tallystick.gateway.settlement.payouts import Arrivals
from tallystick.gateway.settlement.worker import Settlement
from tallystick.gateway.stripe_wire.keyed import Keyed
from tallystick.gateway.stripe_wire.people import People
from tallystick.gateway.stripe_wire.reading import Reading
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Routes
from tallystick.gateway.stripe_wire.wire import Wire
from tallystick.gateway.timeline.operating import timeline_routes
from tallystick.gateway.timeline.timeline import Timelines
from tallystick.gateway.vault.vault import Vault
from tallystick.gateway.webhooks import api as webhooks_api
from tallystick.gateway.webhooks.dead_letters import DeadLetters
from tallystick.gateway.webhooks.endpoints import Endpoints
from tallystick.gateway.webhooks.operating import operator_routes
from tallystick.gateway.webhooks.worker import backlog_keeper, dispatcher
from tallystick.kernel.audit.operating import audit_routes
from tallystick.kernel.audit.outcomes import noting_outcomes
from tallystick.kernel.audit.trail import Trail
from tallystick.kernel.backoff import schedule_of
from tallystick.kernel.console.access import ROOT as CONSOLE_ROOT
from tallystick.kernel.console.console import Console
from tallystick.kernel.delivery.alerting import Alerter
from tallystick.kernel.delivery.protocol import Limits
from tallystick.kernel.delivery.redrive import Redriver, Redrives
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.kernel.idempotency import Idempotency
from tallystick.kernel.idempotency.completer import Completer
from tallystick.kernel.idempotency.worker import KeyReaper
from tallystick.kernel.invariants.worker import Invariants
from tallystick.kernel.logins.sessions import Logins
from tallystick.kernel.monitoring.counting import counted
from tallystick.kernel.monitoring.operating import status_routes
from tallystick.kernel.monitoring.watching import watched
from tallystick.kernel.operators.api import PREFIX as OPERATOR_PREFIX
from tallystick.kernel.operators.api import operator_api
from tallystick.kernel.operators.roles import roles_of
from tallystick.kernel.page_headers import document_headers
from tallystick.kernel.people.access import Access
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.kernel.sandbox.operating import clock_routes
from tallystick.kernel.service import Asgi, Service, Web, Worker, at_first_call, built_anew
from tallystick.ports.clock import SandboxClock, unmoved
from tallystick.ports.database import Database, DatabaseError, Statements
from tallystick.ports.tracing import Tracer

SQL = Statements.beside(__file__)

# The simulated acquirer knows Stripe's public test numbers only, so a key that everybody knows gives nothing away.
SIMULATED_FINGERPRINT_KEY = b"of the simulated acquirer of tallystick"
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


def build(settings: Settings, ports: Ports, *, web: Web = built_anew) -> Service:
    """The whole gateway over these ports."""
    database, clock, entropy, tracer = ports.database, ports.clock, ports.entropy, ports.traces.tracer
    pages_url = settings.origin
    acquirer = _simulated_bank(settings, ports)
    faults = Faults(database, clock, entropy)
    deliveries = _dispatcher(settings, ports, faults)
    idempotency = Idempotency(database)
    people = _people(settings, ports)
    reading = Reading(pages_url, clock, people.records)
    guard, rates = _card_testing(settings, ports), _rates(settings)
    told = (database, idempotency, reading, clock, entropy)
    commits = Commits(*told, guard=guard, pages_url=pages_url, woken=deliveries.wake)
    vault = Vault(ports.vault or database, ports.encryption, entropy) if ports.encryption is not None else None
    calling = Calling(FaultyAcquirer(acquirer, faults, clock), clock, entropy, pages_url=pages_url, vault=vault)
    carrying = Carrying(commits, calling, clock, tracer)
    inquiries = Inquiries(calling, database)
    payments = Payments(carrying, inquiries, acquirer, database, clock, entropy, guard)
    refunds = Refunds(carrying, inquiries, database, clock, entropy)
    typed = TypedCards(acquirer, vault, entropy, retention_s=settings.card_retention_s)
    ttl_min_s = settings.session_ttl_min_s
    asked = (carrying, acquirer, database, clock, entropy)
    checkout = Checkout(*asked, pages_url=pages_url, ttl_min_s=ttl_min_s, typed=typed, guard=guard)
    loopback = settings.webhooks_to_loopback
    endpoints = Endpoints(database, idempotency, clock, entropy, names=ports.names, loopback=loopback)

    customers = Customers(database, idempotency, people.records, vault, clock, entropy)
    reports = Reports(database, idempotency, clock, entropy, pages_url=pages_url)
    reads = Reads(reading, database)
    routes = [
        *payments_api.routes(payments, reads),
        *refunds_api.routes(refunds, reads),
        *disputes_api.routes(Disputes(carrying, database), reads),
        *balance_api.routes(reads),
        *settlement_api.routes(ManualPayouts(database, idempotency, reading, clock, entropy, deliveries.wake), reads),
        *reporting_api.routes(reports, reads, clock),
        *checkout_api.routes(checkout, reads),
        *cards_api.routes(Cards(database, idempotency, acquirer, clock, entropy), reads),
        *customers_api.routes(customers, reads, people.records),
        *webhooks_api.routes(endpoints, reads),
    ]
    keyed = Keyed(idempotency, database, clock)
    proxies = Proxies(settings.trusted_proxies)
    naming = People(people.records, reading, database)
    wire = Wire(
        Routes(routes), Authenticator(database, clock), keyed, faults, clock, entropy, rates, proxies, naming, tracer
    )

    keeper = backlog_keeper(database, clock)
    letters = DeadLetters(database)
    redrives, redriver = Redrives(database, letters, clock, entropy), Redriver(database, letters, clock)
    alerter = Alerter(database, ports.alerts, clock, command="tallystick gateway dead-letters")
    expiry = Expiry(carrying, database, clock, entropy)
    inquirer = Inquirer(carrying, calling, database, clock, entropy)
    contests = Contests(calling, database, clock)
    settlement = _settlement(ports, faults, deliveries.wake)
    completion = Completion(carrying, inquiries, idempotency, database, clock, entropy)
    completer = Completer(idempotency, completion.resume, clock)
    reaper = KeyReaper(idempotency, clock)
    sandbox = SandboxTime(database, clock, SQL.pending) if isinstance(clock, SandboxClock) else None
    resolving = Resolving(carrying, calling, database, clock, entropy)
    acts = Acts(payments, refunds, inquiries, carrying, keyed, database, clock, entropy)
    decided = (letters, redrives, faults, settlement, resolving, acts, guard)
    at_hand = (*decided, sandbox, settings.webhook_rate_max, database, clock, entropy)
    logged_in = (_logins(settings, ports), Trail(database, clock, entropy), proxies, rates)
    behind = Behind(*at_hand, checkout, *logged_in, people.records.access, tracer)
    operators = at_first_call(lambda: web(_operators, settings.origin, behind))
    backlogs = (keeper, redriver, alerter, case_teller(database, ports.alerts, clock))
    writer = ReportWriter(database, clock, entropy, deliveries.wake, pages_url=pages_url)
    money = (expiry, inquirer, contests, settlement, writer)
    purge: list[Worker] = [Forgetting(database, clock), *people.workers]
    if vault is not None:
        purge.append(Purge(vault, database, clock))
    moved = [sandbox] if sandbox else []
    workers: tuple[Worker, ...] = (deliveries, *backlogs, *money, completer, reaper, *moved, *purge)
    pages = noting_outcomes(web(_pages, settings.origin, behind), behind.trail, below=CONSOLE_ROOT)
    seen = watched("Gateway", FIGURES, database, ports.alerts, clock, settings)
    return Service(_mounted(wire, operators, pages), (*workers, *_checks(settings, ports)), watched=seen)


def _logins(settings: Settings, ports: Ports) -> Logins:
    encryption = ports.people_encryption or ports.encryption
    return Logins(
        ports.database, unmoved(ports.clock), ports.entropy, encryption, roles_of(settings.second_factor_roles)
    )


def _people(settings: Settings, ports: Ports) -> WhoTheyAre:
    personal, hashing = ports.personal or ports.database, settings.index_keys
    encryption = ports.people_encryption
    return open_people(personal, ports.database, ports.policy, encryption, hashing, ports.clock, ports.entropy)


def _dispatcher(settings: Settings, ports: Ports, faults: Faults) -> Dispatcher:
    return dispatcher(
        ports.database,
        FaultyHttp(ports.http, faults, ports.clock),
        ports.clock,
        ports.entropy,
        Limits(rate_per_s=settings.webhook_rate_max),
        schedule=schedule_of(settings.webhook_schedule_s),
        tracer=ports.traces.tracer,
    )


def _simulated_bank(settings: Settings, ports: Ports) -> SimulatedAcquirer:
    return SimulatedAcquirer(
        ports.database,
        ports.clock,
        pages_url=settings.origin,
        fingerprint_key=settings.card_fingerprint_key.encode() or SIMULATED_FINGERPRINT_KEY,
        delay_s=settings.acquirer_delay_s,
        remembers=settings.acquirer_remembers,
        private_range=settings.acquirer_private_range,
    )


def _settlement(ports: Ports, faults: Faults, woken: Callable[[], None]) -> Settlement:
    database, clock, entropy = ports.database, ports.clock, ports.entropy
    arrivals = Arrivals(database, faults, clock, entropy, woken)
    closing, tracer = Closing(database, clock, entropy), ports.traces.tracer
    return Settlement(closing, arrivals, faults, database, clock, woken, tracer)


def _rates(settings: Settings) -> Rates:
    return Rates(
        calls_per_key=settings.calls_per_key_max,
        pages_per_address=settings.pages_per_address_max,
        refusals_per_address=settings.refusals_per_address_max,
    )


def _card_testing(settings: Settings, ports: Ports) -> CardTesting:
    limits = TestingLimits(
        card_tries=settings.card_tries_max,
        card_declines=settings.card_declines_max,
        address_tries=settings.address_tries_max,
        address_declines=settings.address_declines_max,
        session_declines=settings.session_declines_max,
        cards_of_test_mode=settings.card_limits_in_test_mode,
    )
    return CardTesting(ports.database, ports.clock, limits)


def _checks(settings: Settings, ports: Ports) -> list[Worker]:
    """What looks whether everything is true that must always be; and what sends traces to whoever looks."""
    every_s = settings.invariants_every_s
    checks = [Invariants(ports.database, ports.clock, RULES, OWNERS, every_s=every_s)] if every_s else []
    return [*checks, *ports.traces.workers]


def _operators(_origin: str, behind: Behind) -> Asgi:
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


def _pages(origin: str, behind: Behind) -> Asgi:
    """What browsers and load balancers see."""
    assets, https = read_assets(), origin.startswith("https://")
    access, views = access_of(behind), console_views()
    console = Console(access, behind.logins, behind.trail, views, behind.entropy, behind.proxies, https)
    answers = Answers(Views(assets), behind.entropy, https)
    pages_of_sessions = Pages(behind.checkout, answers, behind.clock, behind.proxies, behind.tracer)
    pages = Litestar(
        route_handlers=[
            page_routes(pages_of_sessions, Bank(behind.checkout, answers), assets, behind.rates),
            console_routes(console, pages_of(console, behind)),
            *_health_routes(behind.database),
        ],
        openapi_config=None,
        logging_config=None,
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )
    return cast(Asgi, pages)


def _mounted(wire: Asgi, operators: Asgi, pages: Asgi) -> Asgi:
    """The wire goes past the framework: nothing stands between the server and the hot path."""
    wire, operators, pages = counted("wire", wire), counted("operator", operators), counted("pages", pages)

    async def application(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and (path.startswith(f"{WIRE_PREFIX}/") or path == WIRE_PREFIX):
            await wire(scope, receive, send)
        elif scope["type"] == "http" and (path.startswith(f"{OPERATOR_PREFIX}/") or path == OPERATOR_PREFIX):
            await operators(scope, receive, send)
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
