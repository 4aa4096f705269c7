"""The shop's wiring: settings in, ASGI application out. `python -m tallystick.demo.app` serves it."""

import os
import sys

from litestar import Litestar, MediaType, get
from litestar.exceptions import HTTPException
from litestar.static_files import create_static_files_router

from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ApiUnreachable, ServiceApiError
from tallystick.cli.serving import Address, CannotListen, NotSecure, run, serve
from tallystick.demo.hearing import hearing_routes
from tallystick.demo.pages import basket_routes, order_routes
from tallystick.demo.shop import HERE, PREFIX, Html, Shop, ShopRequest, ShopSettings
from tallystick.kernel.settings import SettingsRefused, load
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.telemetry import configure_logging

BODY_BYTES_MAX = 8 * 1024  # a basket's form needs a tenth of it


def build(shop: Shop) -> Litestar:
    """The shop as an ASGI application."""
    gateway = shop.settings.gateway_url
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        f"form-action 'self'; frame-ancestors 'none'; script-src 'self' {gateway}; frame-src {gateway}"
    )

    def refused(request: ShopRequest, error: HTTPException) -> Html:
        heading = "There is no such page" if error.status_code == 404 else "That did not work"
        return shop.page(request, "problem.html", heading, error.status_code, heading=heading, words="")

    def api_failed(request: ShopRequest, error: ServiceApiError) -> Html:
        words = "Nothing is lost: try again in a moment." if isinstance(error, ApiUnreachable) else str(error)
        heading = "The merchant service did not help"
        return shop.page(request, "problem.html", heading, 502, heading=heading, words=words)

    return Litestar(
        route_handlers=[
            *basket_routes(shop),
            *order_routes(shop),
            *hearing_routes(shop, SystemClock()),
            create_static_files_router("/static", [HERE / "static"]),
            ready,
        ],
        response_headers={
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        },
        exception_handlers={HTTPException: refused, ServiceApiError: api_failed},
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


@get("/readyz", media_type=MediaType.TEXT)
async def ready() -> str:
    """Whether the shop serves."""
    return "ready"


async def main() -> None:
    """Serve the shop until SIGTERM."""
    settings = load(ShopSettings, PREFIX, os.environ)
    configure_logging("shop", SystemClock())
    http = AiohttpClient(ca_file=settings.ca_file or None)
    shop = Shop(settings, MerchantApi(http, settings.merchant_url, settings.api_key), SystemEntropy())
    address = Address(
        host="127.0.0.1",
        port=settings.port,
        tls_cert_file=settings.tls_cert_file,
        tls_key_file=settings.tls_key_file,
    )
    try:
        await serve(build(shop), address, [])
    finally:
        await http.close()


if __name__ == "__main__":
    try:
        run(main())
    except (SettingsRefused, NotSecure, CannotListen) as error:
        sys.exit(str(error))
