"""The addresses of the gateway's pages."""

from litestar import Response, Router, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tallystick.gateway.pages.assets import Assets
from tallystick.gateway.pages.bank import Bank
from tallystick.gateway.pages.pages import EMBEDDED, HOSTED, BrowserRequest, Html, Pages, Place
from tallystick.kernel.assets import Asset
from tallystick.kernel.batching import QueueFull
from tallystick.kernel.forms import BODY_BYTES_MAX
from tallystick.kernel.page_headers import asset_headers
from tallystick.kernel.rates import Rates
from tallystick.ports.database import DatabaseError


def routes(pages: Pages, bank: Bank, assets: Assets, rates: Rates) -> Router:
    """All pages, their assets and the embed script, with errors as pages."""
    answers = pages.answers

    async def not_too_fast(request: BrowserRequest) -> None:
        if rates.visitor(pages.proxies.client(request.scope), pages.clock.monotonic_s()):
            raise HTTPException(status_code=429)

    handlers = [
        *_session_routes(pages, HOSTED),
        *_session_routes(pages, EMBEDDED),
        _leaving(pages),
        *_bank_routes(bank),
        *(_asset(asset, https=answers.https) for asset in assets.hashed),
        _asset(assets.embed, https=answers.https, shared=True),
    ]

    def unavailable(_request: BrowserRequest, _error: Exception) -> Html:
        return answers.refused(503)

    def refused(_request: BrowserRequest, error: HTTPException) -> Html:
        return answers.refused(error.status_code)

    return Router(
        path="/",
        route_handlers=handlers,
        exception_handlers={DatabaseError: unavailable, QueueFull: unavailable, HTTPException: refused},
        before_request=not_too_fast,
        request_max_body_size=BODY_BYTES_MAX,
        include_in_schema=False,
    )


def _session_routes(pages: Pages, place: Place) -> list[HTTPRouteHandler]:
    path = f"{place.prefix}/{{session_id:str}}"

    @get(path)
    async def show(request: BrowserRequest, session_id: FromPath[str]) -> Html:
        return await pages.show(place, request, session_id)

    @post(path)
    async def pay(request: BrowserRequest, session_id: FromPath[str]) -> Html:
        return await pages.pay(place, request, session_id)

    @get(f"{path}/challenge")
    async def lead_to_bank(request: BrowserRequest, session_id: FromPath[str]) -> Html:
        return await pages.lead_to_bank(place, request, session_id)

    @get(f"{path}/authenticated")
    async def back_from_bank(session_id: FromPath[str]) -> Html:
        return await pages.back_from_bank(place, session_id)

    return [show, pay, lead_to_bank, back_from_bank]


def _leaving(pages: Pages) -> HTTPRouteHandler:
    @get(f"{EMBEDDED.prefix}/{{session_id:str}}/return")
    async def leave(session_id: FromPath[str]) -> Html:
        return await pages.leave(session_id)

    return leave


def _bank_routes(bank: Bank) -> list[HTTPRouteHandler]:
    @get("/acs/{charge_id:str}")
    async def show(request: BrowserRequest, charge_id: FromPath[str]) -> Html:
        return await bank.show(request, charge_id)

    @post("/acs/{charge_id:str}")
    async def answer(request: BrowserRequest, charge_id: FromPath[str]) -> Html:
        return await bank.answer(request, charge_id)

    return [show, answer]


def _asset(asset: Asset, *, https: bool, shared: bool = False) -> HTTPRouteHandler:
    headers = asset_headers(https=https, shared=shared)

    @get(asset.path)
    async def serve() -> Html:
        return Response(asset.body, media_type=asset.media_type, headers=headers)

    return serve
