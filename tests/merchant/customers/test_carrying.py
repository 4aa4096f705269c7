"""What the version before wrote in the clear is sealed by itself, whoever dies meanwhile (RULES §12)."""

import asyncio
from typing import Any

import pytest

from tallystick.kernel.people import carrying
from tallystick.kernel.people.carrying import CarryingOver
from tallystick.kernel.people.keys import Keys, KeysUnavailable
from tallystick.kernel.people.person import Person
from tallystick.kernel.people.reindexing import Reindexing
from tallystick.merchant.customers.people import Kept
from tallystick.merchant.customers.tables import IN_THE_CLEAR as IN_THE_CLEAR_NOW
from tallystick.merchant.customers.tables import REINDEXED, TABLES
from tallystick.merchant.customers.wiring import open_customers
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

INDEX_KEY = b"an index key of no value, for tests alone"
IN_THE_CLEAR = Statement("x", "SELECT count(*) AS rows FROM pii.customer WHERE email IS NOT NULL OR name IS NOT NULL")
AS_BEFORE = Statement(
    "x",
    "INSERT INTO pii.customer (merchant_id, customer_id, email, name, created_at)"
    " VALUES ($1::text, $2::text, $3::text, $4::text, $5::timestamptz)",
)


def customer_id(number: int) -> str:
    return f"cus_{number:025d}"


async def written_before(stage: Any, count: int) -> None:
    """Customers as the version before writes them: one for each order, so some are the same shopper."""
    for number in range(count):
        email = None if number % 5 == 4 else f"shopper{number // 2}@example.org"
        name = None if number % 5 == 3 else f"Shopper {number // 2}"
        await stage.database.execute(
            AS_BEFORE, stage.merchant_id, customer_id(number), email, name, SystemClock().now()
        )


def worker(database: Database, key_encryption: Any) -> CarryingOver:
    clock, entropy = SystemClock(), SystemEntropy()
    return CarryingOver(
        database, TABLES, IN_THE_CLEAR_NOW, Keys(key_encryption, clock, entropy), INDEX_KEY, clock, entropy
    )


async def in_the_clear(stage: Any) -> int:
    [found] = await stage.database.rows(IN_THE_CLEAR)
    return int(found["rows"])


async def test_everybody_is_sealed_readable_and_found_as_before(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "BATCH_ITEMS_MAX", 4)
    await written_before(stage, 10)
    _, before = await stage.get(f"/v1/customers/{customer_id(0)}?purpose=support&fields=email,name")
    assert (before["email"], before["name"]) == ("shopper0@example.org", "Shopper 0"), "readable meanwhile"
    carried = worker(stage.database, stage.key_encryption)
    assert await carried.run_once() == 10
    assert await carried.run_once() == 0
    assert await in_the_clear(stage) == 0
    for number in range(10):
        _, shown = await stage.get(f"/v1/customers/{customer_id(number)}?purpose=support&fields=email,name")
        assert shown["email"] == (None if number % 5 == 4 else f"shopper{number // 2}@example.org")
        assert shown["name"] == (None if number % 5 == 3 else f"Shopper {number // 2}")
    _, page = await stage.post("/v1/customers/search", {"email": "Shopper0@example.org", "purpose": "support"})
    assert [one["id"] for one in page["data"]] == [customer_id(1), customer_id(0)], (
        "two orders, two customers, as before"
    )
    _, order = await stage.place(customer={"email": "shopper0@example.org", "name": "Shopper 0"})
    assert order["customer"] == customer_id(0), "who comes again is recognised"


async def test_two_processes_seal_each_customer_once(stage: Any, merchant_dsn: str) -> None:
    await written_before(stage, 60)
    databases = [await open_database(merchant_dsn) for _ in range(2)]
    both = [worker(database, stage.key_encryption) for database in databases]
    assert sum(await asyncio.gather(*(one.run_once() for one in both))) == 60
    assert await in_the_clear(stage) == 0
    for database in databases:
        await database.close()


async def test_whoever_is_erased_stays_erased(stage: Any, merchant_dsn: str) -> None:
    await written_before(stage, 40)
    database = await open_database(merchant_dsn)

    async def erase(number: int) -> None:
        path = f"{stage.url}/v1/customers/{customer_id(number)}?purpose=data_request"
        async with stage.client.delete(path, headers=stage.headers()) as answer:
            assert answer.status == 200

    await asyncio.gather(worker(database, stage.key_encryption).run_once(), *(erase(n) for n in range(40)))
    for table in ("customer", "subject_key", "lookup"):
        [left] = await stage.database.rows(Statement("x", f"SELECT count(*) AS rows FROM pii.{table}"))
        assert left["rows"] == 0, table
    await database.close()


async def test_without_a_key_nothing_is_lost(stage: Any) -> None:
    await written_before(stage, 3)
    stage.key_encryption.away = True
    with pytest.raises(KeysUnavailable):
        await worker(stage.database, stage.key_encryption).run_once()
    assert await in_the_clear(stage) == 3


async def test_another_search_key_recognises_and_after_reindexing_does_so_alone(stage: Any) -> None:
    """Two keys are live meanwhile: who comes again is the same customer, under the one and under the other."""
    clock, entropy, newer = SystemClock(), SystemEntropy(), b"another index key of no value, for tests"

    def customers(*keys: bytes) -> Any:
        return open_customers(stage.database, stage.database, None, stage.key_encryption, keys, clock, entropy)

    ada = Person(email="ada@example.org", name="Ada", phone="+44 20 7946 0000")
    first = await customers(INDEX_KEY).people.keep(stage.merchant_id, ada)
    both = customers(newer, INDEX_KEY)
    assert await both.people.keep(stage.merchant_id, ada) == Kept(first.customer_id, True)
    reindexing = Reindexing(stage.database, TABLES, REINDEXED, both.access, newer)
    step = await reindexing.step(reindexing.beginning)
    assert (step.reindexed, step.unreadable) == (1, 0)
    assert await customers(newer).people.keep(stage.merchant_id, ada) == Kept(first.customer_id, True)
    assert not (await customers(INDEX_KEY).people.keep(stage.merchant_id, ada)).known
