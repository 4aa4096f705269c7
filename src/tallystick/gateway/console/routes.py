"""The addresses of the operators' pages."""

from litestar import Response, Router, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from tallystick.gateway.console.console import LETTERS, REDRIVES, ROOT, BrowserRequest, Console, Html
from tallystick.gateway.pages import forms
from tallystick.gateway.pages.headers import asset_headers
from tallystick.ports.database import DatabaseError


def routes(console: Console) -> Router:
    """All of them, with errors as pages."""

    @get("/")
    async def enter(request: BrowserRequest) -> Html:
        return await console.list_letters(request)

    @get("/login")
    async def show_login() -> Html:
        return await console.show_login()

    @post("/login")
    async def log_in(request: BrowserRequest) -> Html:
        return await console.log_in(request)

    @post("/logout")
    async def log_out(request: BrowserRequest) -> Html:
        return await console.log_out(request)

    @get(LETTERS.removeprefix(ROOT))
    async def list_letters(request: BrowserRequest) -> Html:
        return await console.list_letters(request)

    @get(f"{LETTERS.removeprefix(ROOT)}/{{delivery_id:str}}")
    async def show_letter(request: BrowserRequest, delivery_id: FromPath[str]) -> Html:
        return await console.show_letter(request, delivery_id)

    @post(REDRIVES.removeprefix(ROOT))
    async def redrive(request: BrowserRequest) -> Html:
        return await console.redrive(request)

    @get(f"{REDRIVES.removeprefix(ROOT)}/{{redrive_id:str}}")
    async def show_redrive(request: BrowserRequest, redrive_id: FromPath[str]) -> Html:
        return await console.show_redrive(request, redrive_id)

    @post(f"{REDRIVES.removeprefix(ROOT)}/{{redrive_id:str}}/cancel")
    async def cancel(request: BrowserRequest, redrive_id: FromPath[str]) -> Html:
        return await console.cancel(request, redrive_id)

    @get(console.views.style.path.removeprefix(ROOT))
    async def style() -> Html:
        headers = asset_headers(https=console.https)
        return Response(console.views.style.body, media_type=console.views.style.media_type, headers=headers)

    @get("/{elsewhere:path}")
    async def nothing(elsewhere: FromPath[str]) -> Html:
        return console.problem(404)

    def database_gone(_request: BrowserRequest, _error: Exception) -> Html:
        return console.problem(503)

    def refused(_request: BrowserRequest, error: HTTPException) -> Html:
        return console.problem(error.status_code)

    handlers = [
        enter,
        show_login,
        log_in,
        log_out,
        list_letters,
        show_letter,
        redrive,
        show_redrive,
        cancel,
        style,
        nothing,
    ]
    return Router(
        path=ROOT,
        route_handlers=handlers,
        exception_handlers={DatabaseError: database_gone, HTTPException: refused},
        request_max_body_size=forms.BODY_BYTES_MAX,
        include_in_schema=False,
    )
