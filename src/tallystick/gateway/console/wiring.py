"""The gateway's pages for operators over what stands behind them: the same commands as behind the operator API."""

from msgspec import Struct

from tallystick.gateway.access import CONSOLE, CONSOLE_SANDBOX
from tallystick.gateway.acts.commands import Acts
from tallystick.gateway.card_testing.guard import CardTesting
from tallystick.gateway.cases.cases import Cases
from tallystick.gateway.console.accounts import AccountPages
from tallystick.gateway.console.acting import ActPages
from tallystick.gateway.console.card_testing import CardTestingPage
from tallystick.gateway.console.cases import CasePages
from tallystick.gateway.console.desk import Desk
from tallystick.gateway.console.endpoints import EndpointPages
from tallystick.gateway.console.letters import LetterPages
from tallystick.gateway.console.overview import OverviewPage
from tallystick.gateway.console.payments import PaymentPages
from tallystick.gateway.console.routes import Pages
from tallystick.gateway.console.sandbox import SandboxPages
from tallystick.gateway.console.settlement import MoneyPages
from tallystick.gateway.faults.faults import Faults
from tallystick.gateway.payments.resolving import Resolving
from tallystick.gateway.settlement.worker import Settlement
from tallystick.gateway.timeline.timeline import Timelines
from tallystick.gateway.webhooks.dead_letters import DeadLetters
from tallystick.kernel.console.console import Console
from tallystick.kernel.delivery.redrive import Redrives
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.operators.roles import Access
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy


class Commands(Struct, frozen=True):
    """What operators do, by whatever door. `sandbox` is None where time is nobody's to move; `rate_max` is how many
    deliveries a second each process sends to one endpoint."""

    letters: DeadLetters
    redrives: Redrives
    faults: Faults
    settlement: Settlement
    resolving: Resolving
    acts: Acts
    guard: CardTesting
    sandbox: SandboxTime | None
    rate_max: float
    database: Database
    clock: Clock
    entropy: Entropy


def access_of(commands: Commands) -> Access:
    """Which roles the pages are for."""
    return CONSOLE if _time(commands) is None else {**CONSOLE, **CONSOLE_SANDBOX}


def pages_of(console: Console, commands: Commands) -> Pages:
    """All pages of the gateway's own."""
    database, clock = commands.database, commands.clock
    desk = Desk(console, database, clock)
    return Pages(
        overview=OverviewPage(desk),
        accounts=AccountPages(desk),
        payments=PaymentPages(desk, Timelines(database, clock), commands.acts),
        acting=ActPages(desk, commands.acts, commands.entropy),
        endpoints=EndpointPages(desk, commands.rate_max),
        letters=LetterPages(console, commands.letters, commands.redrives, Standings(database, clock)),
        cases=CasePages(desk, Cases(database, clock), commands.resolving),
        money=MoneyPages(desk, commands.settlement),
        card_testing=CardTestingPage(desk, commands.guard),
        sandbox=SandboxPages(desk, commands.faults, _time(commands)),
    )


def _time(commands: Commands) -> SandboxTime | None:
    """In the simulation something stands in its place that is none: there the clock is the world's."""
    return commands.sandbox if isinstance(commands.sandbox, SandboxTime) else None
