"""Person and order are two commits: who was stored for an order that did not come to be is forgotten, and nobody else
is, whoever acts at the same moment. RULES §12.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from tallystick.kernel.people.access import AccessDenied
from tallystick.kernel.people.person import Person
from tallystick.kernel.people.sweeping import Sweeping
from tallystick.merchant.checkout import commands, drafts
from tallystick.merchant.customers.people import FORGOTTEN_AFTER, Kept
from tallystick.merchant.customers.tables import TABLES, UNFINISHED
from tallystick.merchant.customers.wiring import open_customers
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, DatabaseUnavailable, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.policy import Ruling

ADA: Any = {"email": "ada@example.org", "name": "Ada"}
INDEX_KEY = b"an index key of no value, for tests alone"
WAITING = Statement(
    "x",
    "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
)


class Ahead(SystemClock):
    """A clock that a test puts forward."""

    by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.by


class Hall:
    """Another process of the service, which sweeps: an hour and a bit later, as it believes."""

    def __init__(self, stage: Any, database: Database, *, later: bool, policy: Any = None) -> None:
        clock = Ahead()
        clock.by = FORGOTTEN_AFTER + timedelta(seconds=30) if later else timedelta()
        keys, entropy = [INDEX_KEY], SystemEntropy()
        self.merchant_id = stage.merchant_id
        self.customers = open_customers(database, database, policy, stage.key_encryption, keys, clock, entropy)
        self.sweeping = Sweeping(database, TABLES, UNFINISHED, self.customers.access, database, clock)

    async def keep(self, *, for_order: bool = True) -> Kept:
        return await self.customers.people.keep(self.merchant_id, Person(**ADA), for_order=for_order)

    def stops_before_it_commits(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Its next commit that writes the access log waits there; when it has come that far, and when it may go on."""
        arrived, go_on, note = asyncio.Event(), asyncio.Event(), self.customers.access.note

        async def waits(*arguments: Any) -> None:
            await note(*arguments)
            arrived.set()
            await go_on.wait()

        self.customers.access.note = waits  # type: ignore[method-assign, assignment]
        return arrived, go_on


@pytest.fixture
async def now(stage: Any, merchant_dsn: str) -> AsyncIterator[Hall]:
    async with hall(stage, merchant_dsn, later=False) as made:
        yield made


@pytest.fixture
async def later(stage: Any, merchant_dsn: str) -> AsyncIterator[Hall]:
    async with hall(stage, merchant_dsn, later=True) as made:
        yield made


@asynccontextmanager
async def hall(stage: Any, dsn: str, *, later: bool, policy: Any = None) -> AsyncIterator[Hall]:
    database = await open_database(dsn)
    yield Hall(stage, database, later=later, policy=policy)
    await database.close()


async def people_of(stage: Any) -> list[str]:
    """Whoever is stored, each with a key, by id."""
    ids = [
        [row["customer_id"] for row in await stage.database.rows(Statement("x", f"{select} ORDER BY 1"))]
        for select in (
            "SELECT customer_id FROM pii.customer",
            "SELECT customer_id FROM pii.subject_key",
            "SELECT DISTINCT customer_id FROM pii.lookup",
        )
    ]
    assert ids[0] == ids[1] == ids[2]
    return ids[0]


async def somebody_waits(stage: Any) -> None:
    """Until a session of the database waits for a lock of another one."""
    async with asyncio.timeout(60):
        while (await stage.database.rows(WAITING))[0]["n"] == 0:  # noqa: ASYNC110 - the database tells it to who asks
            await asyncio.sleep(0.01)


