"""The addresses of the merchant service's pages for operators: those that both services have (`kernel/console`)."""

from typing import Final

from litestar import Router

from tallystick.kernel.console.access import ACCOUNT, AUDIT
from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.console.routes import routes
from tallystick.kernel.console.views import ConsoleViews
from tallystick.kernel.operators.roles import may

SERVICE: Final = "merchant"


def console_views() -> ConsoleViews:
    """The templates of the merchant service's console."""
    return ConsoleViews(SERVICE)


def console_routes(console: Console) -> Router:
    """All of them."""

    async def start(request: BrowserRequest) -> Html:
        """The audit trail; one's account for those who may not see it."""
        return console.see_other(AUDIT if may(console.access, f"GET {AUDIT}", request.auth.role) else ACCOUNT)

    return routes(console, SERVICE, start)
