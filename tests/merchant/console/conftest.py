"""Operators at the merchant service's pages: each is logged in, and clicks as a browser without a script does."""

import hashlib
import html
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.kernel.logins.sessions import csrf_of
from tallystick.ports.database import Statement

USER = Statement(
    "a_user",
    "INSERT INTO operator_user (name, role, password_hash, created_at)"
    " VALUES ($1::text, $2::text, '$argon2id$of_no_value', $3::timestamptz)",
)
SESSION = Statement(
    "a_session",
    "INSERT INTO operator_session (token_hash, user_name, created_at, expires_at)"
    " VALUES ($1::bytea, $2::text, $3::timestamptz, $4::timestamptz)",
)


class Answer:
    """What a page answered."""

    def __init__(self, status: int, text: str, headers: Any) -> None:
        self.status, self.text, self.headers = status, text, headers
        self.location = headers.get("location", "")

    def fields(self, action: str) -> dict[str, str]:
        """The hidden fields of the form that is sent to an address."""
        [form] = [one for one in re.findall(r"<form.*?</form>", self.text, re.DOTALL) if f'action="{action}"' in one]
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form)
        return {name: html.unescape(value) for name, value in hidden}


class Operator:
    """Somebody who is logged in."""

    def __init__(self, stage: Any, name: str, token: str) -> None:
        self._stage, self.name, self._token = stage, name, token

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._ask("GET", path, None, headers)

    async def post(self, path: str, csrf: str | None = None, **fields: str) -> Answer:
        return await self._ask("POST", path, {"csrf": csrf_of(self._token) if csrf is None else csrf, **fields}, {})

    async def confirm(self, path: str, **fields: str) -> Answer:
        """Ask for it, and say yes to what the page asks back."""
        asked = await self.post(path, **fields)
        assert asked.status == 200, asked.text
        return await self._ask("POST", path, asked.fields(path), {})

    async def _ask(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Answer:
        headers |= {"Cookie": f"tallystick_operator={self._token}"}
        sent = self._stage.client.request(
            method, f"{self._stage.url}{path}", data=data, headers=headers, allow_redirects=False
        )
        async with sent as answer:
            return Answer(answer.status, await answer.text(), answer.headers)


@pytest.fixture
def log_in(stage: Any) -> Callable[[str], Awaitable[Operator]]:
    """Somebody of a role, logged in. The password's hash is left out: it costs more than everything else here."""
    known: dict[str, Operator] = {}

    async def log_in(role: str, name: str = "") -> Operator:
        name = name or role
        if name not in known:
            token, at = hashlib.sha256(name.encode()).hexdigest(), datetime.now(UTC)
            await stage.database.execute(USER, name, role, at)
            token_hash = hashlib.sha256(token.encode()).digest()
            await stage.database.execute(SESSION, token_hash, name, at, at + timedelta(hours=1))
            known[name] = Operator(stage, name, token)
        return known[name]

    return log_in
