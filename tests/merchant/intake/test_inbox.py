"""RULES §7: parked webhooks are matched again, then a case; failed ones stay runnable, with their error."""

from datetime import timedelta
from typing import Any

import pytest

from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.intake import commands
from tallystick.merchant.intake.inbox import InboxWorker
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Record, Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any


def a_worker(stage: Stage) -> InboxWorker:
    clock, entropy = SystemClock(), SystemEntropy()
    gateway = StripeGateway(stage.http, stage.secrets, clock, entropy)
    return InboxWorker(stage.database, {"stripe": gateway}, clock, entropy, Outbox(clock, entropy))


async def the_row(stage: Stage) -> Record:
    (row,) = await stage.database.rows(Statement("x", "SELECT * FROM inbox"))
    found: Record = row
    return found


async def make_due(stage: Stage) -> None:
    text = "UPDATE inbox SET due_at = $1::timestamptz WHERE due_at IS NOT NULL"
    await stage.database.execute(Statement("x", text), SystemClock().now())


async def an_early_webhook(stage: Stage) -> tuple[str, dict[str, Any]]:
    """A webhook that comes before its order: the order's row is hidden while it comes."""
    _, order = await stage.place()
    stage.gateway.pay(stage.gateway.session)
    stage.hidden = order["id"]
    for table in ("attempt", "orders"):
        await stage.database.execute(Statement("x", f"CREATE TABLE {table}_hidden AS SELECT * FROM {table}"))
    await stage.database.execute(Statement("x", "DELETE FROM attempt"))
    await stage.database.execute(Statement("x", "DELETE FROM orders"))
    intent = stage.gateway.session["payment_intent"]
    assert await stage.tell("payment_intent.succeeded", intent) == 200
    return order["id"], intent


async def show_again(stage: Stage) -> None:
    for table in ("orders", "attempt"):
        await stage.database.execute(Statement("x", f"INSERT INTO {table} SELECT * FROM {table}_hidden"))


