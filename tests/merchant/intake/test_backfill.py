"""RULES §7: after an outage the gateway's events are compared by cursor; the rules by which that starts by itself."""

from datetime import timedelta
from typing import Any

from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.expiry.worker import AttemptWorker
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.intake import backfill
from tallystick.merchant.intake.backfill import BackfillWorker, Wanted, want_backfills
from tallystick.merchant.intake.commands import Intake
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Record, Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any


def a_worker(stage: Stage) -> BackfillWorker:
    clock, entropy = SystemClock(), SystemEntropy()
    gateways = {"stripe": StripeGateway(stage.http, stage.secrets, clock, entropy)}
    directory, intake = Directory(stage.database, clock), Intake(stage.database, clock, Outbox(clock, entropy))
    return BackfillWorker(stage.database, intake, gateways, directory, clock, entropy)


async def the_watch(stage: Stage) -> Record:
    (row,) = await stage.database.rows(Statement("x", "SELECT * FROM connection_watch"))
    found: Record = row
    return found


async def unheard(stage: Stage, orders: int) -> list[str]:
    """Orders that are paid while no webhook comes."""
    ids = []
    for _ in range(orders):
        _, order = await stage.place()
        session = stage.gateway.sessions[order["attempts"][0]["checkout_session"]]
        stage.gateway.pay(session)
        stage.happen("payment_intent.succeeded", session["payment_intent"])
        stage.happen("customer.created", {"id": "cus_1", "object": "customer"})
        ids.append(order["id"])
    return ids


async def states(stage: Stage, orders: list[str]) -> set[str]:
    return {(await stage.order(order))["state"] for order in orders}


async def test_a_service_that_was_down_compares_by_itself(stage: Stage) -> None:
    """Nobody watched for more than two minutes: what happened since then is listed, page by page."""
    worker = a_worker(stage)
    assert await worker.run_once() == 0
    watched_at = (await the_watch(stage))["watched_at"]
    orders = await unheard(stage, 3)
    await stage.database.execute(
        Statement("x", "UPDATE connection_watch SET watched_at = watched_at - interval '121 seconds'")
    )
    worker = a_worker(stage)
    assert [await worker.run_once() for _ in range(4)] == [1, 1, 1, 0]
    assert await states(stage, orders) == {"PAID"}
    watch = await the_watch(stage)
    assert (watch["backfill_from"], watch["backfill_cursor"], watch["due_at"]) == (None, None, None)
    assert watch["watched_at"] > watched_at
    listed = [path for _, path, _ in stage.gateway.calls if path == "/v1/events"]
    assert len(listed) == 3
    rows = await stage.database.rows(Statement("x", "SELECT type, state FROM inbox"))
    assert {(row["type"], row["state"]) for row in rows} == {("payment_intent.succeeded", "applied")}


async def test_a_service_that_is_watched_compares_nothing(stage: Stage) -> None:
    for _ in range(3):
        assert await a_worker(stage).run_once() == 0
    assert stage.gateway.calls == []


async def test_what_came_by_webhook_is_no_work(stage: Stage) -> None:
    """A duplicate (connection, event id) does nothing."""
    [order] = await unheard(stage, 1)
    for event in stage.gateway.events:
        assert await stage.send(event) == 200
    before = await stage.timeline(order)
    await want_backfills(
        stage.database, [Wanted(stage.merchant_id, stage.connection_id, SystemClock().now())], SystemClock().now()
    )
    await a_worker(stage).run_once()
    assert await stage.timeline(order) == before


async def test_a_look_that_tells_more_than_the_webhooks_starts_it(stage: Stage) -> None:
    """Webhooks do not come: the look finds it out, and all other orders of the connection gain by it."""
    looked, *others = await unheard(stage, 3)
    due = Statement("x", "UPDATE attempt SET due_at = $1::timestamptz WHERE order_id = $2::text")
    await stage.database.execute(due, SystemClock().now(), looked)
    clock, entropy = SystemClock(), SystemEntropy()
    gateways = {"stripe": StripeGateway(stage.http, stage.secrets, clock, entropy)}
    attempts = AttemptWorker(
        stage.database,
        gateways,
        Directory(stage.database, clock),
        clock,
        entropy,
        Outbox(clock, entropy),
    )
    assert await attempts.run_once() == 1
    assert await states(stage, others) == {"PENDING"}
    worker = a_worker(stage)
    while await worker.run_once():
        pass
    assert await states(stage, [looked, *others]) == {"PAID"}

    await want_backfills(stage.database, [Wanted(stage.merchant_id, stage.connection_id, clock.now())], clock.now())
    watch = await the_watch(stage)
    assert watch["due_at"] == watch["backfilled_at"] + timedelta(seconds=backfill.EVERY_S), "not more often"


async def test_a_gateway_that_does_not_answer_is_asked_again_at_the_same_page(stage: Stage) -> None:
    orders = await unheard(stage, 2)
    await want_backfills(
        stage.database, [Wanted(stage.merchant_id, stage.connection_id, SystemClock().now())], SystemClock().now()
    )
    worker = a_worker(stage)
    await worker.run_once()
    cursor = (await the_watch(stage))["backfill_cursor"]
    assert cursor is not None
    stage.gateway.trouble = [(500, "api_error")] * 3
    await worker.run_once()
    watch = await the_watch(stage)
    assert (watch["backfill_cursor"], watch["tries"]) == (cursor, 1)
    assert watch["due_at"] > SystemClock().now()
    await stage.database.execute(
        Statement("x", "UPDATE connection_watch SET due_at = $1::timestamptz"), SystemClock().now()
    )
    while await worker.run_once():
        pass
    assert await states(stage, orders) == {"PAID"}


async def test_an_event_that_cannot_be_applied_is_stored_and_holds_up_no_other(stage: Stage) -> None:
    orders = await unheard(stage, 1)
    session = stage.gateway.session
    stage.happen("payment_intent.succeeded", {**session["payment_intent"], "amount": 10**18})
    await want_backfills(
        stage.database, [Wanted(stage.merchant_id, stage.connection_id, SystemClock().now())], SystemClock().now()
    )
    worker = a_worker(stage)
    while await worker.run_once():
        pass
    assert await states(stage, orders) == {"PAID"}
    rows = await stage.database.rows(Statement("x", "SELECT state FROM inbox ORDER BY state"))
    assert [row["state"] for row in rows] == ["applied", "failed"]
