"""A client of the merchant's HTTP API (DESIGN §6), as any shop would write one."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

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

    async def reconcile(
        self, day: str, connection: str | None, *, dry_run: bool = False, corrected: bool = False
    ) -> dict[str, Any]:
        """Ask for the comparison of a day; the run as it stands. `corrected`: again, and of the days after it."""
        wanted: dict[str, Any] = {"date": day, "dry_run": dry_run, "corrected": corrected}
        return await self._api.ask("POST", "/v1/reconciliations", wanted | _named(connection))

    async def hand_in(
        self, content: bytes, layout: str, day: str, connection: str | None, *, dry_run: bool
    ) -> dict[str, Any]:
        """Hand a settlement file in; its run."""
        wanted = {"format": layout, "date": day, "dry_run": str(dry_run).lower()} | _named(connection)
        return await self._api.upload(f"/v1/reconciliations/files?{urlencode(wanted)}", content)

    async def run(self, run_id: str) -> dict[str, Any]:
        """One run as it stands."""
        return await self._api.ask("GET", f"/v1/reconciliations/{quote(run_id, safe='')}")

    async def mismatches(self, run_id: str) -> list[dict[str, Any]]:
        """What a run found, in the order of the codes."""
        return await self._api.rows("/v1/mismatches", pages=100, filters={"reconciliation": run_id})

    async def runs(self) -> list[dict[str, Any]]:
        """The newest runs first."""
        return await self._api.rows("/v1/reconciliations", pages=1)

    async def report(self, run_id: str, layout: str) -> bytes:
        """A day's report, html or csv."""
        return await self._api.text(f"/v1/reconciliations/{quote(run_id, safe='')}/report?format={layout}")


def _named(connection: str | None) -> dict[str, str]:
    return {"connection": connection} if connection else {}