async def operator(stage: Stage, method: str, path: str) -> tuple[int, Any]:
    made = await create_key(stage.database, "ada", role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())
    headers = {"Authorization": f"Bearer {made.key}"}
    async with stage.client.request(method, f"{stage.url}/operator/v1{path}", headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_webhook_that_came_too_early_is_matched_again(stage: Stage) -> None:
    """RULES §7: a webhook may overtake what it is about."""
    order_id, _ = await an_early_webhook(stage)
    row = await the_row(stage)
    assert (row["state"], row["due_at"] - row["received_at"]) == ("parked", timedelta(seconds=1))
    await show_again(stage)
    await make_due(stage)
    assert await a_worker(stage).run_once() == 1
    assert (await stage.order(order_id))["state"] == "PAID"
    row = await the_row(stage)
    assert (row["state"], row["due_at"], row["lease_until"]) == ("applied", None, None)
    assert [line["reference"] for line in await stage.timeline(order_id)][-1] == row["event_id"]


async def test_what_fits_no_order_is_a_case_in_the_end(stage: Stage) -> None:
    """RULES §7: parked, matched again after 1 s, 5 s, 30 s, 5 m, 1 h, then a case: one for each payment."""
    order_id, intent = await an_early_webhook(stage)
    pauses = []
    for _ in range(5):
        await make_due(stage)
        before = SystemClock().now()
        assert await a_worker(stage).run_once() == 1
        row = await the_row(stage)
        pauses.append(row["due_at"] and round((row["due_at"] - before).total_seconds()))
    assert pauses == [5, 30, 300, 3600, None]
    assert (row["state"], row["tries"]) == ("parked", 5)
    assert await a_worker(stage).run_once() == 0
    _, page = await stage.get("/v1/cases")
    [case] = page["data"]
    assert (case["kind"], case["state"], case["details"]["event"]) == ("webhook_unmatched", "open", row["event_id"])
    assert case["subject"] == f"{stage.connection_id}:{intent['id']}"
    assert case["details"]["order"] == order_id, "whose payment it says it is"
    assert await stage.get(f"/v1/cases/{case['id']}") == (200, case)
    assert (await stage.get("/v1/cases/cas_none"))[0] == 404
    assert (await stage.get("/v1/cases?state=closed"))[1] == {"data": [], "next_cursor": None}


async def test_a_failed_webhook_stays_runnable_with_its_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES §7: an inbox event that failed to apply stays runnable and is shown as an inbound dead letter."""
    _, order = await stage.place(currency="EUR")
    stage.gateway.pay(stage.gateway.session)
    intent = stage.gateway.session["payment_intent"]
    assert await stage.tell("payment_intent.succeeded", {**intent, "amount": 10**18}) == 200
    for _ in range(5):
        await make_due(stage)
        await a_worker(stage).run_once()
    row = await the_row(stage)
    assert (row["state"], row["due_at"], row["tries"]) == ("failed", None, 5)
    status, page = await operator(stage, "GET", "/inbox?state=failed")
    [letter] = page["data"]
    assert (status, letter["event"], letter["due_at"], letter["tries"]) == (200, row["event_id"], None, 5)
    assert letter["error"].startswith("amount_out_of_range")
    path = f"/inbox/{stage.connection_id}/{row['event_id']}"
    assert await operator(stage, "GET", path) == (200, letter)
    assert (await operator(stage, "POST", f"{path}/run"))[1]["state"] == "failed"

    # What was wrong with it is mended by a newer version, which reads it.
    monkeypatch.setattr("tallystick.merchant.gateways.stripe_objects.AMOUNT_WIRE_MAX", 10**19)
    monkeypatch.setattr("tallystick.merchant.gateways.stripe_objects.from_wire", lambda amount, currency: 2500)
    status, ran = await operator(stage, "POST", f"{path}/run")
    assert (status, ran["state"], ran["error"]) == (200, "applied", None)
    assert (await stage.order(order["id"]))["state"] == "PAID"
    assert (await operator(stage, "POST", f"{path}/run"))[0] == 409
    assert (await operator(stage, "GET", f"/inbox/{stage.connection_id}/evt_none"))[0] == 404
    assert (await operator(stage, "GET", "/inbox"))[1] == {"data": [], "next_cursor": None}


async def test_one_that_breaks_holds_up_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES §7: a batch that fails is tried one by one; the culprit is failed, with its name."""
    order_id, intent = await an_early_webhook(stage)
    await stage.send(stage.happen("payment_intent.succeeded", {**intent, "id": "pi_poison"}))
    await show_again(stage)
    await make_due(stage)
    original = commands.about_of

    def poisoned(webhook: Any, named: Any) -> Any:
        if webhook.event.intent == "pi_poison":
            raise ArithmeticError
        return original(webhook, named)

    monkeypatch.setattr("tallystick.merchant.intake.inbox.about_of", poisoned)
    assert await a_worker(stage).run_once() == 2
    rows = await stage.database.rows(Statement("x", "SELECT state, error FROM inbox ORDER BY event_id"))
    assert [(row["state"], row["error"]) for row in rows] == [("applied", None), ("failed", "ArithmeticError")]
    assert (await stage.order(order_id))["state"] == "PAID"


async def test_what_a_dead_worker_held_is_taken_over_when_its_lease_ends(stage: Stage) -> None:
    await an_early_webhook(stage)
    await make_due(stage)
    at = SystemClock().now()
    row = await the_row(stage)
    key = (row["merchant_id"], row["connection_id"], row["event_id"], row["generation"])
    assert len(await a_worker(stage)._take([key], at)) == 1
    assert await a_worker(stage)._take([key], at) == []
    assert await a_worker(stage).run_once() == 0
    await stage.database.execute(Statement("x", "UPDATE inbox SET lease_until = $1::timestamptz"), at)
    assert await a_worker(stage).run_once() == 1
