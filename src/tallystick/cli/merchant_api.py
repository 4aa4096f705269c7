"""A client of the merchant's HTTP API (DESIGN §6), as any shop would write one."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tallystick.cli.service_api import ServiceApi
from tallystick.ports.http import Http


class MerchantApi:
    """The orders of one merchant. Orders and timeline rows are the API's JSON objects. Raises ServiceApiError."""

    def __init__(self, http: Http, url: str, api_key: str) -> None:
        self._api = ServiceApi(http, "the merchant service", url, api_key)

    async def place(self, order: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Place an order. The same `key` with the same order gives the same order, however often it is asked."""
        return await self._api.ask("POST", "/v1/orders", order, {"Idempotency-Key": key})

    async def order(self, order_id: str) -> dict[str, Any]:
        """One order as it stands."""
        return await self._api.ask("GET", f"/v1/orders/{quote(order_id, safe='')}")

    async def orders(self, *, pages: int = 1) -> list[dict[str, Any]]:
        """The newest orders first, up to `pages` pages of them."""
        return await self._api.rows("/v1/orders", pages=pages)

    async def timeline(self, order_id: str) -> list[dict[str, Any]]:
        """Everything that happened to an order, the oldest first."""
        return await self._api.rows(f"/v1/orders/{quote(order_id, safe='')}/timeline", pages=100)

    async def cases(self, *, state: str | None = None, pages: int = 1) -> list[dict[str, Any]]:
        """The newest cases first, up to `pages` pages of them."""
        return await self._api.rows("/v1/cases", pages=pages, filters={"state": state} if state else None)

    async def case(self, case_id: str) -> dict[str, Any]:
        """One case."""
        return await self._api.ask("GET", f"/v1/cases/{quote(case_id, safe='')}")
