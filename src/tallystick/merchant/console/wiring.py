"""The operators' pages of the merchant service wired together, over the same commands as its APIs."""

from tallystick.kernel.console.console import Console
from tallystick.kernel.delivery.redrive import Redrives
from tallystick.kernel.delivery.standing import Standings
from tallystick.kernel.people.access import Access
from tallystick.merchant.cases.proposals import Proposals
from tallystick.merchant.console.cases import CasePages
from tallystick.merchant.console.customers import CustomerPages
from tallystick.merchant.console.days import DayPages
from tallystick.merchant.console.inbox import InboxPages
from tallystick.merchant.console.letters import LetterPages
from tallystick.merchant.console.merchants import Merchants
from tallystick.merchant.console.order import Acting, OrderPages
from tallystick.merchant.console.orders import OrderList
from tallystick.merchant.console.overview import OverviewPage
from tallystick.merchant.console.routes import Pages
from tallystick.merchant.intake.again import Again
from tallystick.merchant.monitoring.figures import FIGURES
from tallystick.merchant.notifications.dead_letters import DeadLetters
from tallystick.merchant.timeline.timeline import Timelines
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy


def open_pages(
    console: Console,
    acting: Acting,
    access: Access,
    proposals: Proposals,
    letters: DeadLetters,
    redrives: Redrives,
    database: Database,
    clock: Clock,
    entropy: Entropy,
) -> Pages:
    """All of them."""
    merchants, timelines = Merchants(console, database), Timelines(database, clock)
    people = CustomerPages(merchants, access)
    return Pages(
        OverviewPage(merchants, database, clock, FIGURES),
        OrderList(merchants, people, timelines, database),
        OrderPages(merchants, acting, timelines, database, clock, entropy),
        InboxPages(merchants, Again(database, clock)),
        LetterPages(merchants, letters, redrives, Standings(database, clock)),
        DayPages(merchants, database),
        CasePages(merchants, proposals, database),
        people,
    )
