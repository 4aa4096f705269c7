"""The one write path on a real PostgreSQL: what is learnt, in whatever batches, leaves the same order behind (RULES
§4).
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tallystick.kernel.identifiers import new_owner_id, owned_id
from tallystick.merchant.accounts.directory import Merchant
from tallystick.merchant.checkout.drafts import Terms, draft_order, insert_orders
from tallystick.merchant.checkout.request import CreateOrder, check
from tallystick.merchant.gateways.port import Connection
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.orders import apply
from tallystick.merchant.orders.apply import Applied, apply_facts
from tallystick.merchant.orders.facts import (
    AnyFact,
    Attempted,
    ChargeSeen,
    Closed,
    SessionOpened,
    Succeeded,
    decode_facts,
)
from tallystick.merchant.orders.learning import Learnt, OrderKey
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.orders.view import order_view
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import ConstraintViolated, Database, SerializationFailed, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.secrets import LocalSecrets
from tallystick.ports.synchronous import SynchronousDatabase

AT = datetime(2030, 1, 1, tzinfo=UTC)
ENTROPY = SystemEntropy()
PAYS = Succeeded(2500, 2500, "EUR", intent="pi_1", charge="ch_1")
CONNECTION = Connection(
    (MERCHANT := new_owner_id("mer", ENTROPY)),
    owned_id("con", MERCHANT, AT, ENTROPY),
    "stripe",
    "https://gateway.example",
    "env:KEY",
    "stripe",
    ("env:HOOK",),
)


async def orders(database: Database, count: int = 1) -> list[OrderKey]:
    """New orders with one attempt each."""
    merchant = Merchant(MERCHANT, "Tea & Sons", frozenset(), (CONNECTION,))
    gateway = StripeGateway(AiohttpClient(), LocalSecrets(), SystemClock(), ENTROPY)
    wanted = check(CreateOrder(currency="EUR", amount=2500), merchant, 1800)
    terms = Terms("https://pay.example", 1800, 3)
    drafts = [draft_order(merchant, wanted, terms, gateway, AT, ENTROPY) for _ in range(count)]
    async with database.transaction() as tx:
        await insert_orders(tx, drafts)
    return [draft.key for draft in drafts]


def about(key: OrderKey, fact: AnyFact, attempt: int = 1, **more: Any) -> Learnt:
    return Learnt(*key, attempt, fact, more.pop("source", "webhook"), more.pop("reference", "evt_1"), **more)


async def learn(database: Database, *learnt: Learnt) -> Applied:
    async with database.transaction() as tx:
        return await apply_facts(tx, learnt, AT + timedelta(minutes=1), Outbox(SystemClock(), SystemEntropy()))


async def the_row(database: Database, key: OrderKey) -> dict[str, Any]:
    statement = Statement("x", "SELECT * FROM orders WHERE (merchant_id, order_id) = ($1::text, $2::text)")
    return dict((await database.rows(statement, *key))[0])


async def the_attempt(database: Database, key: OrderKey, number: int = 1) -> dict[str, Any]:
    statement = Statement(
        "x", "SELECT * FROM attempt WHERE (merchant_id, order_id, number) = ($1::text, $2::text, $3::int)"
    )
    return dict((await database.rows(statement, *key, number))[0])


async def the_timeline(database: Database, key: OrderKey) -> Sequence[tuple[Any, ...]]:
    rows = await database.rows(apply.SQL.list_timeline, *key, 0, 100)
    return [(row["number"], row["source"], row["state_before"], row["state_after"], row["reference"]) for row in rows]


async def test_a_payment_makes_the_order_paid_in_one_commit(merchant_database: Database) -> None:
    """RULES §4: state, keeper, fulfilment, attempt and timeline are written together."""
    (key,) = await orders(merchant_database)
    await learn(merchant_database, about(key, SessionOpened("cs_1", None, "https://g/pay"), source="api"))
    assert (await the_attempt(merchant_database, key))["open_request"] is None
    await learn(merchant_database, about(key, PAYS))
    row = await the_row(merchant_database, key)
    assert (row["state"], row["fulfilment"], row["keeper"], row["late"]) == ("PAID", "allowed", 1, False)
    assert (row["amount_captured_minor"], row["version"], row["updated_at"]) == (2500, 3, AT + timedelta(minutes=1))
    attempt = await the_attempt(merchant_database, key)
    assert (attempt["state"], attempt["checkout_session"], attempt["payment_intent"]) == ("succeeded", "cs_1", "pi_1")
    assert attempt["redirect_url"] == "https://g/pay"
    assert await the_timeline(merchant_database, key) == [
        (1, "merchant", "PENDING", "PENDING", None),
        (2, "api", "PENDING", "PENDING", "evt_1"),
        (3, "webhook", "PENDING", "PAID", "evt_1"),
    ]


async def test_what_is_known_writes_nothing(merchant_database: Database) -> None:
    (key,) = await orders(merchant_database)
    await learn(merchant_database, about(key, PAYS))
    before = await the_row(merchant_database, key)
    applied = await learn(merchant_database, about(key, PAYS), about(key, ChargeSeen("ch_1", "failed")))
    assert (applied.changes, applied.unknown) == ([], [])
    assert await the_row(merchant_database, key) == before
    assert len(await the_timeline(merchant_database, key)) == 2


async def test_what_fits_no_order_attempt_or_connection_is_given_back(merchant_database: Database) -> None:
    """RULES §7: it is parked by the intake; an order is not paid by a stranger's event."""
    (key,) = await orders(merchant_database)
    strays = [
        about(OrderKey(MERCHANT, "ord_nothing"), PAYS),
        about(OrderKey("mer_other", key.order_id), PAYS),
        about(key, PAYS, attempt=2),
        about(key, PAYS, attempt=0),
        about(key, PAYS, connection_id="con_other"),
    ]
    applied = await learn(merchant_database, *strays)
    assert (list(applied.unknown), applied.changes) == (strays, [])
    assert (await the_row(merchant_database, key))["state"] == "PENDING"
    applied = await learn(merchant_database, about(key, PAYS, connection_id=CONNECTION.connection_id))
    assert len(applied.changes) == 1


