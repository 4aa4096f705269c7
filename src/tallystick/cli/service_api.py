"""A client of a service's JSON API, as any program would write one: a bearer key, JSON, problems (RFC 9457).

ServiceApiError
  ApiUnreachable   no answer: what was asked may have happened; asking again (under the same key) finds out
  ApiRefused       the service said no; `status`, `code` and the text say why
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from tallystick.ports.http import Answered, Http, HttpRequest

DEADLINE_S = 40.0  # opening a session may take the merchant service three tries at its gateway
UPLOAD_DEADLINE_S = 600.0  # a file of hundreds of megabytes over a slow line
TEXT_BYTES_MAX = 256 * 1024 * 1024  # a day's report
PAGE_ROWS = 100  # the most that the APIs give at a time


class ServiceApiError(Exception):
    """Root of what this client raises; the text is for people."""


class ApiUnreachable(ServiceApiError):
    """No answer came."""


class ApiRefused(ServiceApiError):
    """The service answered with an error."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class ServiceApi:
    """Calls one service. `noun` is what people call it: "the gateway"."""

    def __init__(self, http: Http, noun: str, url: str, key: str) -> None:
        self._http = http
        self._noun = noun
        self._url = url.rstrip("/")
        self._key = key

    async def ask(
        self, method: str, path: str, body: Any = None, more_headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One call; its answer's JSON object. Raises ServiceApiError."""
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json", **(more_headers or {})}
        encoded = b""
        if body is not None:
            headers["Content-Type"] = "application/json"
            encoded = msgspec.json.encode(body)
        answer = await self._http.send(HttpRequest(method, self._url + path, headers, encoded, DEADLINE_S))
        if not isinstance(answer, Answered):
            raise ApiUnreachable(f"{self._noun} at {self._url} does not answer ({answer.reason})")
        return _read(answer)

    async def upload(self, path: str, content: bytes) -> dict[str, Any]:
        """Send a file as it is; the answer's JSON object. Raises ServiceApiError."""
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Accept": "application/json",
            "Content-Type": "application/octet-stream",
        }
        answer = await self._http.send(HttpRequest("POST", self._url + path, headers, content, UPLOAD_DEADLINE_S))
        if not isinstance(answer, Answered):
            raise ApiUnreachable(f"{self._noun} at {self._url} does not answer ({answer.reason})")
        return _read(answer)

    async def text(self, path: str) -> bytes:
        """A page or a table, as it is. Raises ServiceApiError."""
        headers = {"Authorization": f"Bearer {self._key}"}
        answer = await self._http.send(
            HttpRequest("GET", self._url + path, headers, b"", UPLOAD_DEADLINE_S, TEXT_BYTES_MAX)
        )
        if not isinstance(answer, Answered):
            raise ApiUnreachable(f"{self._noun} at {self._url} does not answer ({answer.reason})")
        if answer.status >= 400:
            _read(answer)
        return answer.body

    async def rows(
        self, path: str, *, pages: int, filters: Mapping[str, str | int] | None = None, limit: int = PAGE_ROWS
    ) -> list[dict[str, Any]]:
        """The rows of a list, `limit` a page, as many pages as there are and at most `pages`."""
        rows: list[dict[str, Any]] = []
        query: dict[str, str | int] = {"limit": limit, **(filters or {})}
        for _ in range(pages):
            page = await self.ask("GET", f"{path}?{urlencode(query)}")
            data: Sequence[dict[str, Any]] = page["data"]
            rows += data
            cursor = page.get("next_cursor")
            if cursor is None:
                break
            query["cursor"] = cursor
        return rows


def _read(answer: Answered) -> dict[str, Any]:
    try:
        read: dict[str, Any] = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise ApiRefused(answer.status, "unreadable", f"the answer ({answer.status}) is not the API's") from None
    if answer.status >= 400:
        title, detail = str(read.get("title") or f"status {answer.status}"), str(read.get("detail") or "")
        errors = "; ".join(f"{each.get('field')}: {each.get('message')}" for each in read.get("errors") or [])
        told = f"{title}: {errors}" if errors else f"{title}. {detail}" if detail else title
        raise ApiRefused(answer.status, str(read.get("code", "")), told)
    return read
