"""The merchant service wired together, top to bottom: settings and ports in, the ASGI application and its workers
out.
"""

from tallystick.kernel.audit.trail import Trail
from tallystick.kernel.delivery.alerting import Alerter
from tallystick.kernel.delivery.keeper import Keeper
from tallystick.kernel.delivery.redrive import Redriver, Redrives
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.kernel.idempotency.completer import Completer
from tallystick.kernel.idempotency.worker import KeyReaper
from tallystick.kernel.invariants.worker import Invariants
from tallystick.kernel.logins.sessions import Logins
from tallystick.kernel.monitoring.following import followed
from tallystick.kernel.monitoring.watching import watched
from tallystick.kernel.operators.roles import roles_of
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.kernel.service import Direct, Service, Web, Worker, at_first_call, built_anew
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.cases.cases import case_teller
from tallystick.merchant.cases.proposals import Proposals
from tallystick.merchant.checkout.canceling import Canceling
from tallystick.merchant.checkout.commands import Checkout
from tallystick.merchant.checkout.drafts import Terms
from tallystick.merchant.customers.wiring import open_customers
from tallystick.merchant.expiry.sweeping import Sweeper
from tallystick.merchant.expiry.worker import AttemptWorker
from tallystick.merchant.gateways.port import Gateway
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.gateways.stripe_reports import StripeReports
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
from tallystick.merchant.notifications.dead_letters import DeadLetters
from tallystick.merchant.notifications.worker import ShopEndpoints
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.polling.commands import Poller
from tallystick.merchant.ports import Ports as Ports
from tallystick.merchant.ports import open_ports as open_ports
from tallystick.merchant.reconciliation.job import Reconciler
from tallystick.merchant.reconciliation.resolving import Resolver
from tallystick.merchant.reconciliation.salvaging import Salvager
from tallystick.merchant.reconciliation.taking import Taker
from tallystick.merchant.refunds.commands import Refunds
from tallystick.merchant.resuming import Resuming
from tallystick.merchant.returning.api import ReturnPage
from tallystick.merchant.settings import Settings
from tallystick.merchant.web import Behind, api, console, mounted, operators
from tallystick.ports.clock import SandboxClock, unmoved
from tallystick.ports.database import Statements
from tallystick.ports.http import Http
from tallystick.ports.traced_http import TracedDownloads, TracedHttp

SQL = Statements.beside(__file__)


def build(settings: Settings, ports: Ports, *, web: Web = built_anew) -> Service:
    """The whole service over these ports."""
    database, clock, entropy, tracer = ports.database, ports.clock, ports.entropy, ports.traces.tracer
    http = TracedDownloads(ports.http, tracer, "gateway") if tracer.on else ports.http
    gateways: dict[str, Gateway] = {"stripe": StripeGateway(http, ports.secrets, clock, entropy)}
    directory = Directory(database, clock)
    outbox = Outbox(clock, entropy)

    keyed = Keyed(database, clock, settings.index_keys)
    customers = open_customers(
        ports.personal or database, database, ports.policy, ports.key_encryption, settings.index_keys, clock, entropy
    )
    terms = Terms(settings.origin, settings.order_ttl_s, settings.declines_max)
    checkout = Checkout(database, gateways, directory, clock, entropy, terms, keyed, customers.people, outbox)
    canceling = Canceling(database, clock, keyed, outbox)
    refunds = Refunds(database, gateways, directory, clock, keyed, outbox)
    returning = ReturnPage(database, directory, Poller(database, gateways, directory, clock, outbox), clock)
    completer = Completer(keyed.idempotency, Resuming(checkout, refunds).resume, clock)

    intake = Intake(database, clock, outbox)
    connections = WebhookConnections(database, ports.secrets, clock)
    readers = {name: gateway.read_event for name, gateway in gateways.items()}
    webhooks = WebhookEndpoint(intake, connections, readers, clock, tracer)
    inbox = InboxWorker(database, gateways, clock, entropy, outbox)
    backfill = BackfillWorker(database, intake, gateways, directory, clock, entropy)
    attempts = AttemptWorker(database, gateways, directory, clock, entropy, outbox)
    sweeper = Sweeper(database, clock, outbox)

    shops = ports.shops or ports.http
    stock = Stock(TracedHttp(shops, tracer, "stock hook") if tracer.on else shops)
    errands = ErrandWorker(database, gateways, directory, stock, clock, entropy, outbox)
    letters = DeadLetters(database)
    reconciler, proposals = _reconciling(ports, directory, outbox)

    sandbox = SandboxTime(database, clock, SQL.pending) if isinstance(clock, SandboxClock) else None
    behind = Behind(
        checkout,
        customers,
        customers.access,
        canceling,
        refunds,
        returning,
        directory,
        proposals,
        inbox,
        letters,
        Redrives(database, letters, clock, entropy),
        Logins(database, unmoved(clock), entropy, ports.key_encryption, roles_of(settings.second_factor_roles)),
        Trail(database, clock, entropy),
        sandbox,
        Proxies(settings.trusted_proxies),
        Rates(calls_per_key=settings.calls_per_key_max, refusals_per_address=settings.refusals_per_address_max),
        database,
        clock,
        entropy,
    )
    workers: tuple[Worker, ...] = (
        *(attempts, case_teller(database, ports.alerts, clock), sweeper, inbox, backfill, errands, reconciler),
        *_notifying(ports, shops, letters),
        *(completer, KeyReaper(keyed.idempotency, clock)),
        *customers.workers,
        *_checks(settings, ports),
        *([sandbox] if sandbox else []),
    )
    answered = followed(web(api, settings.origin, behind), tracer)
    shown = web(console, settings.origin, behind)
    operated = at_first_call(lambda: web(operators, settings.origin, behind))
    direct = Direct(PATH_PREFIX.encode(), webhooks.begin)
    seen = watched("Merchant service", FIGURES, database, ports.alerts, clock, settings)
    return Service(mounted(answered, shown, operated, webhooks), workers, direct, seen)


def _notifying(ports: Ports, shops: Http, letters: DeadLetters) -> tuple[Worker, ...]:
    """What tells shops of their orders."""
    database, clock, tracer = ports.database, ports.clock, ports.traces.tracer
    return (
        Dispatcher(database, shops, ShopEndpoints(), clock, ports.entropy, tracer=tracer, about=about),
        Redriver(database, letters, clock),
        Keeper(database, ShopEndpoints(), clock),
        Alerter(database, ports.alerts, clock, command="tallystick merchant dead-letters"),
    )


def _checks(settings: Settings, ports: Ports) -> list[Worker]:
    """What looks whether everything is true that must always be; and what sends traces to whoever looks."""
    every_s = settings.invariants_every_s
    checks = [Invariants(ports.database, ports.clock, RULES, OWNERS, every_s=every_s)] if every_s else []
    return [*checks, *ports.traces.workers]


def _reconciling(ports: Ports, directory: Directory, outbox: Outbox) -> tuple[Reconciler, Proposals]:
    """The job that compares what was settled with what was sold, and what people decide about its cases."""
    database, clock, entropy = ports.database, ports.clock, ports.entropy
    reports = StripeReports(ports.http, ports.secrets, clock, entropy)
    taker = Taker(database, reports, Salvager(database, reports, clock, outbox), clock, entropy)
    resolver = Resolver(database, reports, clock, entropy, outbox)
    reconciler = Reconciler(database, directory, taker, resolver, clock, entropy, ports.alerts, ports.traces.tracer)
    return reconciler, Proposals(database, directory, reports, clock, entropy, outbox)
