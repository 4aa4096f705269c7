"""A running merchant service as a merchant sees it: by its address and the merchant's own API key.

TALLYSTICK_MERCHANT_URL, TALLYSTICK_MERCHANT_API_KEY (or …_FILE), TALLYSTICK_CA_FILE; or a demo's folder instead.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tallystick.cli.failures import CommandRefused
from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.running import demo_in

Result = TypeVar("Result")


def ask_as_merchant(data_dir: Path | None, work: Callable[[MerchantApi], Awaitable[Result]]) -> Result:
    """What `work` gives, with the API of the running merchant service.

    Raises CommandRefused, SecretMissing, ServiceApiError.
    """
    url, api_key, ca_file = _of_demo(data_dir) if data_dir else _of_environment()
    return asyncio.run(_call(url, api_key, ca_file, work))


async def _call(
    url: str, api_key: str, ca_file: str | None, work: Callable[[MerchantApi], Awaitable[Result]]
) -> Result:
    from tallystick.ports.aiohttp_http import AiohttpClient

    http = AiohttpClient(ca_file=ca_file)
    try:
        return await work(MerchantApi(http, url, api_key))
    finally:
        await http.close()


def _of_environment() -> tuple[str, str, str | None]:
    from tallystick.ports.secrets import read_local

    url = os.environ.get("TALLYSTICK_MERCHANT_URL")
    key_file = os.environ.get("TALLYSTICK_MERCHANT_API_KEY_FILE")
    if not url or not (key_file or os.environ.get("TALLYSTICK_MERCHANT_API_KEY")):
        raise CommandRefused(
            "set TALLYSTICK_MERCHANT_URL and TALLYSTICK_MERCHANT_API_KEY, or name a demo's folder with --data-dir"
        )
    api_key = read_local(f"file:{key_file}" if key_file else "env:TALLYSTICK_MERCHANT_API_KEY")
    return url, api_key, os.environ.get("TALLYSTICK_CA_FILE") or None


def _of_demo(data_dir: Path) -> tuple[str, str, str | None]:
    known = demo_in(data_dir)
    return known.addresses.merchant, known.merchant_api_key, known.ca_file
