"""The addresses of the gateway's own pages for operators, beside those that both services have (`kernel/console`)."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

from tallystick.gateway.console.accounts import ACCOUNTS, AccountPages
from tallystick.gateway.console.acting import ActPages
from tallystick.gateway.console.card_testing import CARD_TESTING, CardTestingPage
from tallystick.gateway.console.cases import CASES, UNKNOWN, CasePages
from tallystick.gateway.console.endpoints import ENDPOINTS, EndpointPages
from tallystick.gateway.console.letters import LETTERS, REDRIVES, LetterPages
from tallystick.gateway.console.overview import OVERVIEW, OverviewPage
from tallystick.gateway.console.payments import PAYMENTS, PaymentPages
from tallystick.gateway.console.sandbox import CLOCK, FAULTS, SandboxPages
from tallystick.gateway.console.settlement import (
    BALANCE_PAGE,
    DISPUTES,
    PAYOUTS,
    REPORTS,
    SETTLEMENTS,
    MoneyPages,
)
from tallystick.kernel.console import routes
from tallystick.kernel.console.access import ACCOUNT
from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.console.routes import Page
from tallystick.kernel.console.views import ConsoleViews, Link
from tallystick.kernel.operators.roles import may
from tallystick.kernel.service import Asgi

SERVICE: Final = "gateway"
FOLDER: Final = Path(__file__).parent / "templates"

LINKS: Final = (
    Link("Overview", OVERVIEW),
    Link("Payments", PAYMENTS),
    Link("Accounts", ACCOUNTS),
    Link("Endpoints", ENDPOINTS),
    Link("Dead letters", LETTERS),
    Link("Unknown outcomes", UNKNOWN),
    Link("Cases", CASES),
    Link("Disputes", DISPUTES),
    Link("Settlement", SETTLEMENTS),
    Link("Payouts", PAYOUTS),
    Link("Reports", REPORTS),
    Link("Balance", BALANCE_PAGE),
    Link("Card testing", CARD_TESTING),
    Link("Sandbox", FAULTS),
)


class Pages(Struct, frozen=True):
    """The gateway's own pages."""

    overview: OverviewPage
    accounts: AccountPages
    payments: PaymentPages
    acting: ActPages
    endpoints: EndpointPages
    letters: LetterPages
    cases: CasePages
    money: MoneyPages
    card_testing: CardTestingPage
    sandbox: SandboxPages


@cache
def console_views() -> ConsoleViews:
    """The templates of the gateway's console, compiled once in a process, however often it is built."""
    return ConsoleViews(SERVICE, FOLDER, LINKS)


def application(console: Console, pages: Pages) -> Asgi:
    """All of them, as an application."""

    async def start(request: BrowserRequest) -> Html:
        """How everything stands; one's account for those who may not see that."""
        if may(console.access, f"GET {OVERVIEW}", request.auth.role):
            return await pages.overview.show(request)
        return console.see_other(ACCOUNT)

    return routes.application(console, SERVICE, start, _addresses(pages))


def _addresses(pages: Pages) -> Mapping[str, Page]:
    """Which page answers what; `access.py` says for whom."""
    deciding = {**_acting(pages.acting), **_deciding(pages.cases)}
    return {**_looking(pages), **_webhooks(pages), **deciding, **_money(pages.money), **_sandbox(pages)}


def _looking(pages: Pages) -> Mapping[str, Page]:
    return {
        f"GET {OVERVIEW}": pages.overview.show,
        f"GET {ACCOUNTS}": pages.accounts.list_accounts,
        f"GET {ACCOUNTS}/{{account_id}}": pages.accounts.show_account,
        f"GET {PAYMENTS}": pages.payments.list_payments,
        f"GET {PAYMENTS}/{{payment_id}}": pages.payments.show_payment,
        f"GET {CARD_TESTING}": pages.card_testing.show,
    }


def _webhooks(pages: Pages) -> Mapping[str, Page]:
    return {
        f"GET {ENDPOINTS}": pages.endpoints.list_endpoints,
        f"GET {LETTERS}": pages.letters.list_letters,
        f"GET {LETTERS}/{{delivery_id}}": pages.letters.show_letter,
        f"POST {REDRIVES}": pages.letters.redrive,
        f"GET {REDRIVES}": pages.letters.list_redrives,
        f"GET {REDRIVES}/{{redrive_id}}": pages.letters.show_redrive,
        f"POST {REDRIVES}/{{redrive_id}}/cancel": pages.letters.cancel,
    }


def _acting(acting: ActPages) -> Mapping[str, Page]:
    payment = f"{PAYMENTS}/{{payment_id}}"
    return {
        f"POST {payment}/refund": acting.refund,
        f"POST {payment}/cancel": acting.cancel,
        f"POST {payment}/inquire": acting.inquire,
    }


def _deciding(cases: CasePages) -> Mapping[str, Page]:
    return {
        f"GET {UNKNOWN}": cases.list_unknown,
        f"POST {UNKNOWN}/{{object_id}}/resolve": cases.resolve_outcome,
        f"GET {CASES}": cases.list_cases,
        f"POST {CASES}/{{case_id}}/close": cases.close_case,
    }


def _money(money: MoneyPages) -> Mapping[str, Page]:
    return {
        f"GET {DISPUTES}": money.list_disputes,
        f"GET {SETTLEMENTS}": money.list_settlements,
        f"POST {SETTLEMENTS}": money.close_days,
        f"POST {SETTLEMENTS}/correct": money.correct_days,
        f"GET {PAYOUTS}": money.list_payouts,
        f"GET {REPORTS}": money.list_reports,
        f"GET {BALANCE_PAGE}": money.show_balance,
    }


def _sandbox(pages: Pages) -> Mapping[str, Page]:
    sandbox = pages.sandbox
    return {
        f"GET {FAULTS}": sandbox.show,
        f"POST {FAULTS}": sandbox.add,
        f"POST {FAULTS}/clear": sandbox.clear_all,
        f"POST {FAULTS}/{{fault_id}}/clear": sandbox.clear,
        **({f"POST {CLOCK}": sandbox.advance} if sandbox.time is not None else {}),
    }
