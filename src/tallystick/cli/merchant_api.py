"""A client of the merchant's HTTP API (DESIGN §6), as any shop would write one: JSON, a bearer key, an idempotency key.

MerchantApiError
  ApiUnreachable   no answer: what was asked may have happened; asking again under the same key finds out
  ApiRefused       the service said no; `status`, `code` and the text say why
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from tallystick.ports.http import Answered, Http, HttpRequest

DEADLINE_S = 40.0  # opening a session may take the service three tries at its gateway
PAGE_ROWS = 100  # the most that the API gives at a time


class MerchantApiError(Exception):
    """Root of what this client raises; the text is for people."""


class ApiUnreachable(MerchantApiError):
    """No answer came."""


class ApiRefused(MerchantApiError):
    """The service answered with an error."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class MerchantApi:
    """The orders of one merchant. Orders and timeline rows are the API's JSON objects."""

    def __init__(self, http: Http, url: str, api_key: str) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._api_key = api_key

    async def place(self, order: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Place an order. The same `key` with the same order gives the same order, however often it is asked."""
        return await self._ask("POST", "/v1/orders", msgspec.json.encode(order), {"Idempotency-Key": key})

    async def order(self, order_id: str) -> dict[str, Any]:
        """One order as it stands."""
        return await self._ask("GET", f"/v1/orders/{quote(order_id, safe='')}")

    async def orders(self, *, pages: int = 1) -> list[dict[str, Any]]:
        """The newest orders first, up to `pages` times PAGE_ROWS of them."""
        return await self._list("/v1/orders", pages)

    async def timeline(self, order_id: str) -> list[dict[str, Any]]:
        """Everything that happened to an order, the oldest first."""
        return await self._list(f"/v1/orders/{quote(order_id, safe='')}/timeline", 100)

    async def _list(self, path: str, pages: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        cursor: str | int | None = None
        for _ in range(pages):
            query: dict[str, str | int] = (
                {"limit": PAGE_ROWS} if cursor is None else {"limit": PAGE_ROWS, "cursor": cursor}
            )
            page = await self._ask("GET", f"{path}?{urlencode(query)}")
            data: Sequence[dict[str, Any]] = page["data"]
            rows += data
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return rows

    async def _ask(
        self, method: str, path: str, body: bytes = b"", more: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._api_key}", "Accept": "application/json", **(more or {})}
        if body:
            headers["Content-Type"] = "application/json"
        answer = await self._http.send(HttpRequest(method, self._url + path, headers, body, DEADLINE_S))
        if not isinstance(answer, Answered):
            raise ApiUnreachable(f"the merchant service at {self._url} does not answer ({answer.reason})")
        return _read(answer)


def _read(answer: Answered) -> dict[str, Any]:
    try:
        read: dict[str, Any] = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise ApiRefused(answer.status, "unreadable", f"the answer ({answer.status}) is not the API's") from None
    if answer.status >= 400:
        told = [str(read[name]) for name in ("title", "detail") if read.get(name)] or [f"status {answer.status}"]
        errors = [f"{each.get('field')}: {each.get('message')}" for each in read.get("errors") or []]
        raise ApiRefused(answer.status, str(read.get("code", "")), ": ".join([*told, *errors]))
    return read