async def test_the_third_decline_stores_the_close_request(merchant_database: Database) -> None:
    """RULES §4: the close request `declined_out` with its number n, in the commit of the decline; the order stays
    PENDING.
    """
    (key,) = await orders(merchant_database)
    await learn(merchant_database, about(key, SessionOpened("cs_1")))
    for n in range(2):
        await learn(merchant_database, about(key, ChargeSeen(f"ch_{n}", "failed")))
    assert (await the_attempt(merchant_database, key))["close_reason"] is None
    await learn(merchant_database, about(key, ChargeSeen("ch_2", "failed")))
    attempt = await the_attempt(merchant_database, key)
    assert (attempt["close_reason"], attempt["close_number"], attempt["generation"]) == ("declined_out", 1, 1)
    assert attempt["due_at"] == attempt["close_requested_at"] == AT + timedelta(minutes=1)
    assert (await the_row(merchant_database, key))["state"] == "PENDING"
    assert (await the_timeline(merchant_database, key))[-1] == (6, "merchant", "PENDING", "PENDING", None)
    await learn(merchant_database, about(key, ChargeSeen("ch_3", "failed", intent="pi_1")))
    assert (await the_attempt(merchant_database, key))["close_number"] == 1
    await learn(merchant_database, about(key, Closed("expired"), source="api"))
    row, attempt = await the_row(merchant_database, key), await the_attempt(merchant_database, key)
    assert (row["state"], row["released"], attempt["state"], attempt["due_at"]) == ("FAILED", 1, "closed", None)


async def test_money_after_the_end_is_late_and_held(merchant_database: Database) -> None:
    """RULES §4: PAID that is late starts held; PAID all the same."""
    (key,) = await orders(merchant_database)
    await learn(merchant_database, about(key, Closed("expired")))
    assert (await the_row(merchant_database, key))["state"] == "EXPIRED"
    await learn(merchant_database, about(key, PAYS))
    row = await the_row(merchant_database, key)
    assert (row["state"], row["late"], row["fulfilment"], row["keeper"], row["released"]) == (
        "PAID",
        True,
        "held",
        1,
        1,
    )


async def test_another_amount_is_never_paid_by(merchant_database: Database) -> None:
    """RULES §4: attention = amount_mismatch, the state stays."""
    (key,) = await orders(merchant_database)
    await learn(merchant_database, about(key, Succeeded(2400, 2400, "EUR")))
    row = await the_row(merchant_database, key)
    assert (row["state"], row["attention"], row["fulfilment"]) == ("PENDING", "amount_mismatch", "none")


