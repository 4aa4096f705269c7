"""A gateway with something of everything in it, and people of every role who look at its pages."""

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from msgspec import Struct

from tallystick.kernel.logins.users import add_user
from tallystick.kernel.operators.roles import Role
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

PASSWORD = "correct horse battery"
WAIT_S = 20.0


class Person:
    """Somebody with a browser, logged in."""

    def __init__(self, api: Any, name: str) -> None:
        self._api = api
        self._cookie = ""
        answer = self._send("/console/login", {"name": name, "password": PASSWORD})
        assert answer.status == 303
        self._cookie = answer.headers["set-cookie"].partition(";")[0]
        found = re.search(rb'name="csrf" value="([0-9a-f]{64})"', self.get("/console/account").body)
        assert found is not None
        self._csrf = found[1].decode()

    def get(self, path: str) -> Any:
        return self._api.get(path, [("Cookie", self._cookie)])

    def page(self, path: str) -> str:
        """The words of a page that is there."""
        answer = self.get(path)
        assert answer.status == 200, f"{path}: {answer.status}"
        text: str = answer.body.decode()
        return text

    def send(self, path: str, fields: dict[str, str] | None = None) -> Any:
        return self._send(path, {"csrf": self._csrf, **(fields or {})})

    def _send(self, path: str, fields: dict[str, str]) -> Any:
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        return self._api.send("POST", path, urlencode(fields).encode(), [*sent.items(), ("Cookie", self._cookie)])


class Office(Struct, frozen=True):
    """A running gateway and who works there."""

    gateway: Any
    shop: Any
    other: Any
    people: dict[Role, Person]

    @property
    def account(self) -> str:
        account: str = self.gateway.account_id
        return account

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.gateway.dsn) as connection:
            return connection.execute(sql.encode(), parameters).fetchall()

    def change(self, sql: str, *parameters: Any) -> None:
        with psycopg.connect(self.gateway.dsn) as connection:
            connection.execute(sql.encode(), parameters)

    def until(self, sql: str, *parameters: Any) -> list[Any]:
        """The rows of a statement, once there are some."""
        ends_at = time.monotonic() + WAIT_S
        while not (found := self.rows(sql, *parameters)):
            assert time.monotonic() < ends_at, "it did not come true"
            time.sleep(0.05)
        return found

    def pay(self, method: str = "pm_card_visa", **fields: str) -> Any:
        """A payment that was tried with a card; its intent."""
        asked = {"amount": "2500", "currency": "eur", "payment_method": method, "confirm": "true", **fields}
        answer = self.shop.post("/v1/payment_intents", asked).json
        return answer["error"]["payment_intent"] if "error" in answer else answer


@pytest.fixture(scope="module")
def office(gateway_supply: Any, run_gateway_on: Any, client: Any) -> Iterator[Office]:
    """With a sandbox whose time may be moved, so nothing of it depends on a real day."""
    with gateway_supply.database() as dsn, run_gateway_on(dsn, sandbox_clock=True) as gateway:
        asyncio.run(_employ(dsn))
        people = {role: Person(client(gateway.url), role) for role in Role}
        shop, other = client(gateway.url, gateway.test.secret_key), client(gateway.url, gateway.other.secret_key)
        yield Office(gateway, shop, other, people)


async def _employ(dsn: str) -> None:
    database = await open_database(dsn, connections_max=2)
    try:
        for role in Role:
            await add_user(database, role, PASSWORD, SystemClock(), SystemEntropy(), role=role)
    finally:
        await database.close()
