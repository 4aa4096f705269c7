"""Declined until FAILED, over real HTTP: close request, worker, gateway, answer merged (RULES §4, DESIGN §2.7)."""

import asyncio
from typing import Any

from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.expiry import worker
from tallystick.merchant.expiry.worker import AttemptWorker
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Record, Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any


def a_worker(stage: Stage) -> AttemptWorker:
    clock, entropy = SystemClock(), SystemEntropy()
    gateway = StripeGateway(stage.http, stage.secrets, clock, entropy)
    return AttemptWorker(
        stage.database,
        {"stripe": gateway},
        Directory(stage.database, clock),
        clock,
        entropy,
        Outbox(clock, entropy),
    )


async def declined(stage: Stage, times: int = 3) -> tuple[str, dict[str, Any]]:
    """An order whose shopper was declined; its id and its session."""
    _, order = await stage.place()
    session = stage.gateway.sessions[order["attempts"][0]["checkout_session"]]
    for _ in range(times):
        assert await stage.tell("payment_intent.payment_failed", stage.gateway.decline(session)) == 200
    return order["id"], session


async def the_attempt(stage: Stage) -> Record:
    rows = await stage.database.rows(Statement("x", "SELECT * FROM attempt"))
    row: Record = rows[0]
    return row


async def make_due(stage: Stage) -> None:
    await stage.database.execute(
        Statement("x", "UPDATE attempt SET due_at = $1::timestamptz WHERE due_at IS NOT NULL"), SystemClock().now()
    )


async def test_declined_until_failed(stage: Stage) -> None:
    """RULES §4: FAILED works with every gateway, because we decide it: the gateway reports no more than expired."""
    order_id, session = await declined(stage)
    assert (await stage.order(order_id))["state"] == "PENDING"
    assert await a_worker(stage).run_once() == 1
    order = await stage.order(order_id)
    assert (order["state"], order["redirect_url"], session["status"]) == ("FAILED", None, "expired")
    assert [charge["status"] for charge in order["attempts"][0]["charges"]] == ["failed"] * 3
    assert stage.gateway.keys[-1] == f"close:{order_id}:1:1"
    assert [
        (row["source"], row["fact"]["fact"], row["state_after"]) for row in (await stage.timeline(order_id))[-2:]
    ] == [
        ("merchant", "close_requested", "PENDING"),
        ("api", "closed", "FAILED"),
    ]
    assert await a_worker(stage).run_once() == 0


async def test_two_declines_close_nothing(stage: Stage) -> None:
    await declined(stage, times=2)
    assert await a_worker(stage).run_once() == 0


async def test_the_service_closes_by_itself(stage: Stage) -> None:
    order_id, _ = await declined(stage)
    closing = stage.service.workers[0]
    running = asyncio.create_task(closing.run())
    async with asyncio.timeout(5):
        while (await stage.order(order_id))["state"] != "FAILED":  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.05)
    running.cancel()


async def test_a_shopper_who_pays_before_the_close_has_paid(stage: Stage) -> None:
    """RULES §8: already paid → PAID. The close is refused, what is there is merged."""
    order_id, session = await declined(stage)
    stage.gateway.pay(session)
    await a_worker(stage).run_once()
    order = await stage.order(order_id)
    assert (order["state"], order["fulfilment"], order["late"]) == ("PAID", "allowed", False)
    assert (await the_attempt(stage))["due_at"] is None


async def test_after_an_unknown_outcome_the_same_key_is_repeated(stage: Stage) -> None:
    """RULES §5: repeat a key only after an unknown outcome."""
    order_id, _ = await declined(stage)
    stage.gateway.trouble = [(500, "api_error")] * 3
    await a_worker(stage).run_once()
    attempt = await the_attempt(stage)
    assert (attempt["state"], attempt["close_number"], attempt["tries"], attempt["lease_until"]) == ("open", 1, 1, None)
    assert attempt["due_at"] > SystemClock().now()
    await make_due(stage)
    await a_worker(stage).run_once()
    assert (await stage.order(order_id))["state"] == "FAILED"
    assert set(stage.gateway.keys[1:]) == {f"close:{order_id}:1:1"}


async def test_after_a_refusal_the_next_try_has_a_fresh_key(stage: Stage) -> None:
    """RULES §5: refusals that depend on state are final for their key."""
    order_id, _ = await declined(stage)
    stage.gateway.trouble = [(400, "payment_intent_unexpected_state")]
    await a_worker(stage).run_once()
    assert (await stage.order(order_id))["state"] == "PENDING"
    assert (await the_attempt(stage))["close_number"] == 2
    await make_due(stage)
    await a_worker(stage).run_once()
    assert (await stage.order(order_id))["state"] == "FAILED"
    assert stage.gateway.keys[-1] == f"close:{order_id}:1:2"


async def test_of_many_workers_one_closes(stage: Stage) -> None:
    """DESIGN §2.7: candidates without lock, then a conditional update: one worker takes it."""
    order_id, _ = await declined(stage)
    counts = await asyncio.gather(*(a_worker(stage).run_once() for _ in range(5)))
    assert sum(counts) == 1
    assert stage.gateway.keys.count(f"close:{order_id}:1:1") == 1


async def test_two_who_saw_the_same_request_as_due_do_not_both_take_it(stage: Stage) -> None:
    """DESIGN §2.7: the conditional update compares the generation that was seen."""
    await declined(stage)
    at = SystemClock().now()
    seen = await stage.database.rows(worker.SQL.due_attempts, at, 10)
    columns = [[row[name] for row in seen] for name in ("merchant_id", "order_id", "number", "generation")]
    taken = [await stage.database.rows(worker.SQL.take_attempts, at, *columns) for _ in range(2)]
    assert [len(rows) for rows in taken] == [1, 0]


async def test_what_a_dead_worker_held_is_taken_over_when_its_lease_ends(stage: Stage) -> None:
    order_id, _ = await declined(stage)
    dead = a_worker(stage)
    assert len(await dead._claim()) == 1
    assert await a_worker(stage).run_once() == 0
    await stage.database.execute(
        Statement("x", "UPDATE attempt SET lease_until = $1::timestamptz"), SystemClock().now()
    )
    assert await a_worker(stage).run_once() == 1
    assert (await stage.order(order_id))["state"] == "FAILED"


async def test_one_close_that_breaks_holds_up_no_other(stage: Stage) -> None:
    broken, _ = await declined(stage)
    await stage.database.execute(Statement("x", "UPDATE attempt SET connection_id = 'con_lost'"))
    whole, _ = await declined(stage)
    assert await a_worker(stage).run_once() == 2
    assert ((await stage.order(whole))["state"], (await stage.order(broken))["state"]) == ("FAILED", "PENDING")