async def test_several_facts_of_one_order_in_one_batch(merchant_database: Database) -> None:
    (key,) = await orders(merchant_database)
    facts: list[AnyFact] = [SessionOpened("cs_1"), ChargeSeen("ch_1", "pending"), PAYS]
    applied = await learn(merchant_database, *(about(key, fact) for fact in facts))
    assert len(applied.changes) == 1
    assert [line[3] for line in await the_timeline(merchant_database, key)] == ["PENDING"] * 3 + ["PAID"]
    assert (await the_row(merchant_database, key))["version"] == 4


async def test_the_database_refuses_two_live_attempts(merchant_database: Database) -> None:
    """RULES §4: one live attempt per order, by a partial unique index: double submits and tabs cannot open two."""
    (key,) = await orders(merchant_database)
    second = Statement(
        "x",
        "INSERT INTO attempt (merchant_id, order_id, number, connection_id, open_key, gateway_expires_at, created_at) "
        "VALUES ($1::text, $2::text, 2, 'con_1', 'k', $3::timestamptz, $3::timestamptz)",
    )
    with pytest.raises(ConstraintViolated, match="attempt_one_live"):
        await merchant_database.execute(second, *key, AT)
    await learn(merchant_database, about(key, Closed("expired")))
    await merchant_database.execute(second, *key, AT)
    await learn(merchant_database, about(key, Attempted(), attempt=2, source="merchant"))
    assert (await the_row(merchant_database, key))["state"] == "PENDING"


async def test_an_intent_finds_its_attempt(merchant_database: Database) -> None:
    """Refunds and disputes name the payment alone."""
    (key,) = await orders(merchant_database)
    await learn(merchant_database, about(key, PAYS))
    wanted = ([MERCHANT] * 2, [CONNECTION.connection_id] * 2, ["pi_1", "pi_2"])
    rows = await merchant_database.rows(apply.SQL.attempts_of_intents, *wanted)
    assert [(row["order_id"], row["number"]) for row in rows] == [(key.order_id, 1)]


async def test_concurrent_batches_lose_nothing_and_end_the_same(merchant_database: Database) -> None:
    """RULES §4: many batches over the same orders at once, in any order, with repetitions: locks in id order, no lost
    update.
    """
    keys = await orders(merchant_database, 20)
    chance = random.Random(1)
    learnt = [
        about(key, fact)
        for key in keys
        for fact in (
            SessionOpened("cs"),
            ChargeSeen("ch_0", "failed"),
            Succeeded(2500, 2500, "EUR", intent=f"pi_{key.order_id}", charge="ch_1"),
            Closed("expired"),
        )
    ] * 3
    chance.shuffle(learnt)

    async def in_batches(mine: list[Learnt]) -> None:
        while mine:
            try:
                await learn(merchant_database, *mine[:7])
            except SerializationFailed:  # pragma: no cover - must not happen, and then it shows in the figures
                pytest.fail("two batches waited for each other in a circle")
            del mine[:7]

    await asyncio.gather(*(in_batches(learnt[n::6]) for n in range(6)))
    for key in keys:
        row = await the_row(merchant_database, key)
        facts = decode_facts(row["facts"])
        assert (row["state"], row["amount_captured_minor"], row["keeper"]) == ("PAID", 2500, 1)
        assert facts.attempts[1].state == "succeeded"
        assert sorted(facts.attempts[1].charges) == ["ch_0", "ch_1"]
        numbers = [line[0] for line in await the_timeline(merchant_database, key)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert row["version"] == numbers[-1]


async def test_both_drivers_write_the_same_order(merchant_database: Database, merchant_dsn: str) -> None:
    """DESIGN §2.5: the SQL runs unchanged through asyncpg and through psycopg; what is stored is the same."""
    facts: list[AnyFact] = [SessionOpened("cs_1", None, "https://g/pay", "secret"), ChargeSeen("ch_0", "failed"), PAYS]
    shown: list[Any] = []
    for database in (merchant_database, SynchronousDatabase(merchant_dsn)):
        (key,) = await orders(database)
        for fact in facts:
            fact = msgspec.structs.replace(fact, intent=f"pi_{len(shown)}") if fact is PAYS else fact
            await learn(database, about(key, fact))
        rows = await database.rows(apply.SQL.find_orders, [key.merchant_id], [key.order_id])
        view = order_view(rows[0])
        attempt = msgspec.structs.replace(view.attempts[0], payment_intent=None)
        same = msgspec.structs.replace(view, id="", attempts=(attempt,))
        shown.append((same, rows[0]["redirect_url"], rows[0]["client_secret"], await the_timeline(database, key)))
    assert shown[0] == shown[1]
