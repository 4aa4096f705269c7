"""The gateway wired together, top to bottom: settings and ports in, the ASGI application and its workers out."""

from collections.abc import Callable

from msgspec import Struct

from tallystick.gateway.accounts.authentication import Authenticator
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.acts.commands import Acts
from tallystick.gateway.balance import api as balance_api
from tallystick.gateway.card_testing.guard import CardTesting, Forgetting
from tallystick.gateway.card_testing.limits import Limits as TestingLimits
from tallystick.gateway.cards import api as cards_api
from tallystick.gateway.cards.commands import Cards
from tallystick.gateway.cards.typed import TypedCards
from tallystick.gateway.cards.worker import Purge
from tallystick.gateway.cases.cases import case_teller
from tallystick.gateway.checkout import api as checkout_api
from tallystick.gateway.checkout.commands import Checkout
from tallystick.gateway.checkout.worker import Expiry
from tallystick.gateway.customers import api as customers_api
from tallystick.gateway.customers.commands import Customers
from tallystick.gateway.disputes import api as disputes_api
from tallystick.gateway.disputes.commands import Disputes
from tallystick.gateway.disputes.worker import Contests
from tallystick.gateway.faults.acquirer import FaultyAcquirer
from tallystick.gateway.faults.faults import Faults
from tallystick.gateway.faults.webhooks import FaultyHttp
from tallystick.gateway.invariants.rules import OWNERS, RULES
from tallystick.gateway.monitoring.figures import FIGURES
from tallystick.gateway.payments import api as payments_api
from tallystick.gateway.payments.calling import Calling
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.commands import Payments
from tallystick.gateway.payments.completing import Completion
from tallystick.gateway.payments.inquiring import Inquirer, Inquiries
from tallystick.gateway.payments.resolving import Resolving
from tallystick.gateway.payments.work import Commits
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
from tallystick.gateway.settlement.payouts import Arrivals
from tallystick.gateway.settlement.worker import Settlement
from tallystick.gateway.stripe_wire.keyed import Keyed
from tallystick.gateway.stripe_wire.people import People
from tallystick.gateway.stripe_wire.reading import Reading
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route, Routes
from tallystick.gateway.stripe_wire.wire import Wire
from tallystick.gateway.vault.vault import Vault
from tallystick.gateway.web import Behind, console, mounted, operators, pages
from tallystick.gateway.webhooks import api as webhooks_api
from tallystick.gateway.webhooks.dead_letters import DeadLetters
from tallystick.gateway.webhooks.endpoints import Endpoints
from tallystick.gateway.webhooks.worker import backlog_keeper, dispatcher
from tallystick.kernel.audit.trail import Trail
from tallystick.kernel.backoff import schedule_of
from tallystick.kernel.delivery.alerting import Alerter
from tallystick.kernel.delivery.protocol import Limits
from tallystick.kernel.delivery.redrive import Redriver, Redrives
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.kernel.idempotency import Idempotency
from tallystick.kernel.idempotency.completer import Completer
from tallystick.kernel.idempotency.worker import KeyReaper
from tallystick.kernel.invariants.worker import Invariants
from tallystick.kernel.logins.sessions import Logins
from tallystick.kernel.monitoring.watching import watched
from tallystick.kernel.operators.roles import roles_of
from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.kernel.service import Service, Web, Worker, at_first_call, built_anew
from tallystick.ports.clock import SandboxClock, unmoved
from tallystick.ports.database import Statements

SQL = Statements.beside(__file__)

# The simulated acquirer knows Stripe's public test numbers only, so a key that everybody knows gives nothing away.
SIMULATED_FINGERPRINT_KEY = b"of the simulated acquirer of tallystick"


class Core(Struct, frozen=True):
    """The write path of payments with what it is made of. `woken` is told when webhooks are due."""

    acquirer: SimulatedAcquirer
    vault: Vault | None
    guard: CardTesting
    idempotency: Idempotency
    reading: Reading
    calling: Calling
    carrying: Carrying
    inquiries: Inquiries
    woken: Callable[[], None]