@asynccontextmanager
async def dying_before_the_order(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Between the commit of the person and that of the order."""

    async def dies(*_: Any) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(commands, "insert_orders", dies)
        yield


async def test_who_was_stored_for_an_order_that_did_not_come_to_be_is_forgotten(
    stage: Any, now: Hall, later: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dying_before_the_order(monkeypatch):
        status, _ = await stage.place(customer=ADA)
    assert (status, await stage.count("orders"), len(await people_of(stage))) == (503, 0, 1)
    [left_over] = await people_of(stage)
    assert await now.sweeping.sweep() == 0, "not before its call can have ended"
    assert await later.sweeping.sweep() == 1
    assert await people_of(stage) == []
    assert await stage.count("newcomer") == 0
    rows = await stage.database.rows(Statement("x", "SELECT * FROM pii.access WHERE action = 'erase'"))
    assert [(row["subject_role"], row["purpose"], row["customer_id"]) for row in rows] == [
        ("sweeper", "unfinished", left_over)
    ]
    assert await later.sweeping.sweep() == 0


async def test_the_service_sweeps_by_itself_with_keys_and_without(stage: Any) -> None:
    def sweeps(workers: Any) -> int:
        return sum(isinstance(worker, Sweeping) for worker in workers)

    assert sweeps(stage.service.workers) == 1
    clock, entropy = SystemClock(), SystemEntropy()
    assert sweeps(open_customers(stage.database, stage.database, None, None, [], clock, entropy).workers) == 1


async def test_who_has_an_order_or_was_stored_for_good_stays(stage: Any, later: Hall) -> None:
    status, order = await stage.place(customer=ADA)
    _, kept = await stage.post("/v1/customers", {"email": "grace@example.org"})
    assert (status, await stage.count("newcomer")) == (201, 1)
    assert await later.sweeping.sweep() == 1
    assert await people_of(stage) == sorted([order["customer"], kept["id"]])
    assert await stage.count("newcomer") == 0
    _, again = await stage.place(customer=ADA)
    assert again["customer"] == order["customer"]
    assert await stage.count("newcomer") == 0, "who is known for good is looked at no more"


async def test_who_comes_again_before_being_forgotten_is_the_same_and_waits_anew(
    stage: Any, now: Hall, later: Hall
) -> None:
    first = await now.keep()
    again = await later.keep()
    assert again == Kept(first.customer_id, known=True, newcomer=True)
    assert await later.sweeping.sweep() == 0
    assert await people_of(stage) == [first.customer_id]


async def test_who_is_stored_for_good_after_all_stays(stage: Any, now: Hall, later: Hall) -> None:
    """Also where both are said in one batch."""
    first = await now.keep()
    assert (await now.keep(for_order=False)).customer_id == first.customer_id
    assert await stage.count("newcomer") == 0
    other = Person(email="grace@example.org")
    keep = now.customers.people.keep
    both = await asyncio.gather(
        keep(now.merchant_id, other, for_order=True), keep(now.merchant_id, other, for_order=False)
    )
    assert both[0] == both[1]
    assert await later.sweeping.sweep() == 0
    assert await people_of(stage) == sorted([first.customer_id, both[0].customer_id])


async def test_an_order_that_does_not_know_of_newcomers_keeps_its_customer(stage: Any, now: Hall, later: Hall) -> None:
    """A process of the version before recognises a newcomer, and writes an order without looking for the row."""
    first = await now.keep()
    _, order = await stage.place()
    await stage.database.execute(Statement("x", "UPDATE orders SET customer_id = $1::text"), first.customer_id)
    assert order["customer"] is None
    assert await later.sweeping.sweep() == 1
    assert await people_of(stage) == [first.customer_id]


async def test_without_the_policys_consent_nobody_is_forgotten(stage: Any, now: Hall, merchant_dsn: str) -> None:
    class Never:
        async def rule(self, _: Any) -> Ruling:
            return Ruling(False, "policy")

    first = await now.keep()
    async with hall(stage, merchant_dsn, later=True, policy=Never()) as refused:
        with pytest.raises(AccessDenied):
            await refused.sweeping.sweep()
    assert (await people_of(stage), await stage.count("newcomer")) == ([first.customer_id], 1)


# Two at the same moment


async def test_who_is_recognised_while_being_forgotten_is_stored_anew(stage: Any, now: Hall, later: Hall) -> None:
    first = await now.keep()
    arrived, go_on = later.stops_before_it_commits()
    sweeping = asyncio.create_task(later.sweeping.sweep())
    await arrived.wait()
    comes_again = asyncio.create_task(now.keep())
    await somebody_waits(stage)
    go_on.set()
    await sweeping
    again = await comes_again
    assert again.customer_id != first.customer_id
    assert await people_of(stage) == [again.customer_id]


async def test_who_is_just_being_recognised_is_not_forgotten(stage: Any, now: Hall, later: Hall) -> None:
    first = await now.keep()
    arrived, go_on = now.stops_before_it_commits()
    comes_again = asyncio.create_task(now.keep())
    await arrived.wait()
    sweeping = asyncio.create_task(later.sweeping.sweep())
    await somebody_waits(stage)
    go_on.set()
    assert (await comes_again).customer_id == first.customer_id
    await sweeping
    assert await people_of(stage) == [first.customer_id]
    [waiting] = await stage.database.rows(Statement("x", "SELECT due_at FROM newcomer"))
    assert waiting["due_at"] > now.sweeping._clock.now()


async def test_the_customer_of_an_order_that_is_just_written_is_not_forgotten(
    stage: Any, later: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep saw no order, and comes between the order's statements and its commit."""
    arrived, go_on, insert = asyncio.Event(), asyncio.Event(), drafts.insert_orders

    async def waits(*arguments: Any) -> None:
        await insert(*arguments)
        arrived.set()
        await go_on.wait()

    monkeypatch.setattr(commands, "insert_orders", waits)
    placing = asyncio.create_task(stage.place(customer=ADA))
    await arrived.wait()
    sweeping = asyncio.create_task(later.sweeping.sweep())
    await somebody_waits(stage)
    go_on.set()
    status, order = await placing
    await sweeping
    assert (status, await people_of(stage)) == (201, [order["customer"]])


async def test_an_order_whose_customer_was_forgotten_meanwhile_is_written_for_the_same_person_anew(
    stage: Any, later: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process stood still between the two commits, longer than anybody waits; its neighbour in the batch does not
    notice."""
    forgotten_of, swept = drafts.forgotten_of, asyncio.Event()

    async def swept_before(*arguments: Any) -> Any:
        if not swept.is_set():
            swept.set()
            await later.sweeping.sweep()
        return await forgotten_of(*arguments)

    monkeypatch.setattr(commands, "forgotten_of", swept_before)
    status, order = await stage.place(customer=ADA)
    assert status == 201
    assert await people_of(stage) == [order["customer"]]
    assert await stage.count("orders") == 1
    _, shown = await stage.get(f"/v1/customers/{order['customer']}?purpose=support&fields=name")
    assert shown["name"] == "Ada"


async def test_an_order_is_not_written_for_somebody_who_was_erased_meanwhile(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever may: the shop, or an operator."""
    forgotten_of, erased = drafts.forgotten_of, asyncio.Event()

    async def erased_before(*arguments: Any) -> Any:
        if not erased.is_set():
            erased.set()
            [customer] = await people_of(stage)
            address = f"{stage.url}/v1/customers/{customer}?purpose=data_request"
            async with stage.client.delete(address, headers=stage.headers()) as answer:
                assert answer.status == 200
        return await forgotten_of(*arguments)

    monkeypatch.setattr(commands, "forgotten_of", erased_before)
    status, order = await stage.place(customer=ADA)
    assert (status, await people_of(stage)) == (201, [order["customer"]])


async def test_of_many_sweeps_at_once_each_person_is_forgotten_once(stage: Any, now: Hall, merchant_dsn: str) -> None:
    keep = now.customers.people.keep
    await asyncio.gather(
        *(keep(now.merchant_id, Person(email=f"shopper{n}@example.org"), for_order=True) for n in range(40))
    )
    async with hall(stage, merchant_dsn, later=True) as one, hall(stage, merchant_dsn, later=True) as other:
        await asyncio.gather(one.sweeping.sweep(), other.sweeping.sweep())
    assert await people_of(stage) == []
    rows = await stage.database.rows(Statement("x", "SELECT customer_id FROM pii.access WHERE action = 'erase'"))
    assert len(rows) == len({row["customer_id"] for row in rows}) == 40
