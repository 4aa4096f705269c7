"""RULES §4 and §7: many processes take webhooks in at once, every one is stored once, nothing learnt is lost."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tallystick.merchant.gateways.stripe_objects import read_event
from tallystick.merchant.intake import commands
from tallystick.merchant.intake.commands import Webhook, take_in
from tallystick.merchant.orders import apply
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.facts import ChargeSeen
from tallystick.merchant.orders.learning import Learnt
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import SerializationFailed
from tallystick.ports.entropy import SystemEntropy

Shop = Any
Payment = Callable[..., bytes]

OUTBOX = Outbox(SystemClock(), SystemEntropy())
AT = datetime(2026, 1, 2, tzinfo=UTC)
MERCHANT = "mer_0123456789abcdef"
CONNECTION = "con_0123456789abcdef" + "0" * 25


def a_failed_charge(number: int, order_id: str) -> Webhook:
    """News that no other webhook brings: a charge of its own."""
    charge = {
        "id": f"ch_{number:05}",
        "object": "charge",
        "status": "failed",
        "failure_code": "card_declined",
        "metadata": {"order_id": order_id, "attempt": "1"},
    }
    event = {"id": f"evt_{number:05}", "type": "charge.failed", "data": {"object": charge}}
    raw = msgspec.json.encode(event)
    return Webhook(MERCHANT, CONNECTION, raw, read_event(raw))


async def test_several_processes_and_another_writer_lose_nothing(shop: Shop, merchant_dsn: str) -> None:
    orders = [await shop.order(str(number)) for number in range(6)]
    rng = random.Random(5)
    webhooks = [a_failed_charge(number, rng.choice(orders)) for number in range(300)]
    processes = [await open_database(merchant_dsn) for _ in range(3)]

    async def process(number: int) -> None:
        mine = rng.sample(webhooks, len(webhooks))  # every process gets every webhook, in an order of its own
        for start in range(0, len(mine), 20):
            await take_in(processes[number], mine[start : start + 20], AT, OUTBOX)

    async def poller() -> None:
        for number in range(60):
            fact = ChargeSeen(f"ch_polled_{number}", "failed", "expired_card")
            async with processes[0].transaction() as tx:
                await apply_facts(
                    tx, [Learnt(MERCHANT, rng.choice(orders), 1, fact, "poll", f"poll_{number}")], AT, OUTBOX
                )

    await asyncio.gather(*map(process, range(3)), poller())

    inbox = await shop.inbox()
    assert {row["state"] for row in inbox.values()} == {"applied"}
    assert set(inbox) == {webhook.event.event_id for webhook in webhooks}
    told = []
    for order in orders:
        lines = await shop.timeline(order)
        assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
        told += [line["reference"] for line in lines if line["reference"] is not None]
    assert len(told) == len(set(told)), "nothing is merged twice"
    assert set(told) == set(inbox) | {f"poll_{number}" for number in range(60)}, "nothing is lost"
    for database in processes:
        await database.close()


async def test_a_batch_whose_order_changed_meanwhile_saves_the_others_first(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order changes between look-up and save: its webhook goes round again, its neighbours do not."""
    contested, quiet = await shop.order("contested"), await shop.order("quiet")
    rounds = []

    async def meddling(database: Any, changes: Any, *rest: Any) -> Any:
        rounds.append([change.key.order_id for change in changes])
        if len(rounds) == 1:
            await shop.sql("UPDATE orders SET version = version + 1 WHERE order_id = $1", contested)
        return await saving(database, changes, *rest)

    saving = apply.save
    monkeypatch.setattr(commands, "save", meddling)
    await take_in(shop.database, [a_failed_charge(1, contested), a_failed_charge(2, quiet)], AT, OUTBOX)
    assert [sorted(round) for round in rounds] == [sorted([contested, quiet]), [contested]]
    assert {row["state"] for row in (await shop.inbox()).values()} == {"applied"}
    assert [line["reference"] for line in await shop.timeline(contested)] == ["evt_00001"]


async def test_an_order_that_never_stands_still_is_given_up_and_its_webhook_not_stored(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    contested = await shop.order("contested")

    async def meddling(*given: Any) -> Any:
        await shop.sql("UPDATE orders SET version = version + 1")
        return await saving(*given)

    saving = apply.save
    monkeypatch.setattr(commands, "save", meddling)
    with pytest.raises(SerializationFailed):
        await take_in(shop.database, [a_failed_charge(1, contested)], AT, OUTBOX)
    assert await shop.inbox() == {}
    assert await shop.timeline(contested) == []


async def test_one_batch_may_hold_everything_at_once(shop: Shop, payment: Payment) -> None:
    """Twice the same webhook, several about one order, one unknown, one ignored, one that cannot be read."""
    order = await shop.order("one")
    raws = [
        payment("evt_paid", order),
        payment("evt_paid", order),
        payment("evt_stray", "ord_" + "9" * 25),
        b'{"id": "evt_ignored", "type": "balance.available", "data": {"object": {"id": "b"}}}',
        b'{"id": "evt_unread", "type": "charge.failed", "data": {"object": {"id": 5}}}',
    ]
    webhooks = [Webhook(MERCHANT, CONNECTION, raw, read_event(raw)) for raw in raws]
    await take_in(shop.database, [*webhooks, a_failed_charge(1, order)], AT, OUTBOX)
    await take_in(shop.database, [*webhooks, a_failed_charge(1, order)], AT, OUTBOX)
    assert {id: row["state"] for id, row in (await shop.inbox()).items()} == {
        "evt_paid": "applied",
        "evt_stray": "parked",
        "evt_ignored": "ignored",
        "evt_unread": "failed",
        "evt_00001": "applied",
    }
    assert sorted(line["reference"] for line in await shop.timeline(order)) == ["evt_00001", "evt_paid"]