def build(settings: Settings, ports: Ports, *, web: Web = built_anew) -> Service:
    """The whole gateway over these ports."""
    database, clock, entropy, tracer = ports.database, ports.clock, ports.entropy, ports.traces.tracer
    pages_url = settings.origin
    faults = Faults(database, clock, entropy)
    deliveries = _dispatcher(settings, ports, faults)
    people = _people(settings, ports)
    core = _core(settings, ports, people, faults, deliveries.wake)
    carrying, inquiries, acquirer, guard = core.carrying, core.inquiries, core.acquirer, core.guard

    payments = Payments(carrying, inquiries, acquirer, database, clock, entropy, guard)
    refunds = Refunds(carrying, inquiries, database, clock, entropy)
    typed = TypedCards(acquirer, core.vault, entropy, retention_s=settings.card_retention_s)
    ttl_min_s, asked = settings.session_ttl_min_s, (carrying, acquirer, database, clock, entropy)
    checkout = Checkout(*asked, pages_url=pages_url, ttl_min_s=ttl_min_s, typed=typed, guard=guard)
    keyed = Keyed(core.idempotency, database, clock)
    proxies, rates = Proxies(settings.trusted_proxies), _rates(settings)
    routes = Routes(_routes(settings, ports, core, people, payments, refunds, checkout))
    naming = People(people.records, core.reading, database)
    wire = Wire(routes, Authenticator(database, clock), keyed, faults, clock, entropy, rates, proxies, naming, tracer)

    letters = DeadLetters(database)
    redrives = Redrives(database, letters, clock, entropy)
    settlement = _settlement(ports, faults, deliveries.wake)
    resolving = Resolving(carrying, core.calling, database, clock, entropy)
    acts = Acts(payments, refunds, inquiries, carrying, keyed, database, clock, entropy)
    sandbox = SandboxTime(database, clock, SQL.pending) if isinstance(clock, SandboxClock) else None
    decided = (letters, redrives, faults, settlement, resolving, acts, guard)
    at_hand = (*decided, sandbox, settings.webhook_rate_max, database, clock, entropy)
    logged_in = (_logins(settings, ports), Trail(database, clock, entropy), proxies, rates)
    behind = Behind(*at_hand, checkout, *logged_in, people.records.access, tracer)

    workers: tuple[Worker, ...] = (
        *(deliveries, backlog_keeper(database, clock), Redriver(database, letters, clock)),
        Alerter(database, ports.alerts, clock, command="tallystick gateway dead-letters"),
        case_teller(database, ports.alerts, clock),
        *_money(ports, core, settlement, pages_url),
        *([sandbox] if sandbox else []),
        *(Forgetting(database, clock), *people.workers),
        *([Purge(core.vault, database, clock)] if core.vault is not None else []),
        *_checks(settings, ports),
    )
    shown = web(console, settings.origin, behind)
    operated = at_first_call(lambda: web(operators, settings.origin, behind))
    seen = watched("Gateway", FIGURES, database, ports.alerts, clock, settings)
    return Service(mounted(wire, shown, operated, web(pages, settings.origin, behind)), workers, watched=seen)


def _core(settings: Settings, ports: Ports, people: WhoTheyAre, faults: Faults, woken: Callable[[], None]) -> Core:
    database, clock, entropy, pages_url = ports.database, ports.clock, ports.entropy, settings.origin
    acquirer, guard, idempotency = (
        _simulated_bank(settings, ports),
        _card_testing(settings, ports),
        Idempotency(database),
    )
    reading = Reading(pages_url, clock, people.records)
    vault = Vault(ports.vault or database, ports.encryption, entropy) if ports.encryption is not None else None
    told = (database, idempotency, reading, clock, entropy)
    commits = Commits(*told, guard=guard, pages_url=pages_url, woken=woken)
    calling = Calling(FaultyAcquirer(acquirer, faults, clock), clock, entropy, pages_url=pages_url, vault=vault)
    carrying = Carrying(commits, calling, clock, ports.traces.tracer)
    inquiries = Inquiries(calling, database)
    return Core(acquirer, vault, guard, idempotency, reading, calling, carrying, inquiries, woken)


def _routes(
    settings: Settings,
    ports: Ports,
    core: Core,
    people: WhoTheyAre,
    payments: Payments,
    refunds: Refunds,
    checkout: Checkout,
) -> list[Route]:
    """The wire's, with the commands that nothing but their routes needs."""
    database, clock, entropy = ports.database, ports.clock, ports.entropy
    idempotency, reads, loopback = core.idempotency, Reads(core.reading, database), settings.webhooks_to_loopback
    endpoints = Endpoints(database, idempotency, clock, entropy, names=ports.names, loopback=loopback)
    customers = Customers(database, idempotency, people.records, core.vault, clock, entropy)
    reports = Reports(database, idempotency, clock, entropy, pages_url=settings.origin)
    payouts = ManualPayouts(database, idempotency, core.reading, clock, entropy, core.woken)
    return [
        *payments_api.routes(payments, reads),
        *refunds_api.routes(refunds, reads),
        *disputes_api.routes(Disputes(core.carrying, database), reads),
        *balance_api.routes(reads),
        *settlement_api.routes(payouts, reads),
        *reporting_api.routes(reports, reads, clock),
        *checkout_api.routes(checkout, reads),
        *cards_api.routes(Cards(database, idempotency, core.acquirer, clock, entropy), reads),
        *customers_api.routes(customers, reads, people.records),
        *webhooks_api.routes(endpoints, reads),
    ]


def _money(ports: Ports, core: Core, settlement: Settlement, pages_url: str) -> tuple[Worker, ...]:
    """What moves payments on, and what ends calls that nobody came back for."""
    database, clock, entropy = ports.database, ports.clock, ports.entropy
    completion = Completion(core.carrying, core.inquiries, core.idempotency, database, clock, entropy)
    return (
        Expiry(core.carrying, database, clock, entropy),
        Inquirer(core.carrying, core.calling, database, clock, entropy),
        Contests(core.calling, database, clock),
        settlement,
        ReportWriter(database, clock, entropy, core.woken, pages_url=pages_url),
        Completer(core.idempotency, completion.resume, clock),
        KeyReaper(core.idempotency, clock),
    )


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
        cards_of_test_mode=settings.card_limits_in_test_mode,
    )
    return CardTesting(ports.database, ports.clock, limits)


def _checks(settings: Settings, ports: Ports) -> list[Worker]:
    """What looks whether everything is true that must always be; and what sends traces to whoever looks."""
    every_s = settings.invariants_every_s
    checks = [Invariants(ports.database, ports.clock, RULES, OWNERS, every_s=every_s)] if every_s else []
    return [*checks, *ports.traces.workers]
