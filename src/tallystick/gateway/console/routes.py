"""The addresses of the gateway's own pages for operators, beside those that both services have (`kernel/console`)."""

from pathlib import Path
from typing import Final

from litestar import Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tallystick.gateway.console.letters import LETTERS, REDRIVES, LetterPages
from tallystick.kernel.console.access import ACCOUNT, ROOT
from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.console.routes import routes
from tallystick.kernel.console.views import ConsoleViews, Link
from tallystick.kernel.operators.roles import may

SERVICE: Final = "gateway"
FOLDER: Final = Path(__file__).parent / "templates"


def console_views() -> ConsoleViews:
    """The templates of the gateway's console."""
    return ConsoleViews(SERVICE, FOLDER, (Link("Dead letters", LETTERS),))


def console_routes(console: Console, pages: LetterPages) -> Router:
    """All of them."""

    async def start(request: BrowserRequest) -> Html:
        """The dead letters; one's account for those who may not see them."""
        if may(console.access, f"GET {LETTERS}", request.auth.role):
            return await pages.list_letters(request)
        return console.see_other(ACCOUNT)

    return routes(console, SERVICE, start, [*_letters(pages), *_redrives(pages)])


def _letters(pages: LetterPages) -> list[HTTPRouteHandler]:
    @get(LETTERS.removeprefix(ROOT))
    async def list_letters(request: BrowserRequest) -> Html:
        return await pages.list_letters(request)

    @get(f"{LETTERS.removeprefix(ROOT)}/{{delivery_id:str}}")
    async def show_letter(request: BrowserRequest, delivery_id: FromPath[str]) -> Html:
        return await pages.show_letter(request, delivery_id)

    return [list_letters, show_letter]


def _redrives(pages: LetterPages) -> list[HTTPRouteHandler]:
    @post(REDRIVES.removeprefix(ROOT))
    async def redrive(request: BrowserRequest) -> Html:
        return await pages.redrive(request)

    @get(f"{REDRIVES.removeprefix(ROOT)}/{{redrive_id:str}}")
    async def show_redrive(request: BrowserRequest, redrive_id: FromPath[str]) -> Html:
        return await pages.show_redrive(request, redrive_id)

    @post(f"{REDRIVES.removeprefix(ROOT)}/{{redrive_id:str}}/cancel")
    async def cancel(request: BrowserRequest, redrive_id: FromPath[str]) -> Html:
        return await pages.cancel(request, redrive_id)

    return [redrive, show_redrive, cancel]
