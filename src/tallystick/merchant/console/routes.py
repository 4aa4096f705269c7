"""The addresses of the merchant service's own pages for operators, beside those of both services (`kernel/console`)."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from tallystick.kernel.console import routes
from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.console.routes import Page
from tallystick.kernel.console.views import ConsoleViews, Link
from tallystick.kernel.service import Asgi
from tallystick.merchant.console.cases import CASE, CASES, CasePages
from tallystick.merchant.console.customers import CUSTOMERS, CustomerPages
from tallystick.merchant.console.days import DAYS, DayPages
from tallystick.merchant.console.inbox import INBOX, InboxPages
from tallystick.merchant.console.letters import LETTERS, REDRIVES, LetterPages
from tallystick.merchant.console.order import OrderPages
from tallystick.merchant.console.orders import ORDERS, SEARCH, OrderList
from tallystick.merchant.console.overview import OVERVIEW, OverviewPage

SERVICE: Final = "merchant"
FOLDER: Final = Path(__file__).parent / "templates"
LINKS: Final = (
    Link("Overview", OVERVIEW),
    Link("Orders", ORDERS, carries=True),
    Link("Inbound", INBOX, carries=True),
    Link("Dead letters", LETTERS, carries=True),
    Link("Reconciliation", DAYS, carries=True),
    Link("Cases", CASES, carries=True),
    Link("Customers", CUSTOMERS, carries=True),
)


class Pages(Struct, frozen=True):
    """All of the service's own pages."""

    overview: OverviewPage
    orders: OrderList
    order: OrderPages
    inbox: InboxPages
    letters: LetterPages
    days: DayPages
    cases: CasePages
    customers: CustomerPages


@cache
def console_views() -> ConsoleViews:
    """The templates of the merchant service's console, compiled once in a process, however often it is built."""
    return ConsoleViews(SERVICE, FOLDER, LINKS)


def application(console: Console, pages: Pages) -> Asgi:
    """All of them, as an application."""

    async def start(_request: BrowserRequest) -> Html:
        return console.see_other(OVERVIEW)

    return routes.application(console, SERVICE, start, _addresses(pages))


def _addresses(pages: Pages) -> Mapping[str, Page]:
    """Which page answers what; `access.py` says for whom."""
    customer = "/console/merchants/{merchant}/customers/{customer}"
    return {
        f"GET {OVERVIEW}": pages.overview.show,
        f"GET {ORDERS}": pages.orders.list_orders,
        f"POST {SEARCH}": pages.orders.search,
        f"GET {ORDERS}/{{order}}": pages.order.show,
        f"POST {ORDERS}/{{order}}/cancel": pages.order.cancel,
        f"POST {ORDERS}/{{order}}/refund": pages.order.refund,
        f"POST {ORDERS}/{{order}}/pay-again": pages.order.pay_again,
        f"GET {INBOX}": pages.inbox.list_webhooks,
        f"POST {INBOX}/run": pages.inbox.run,
        f"GET {LETTERS}": pages.letters.list_letters,
        f"POST {REDRIVES}": pages.letters.redrive,
        f"GET {REDRIVES}/{{redrive}}": pages.letters.show_redrive,
        f"POST {REDRIVES}/{{redrive}}/cancel": pages.letters.cancel,
        f"GET {DAYS}": pages.days.list_days,
        "GET /console/merchants/{merchant}/reconciliations/{run}": pages.days.show_day,
        f"GET {CASES}": pages.cases.list_cases,
        f"GET {CASE}": pages.cases.show,
        f"POST {CASE}/proposals": pages.cases.propose,
        f"POST {CASE}/approve": pages.cases.approve,
        f"POST {CASE}/reject": pages.cases.reject,
        f"GET {CUSTOMERS}": pages.customers.ask,
        f"POST {CUSTOMERS}/search": pages.customers.search,
        f"GET {customer}": pages.customers.show,
        f"POST {customer}/erase": pages.customers.erase,
        "GET /console/merchants/{merchant}/accesses": pages.customers.accesses,
    }
