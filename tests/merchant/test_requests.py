"""Who calls, and how quickly: the guard before every route of the API (RULES §12)."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from tallystick.kernel.proxies import Proxies
from tallystick.kernel.rates import Rates
from tallystick.merchant.accounts.commands import create_merchant
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.openapi import document
from tallystick.merchant.requests import authenticate
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Record, Statement
from tallystick.ports.entropy import SystemEntropy

RATE_PER_S = 10


async def test_who_waited_for_the_look_at_the_key_is_not_too_quick() -> None:
    """The rate is asked as of now. As of when the call came, another that came since would seem to have come ahead:
    a database that was slow for two seconds had every shop told that it calls too quickly."""
    clock = SimpleNamespace(at_s=0.0)
    clock.monotonic_s = lambda: clock.at_s

    async def merchant_of_key(api_key: str) -> object:
        if not clock.at_s:  # the first: while it waits, time goes by and a second call comes
            clock.at_s = 10.0
            await call()
        return object()

    async def call() -> None:
        await guard(SimpleNamespace(scope=scope, headers={"authorization": "Bearer tsk_1"}), None)  # type: ignore[arg-type]

    directory: Any = SimpleNamespace(merchant_of_key=merchant_of_key)
    scope: dict[str, Any] = {"client": ("192.0.2.1", 1), "headers": []}
    guard = authenticate(directory, Rates(calls_per_key=RATE_PER_S), Proxies(), clock)
    await call()
    assert "auth" in scope


def test_every_call_with_a_key_is_described_as_one_that_may_come_too_quickly() -> None:
    operations = [each for path in document("https://shop.example")["paths"].values() for each in path.values()]
    assert [each["operationId"] for each in operations if bool(each["security"]) != ("429" in each["responses"])] == []


class Counting:
    """A database that counts statements by name."""

    def __init__(self, database: Database) -> None:
        self._database, self.run = database, Counter[str]()

    async def rows(self, statement: Statement, *parameters: Any) -> Any:
        self.run[statement.name] += 1
        found: list[Record] = list(await self._database.rows(statement, *parameters))
        return found


async def test_a_hundred_calls_with_one_key_are_one_look(merchant_database: Database) -> None:
    """They came after a pause together, and each asked twice: eight connections for two hundred statements."""
    made = await create_merchant(merchant_database, SystemClock(), SystemEntropy(), name="Tea", return_origins=[])
    counting: Any = Counting(merchant_database)
    directory = Directory(counting, SystemClock())
    found = await asyncio.gather(*(directory.merchant_of_key(made.api_key) for _ in range(100)))
    assert {each.merchant_id for each in found if each is not None} == {made.merchant_id}
    assert len(found) == 100
    assert counting.run == {"merchants_of_keys": 1, "connections_of_merchants": 1}
