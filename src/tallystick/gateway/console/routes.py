"""The addresses of the gateway's own pages for operators, beside those that both services have (`kernel/console`)."""

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Final

from litestar import Router, get, post
from litestar.handlers import HTTPRouteHandler
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
from tallystick.kernel.console.access import ACCOUNT, ROOT
from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.console.routes import routes
from tallystick.kernel.console.views import ConsoleViews, Link
from tallystick.kernel.operators.roles import may

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

Page = Callable[[BrowserRequest], Awaitable[Html]]


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


def console_routes(console: Console, pages: Pages) -> Router:
    """All of them."""

    async def start(request: BrowserRequest) -> Html:
        """How everything stands; one's account for those who may not see that."""
        if may(console.access, f"GET {OVERVIEW}", request.auth.role):
            return await pages.overview.show(request)
        return console.see_other(ACCOUNT)

    deciding = [*_acting(pages.acting), *_deciding(pages.cases)]
    handlers = [*_looking(pages), *_webhooks(pages), *deciding, *_money(pages.money), *_sandbox(pages)]
    return routes(console, SERVICE, start, handlers)


def _looking(pages: Pages) -> list[HTTPRouteHandler]:
    return [
        _get(OVERVIEW, pages.overview.show),
        _get(ACCOUNTS, pages.accounts.list_accounts),
        _get(f"{ACCOUNTS}/{{account_id:str}}", pages.accounts.show_account),
        _get(PAYMENTS, pages.payments.list_payments),
        _get(f"{PAYMENTS}/{{payment_id:str}}", pages.payments.show_payment),
        _get(CARD_TESTING, pages.card_testing.show),
    ]


def _webhooks(pages: Pages) -> list[HTTPRouteHandler]:
    return [
        _get(ENDPOINTS, pages.endpoints.list_endpoints),
        _get(LETTERS, pages.letters.list_letters),
        _get(f"{LETTERS}/{{delivery_id:str}}", pages.letters.show_letter),
        _post(REDRIVES, pages.letters.redrive),
        _get(REDRIVES, pages.letters.list_redrives),
        _get(f"{REDRIVES}/{{redrive_id:str}}", pages.letters.show_redrive),
        _post(f"{REDRIVES}/{{redrive_id:str}}/cancel", pages.letters.cancel),
    ]


def _acting(acting: ActPages) -> list[HTTPRouteHandler]:
    payment = f"{PAYMENTS}/{{payment_id:str}}"
    return [
        _post(f"{payment}/refund", acting.refund),
        _post(f"{payment}/cancel", acting.cancel),
        _post(f"{payment}/inquire", acting.inquire),
    ]


def _deciding(cases: CasePages) -> list[HTTPRouteHandler]:
    return [
        _get(UNKNOWN, cases.list_unknown),
        _post(f"{UNKNOWN}/{{object_id:str}}/resolve", cases.resolve_outcome),
        _get(CASES, cases.list_cases),
        _post(f"{CASES}/{{case_id:str}}/close", cases.close_case),
    ]


def _money(money: MoneyPages) -> list[HTTPRouteHandler]:
    return [
        _get(DISPUTES, money.list_disputes),
        _get(SETTLEMENTS, money.list_settlements),
        _post(SETTLEMENTS, money.close_days),
        _post(f"{SETTLEMENTS}/correct", money.correct_days),
        _get(PAYOUTS, money.list_payouts),
        _get(REPORTS, money.list_reports),
        _get(BALANCE_PAGE, money.show_balance),
    ]


def _sandbox(pages: Pages) -> list[HTTPRouteHandler]:
    sandbox = pages.sandbox
    return [
        _get(FAULTS, sandbox.show),
        _post(FAULTS, sandbox.add),
        _post(f"{FAULTS}/clear", sandbox.clear_all),
        _post(f"{FAULTS}/{{fault_id:str}}/clear", sandbox.clear),
        *([_post(CLOCK, sandbox.advance)] if sandbox.time is not None else []),
    ]


def _get(path: str, page: Page) -> HTTPRouteHandler:
    @get(path.removeprefix(ROOT))
    async def show(request: BrowserRequest) -> Html:
        return await page(request)

    return show


def _post(path: str, page: Page) -> HTTPRouteHandler:
    @post(path.removeprefix(ROOT))
    async def act(request: BrowserRequest) -> Html:
        return await page(request)

    return act
