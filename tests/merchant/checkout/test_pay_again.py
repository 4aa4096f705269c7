"""RULES §4: FAILED, EXPIRED, CANCELED may be paid again: a new attempt, its own time to live, once for each key."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from tallystick.ports.database import Statement

Stage = Any


async def an_expired_order(stage: Stage, **fields: Any) -> dict[str, Any]:
    _, order = await stage.place(**fields)
    await stage.close(order)
    found: dict[str, Any] = await stage.order(order["id"])
    assert found["state"] == "EXPIRED"
    return found


async def test_an_expired_order_is_paid_by_its_second_attempt(stage: Stage) -> None:
    lines = [{"name": "Tea", "amount": 1000, "quantity": 2}, {"name": "Sugar", "amount": 500}]
    order = await an_expired_order(stage, amount=None, line_items=lines, expires_in_s=900)
    status, again = await stage.post(f"/v1/orders/{order['id']}/attempts")
    assert (status, again["state"], [one["state"] for one in again["attempts"]]) == (201, "PENDING", ["closed", "open"])
    assert again["redirect_url"] != order["redirect_url"]
    creates = [fields for _, path, fields in stage.gateway.calls if path == "/v1/checkout/sessions"]
    differing = {name for name in creates[0] if creates[0][name] != creates[1][name]}
    assert differing <= {"expires_at", "metadata[attempt]", "payment_intent_data[metadata][attempt]"}
    assert stage.gateway.keys[-1] == f"order:{order['id']}:2"
    await stage.pay(again, 2)
    paid = await stage.order(order["id"])
    assert (paid["state"], paid["fulfilment"], paid["late"], paid["overpaid"]) == ("PAID", "allowed", False, False)


async def test_the_new_attempt_has_its_own_time_to_live(stage: Stage) -> None:
    """RULES §4, §8: due = its own creation + TTL; attempt 1's end never touches attempt 2."""
    order = await an_expired_order(stage)
    text = "UPDATE {} SET {} = created_at - interval '2 hours'"
    await stage.database.execute(Statement("x", text.format("orders", "expires_at")))
    _, again = await stage.post(f"/v1/orders/{order['id']}/attempts")
    left = datetime.fromisoformat(again["expires_at"]) - datetime.fromisoformat(again["updated_at"])
    assert timedelta(minutes=29) < left <= timedelta(minutes=30, seconds=1)
    rows = await stage.database.rows(Statement("x", "SELECT number, state, due_at FROM attempt ORDER BY number"))
    assert [(row["state"], row["due_at"] is None) for row in rows] == [("closed", True), ("open", False)]
    await stage.close(order)  # once more, late
    assert (await stage.order(order["id"]))["state"] == "PENDING"


async def test_the_same_key_gives_the_same_attempt(stage: Stage) -> None:
    order = await an_expired_order(stage)
    path = f"/v1/orders/{order['id']}/attempts"
    first = await stage.post(path, {}, "k")
    assert await stage.post(path, {}, "k") == first
    answers = await asyncio.gather(*(stage.post(path) for _ in range(5)))
    assert {status for status, _ in answers} == {409}, "there is a live attempt already"
    assert len(stage.gateway.sessions) == 2


async def test_of_many_at_once_one_opens_an_attempt(stage: Stage) -> None:
    """RULES §4: one live attempt per order, so double submits and tabs cannot open two."""
    order = await an_expired_order(stage)
    answers = await asyncio.gather(*(stage.post(f"/v1/orders/{order['id']}/attempts") for _ in range(8)))
    assert sorted(status for status, _ in answers) == [201] + [409] * 7
    assert len(stage.gateway.sessions) == 2


@pytest.mark.parametrize("trouble", ["lose", "cut"])
async def test_an_unknown_outcome_resumes_with_the_same_attempt(stage: Stage, trouble: str) -> None:
    """RULES §5: the call resumes at its recovery point, with the same request to the byte."""
    order = await an_expired_order(stage)
    stage.gateway.trouble = [trouble] * 3
    path = f"/v1/orders/{order['id']}/attempts"
    assert (await stage.post(path, {}, "k"))[0] == 503
    status, again = await stage.post(path, {}, "k")
    assert (status, len(again["attempts"]), len(stage.gateway.sessions)) == (201, 2, 2)
    creates = [fields for _, path, fields in stage.gateway.calls if path == "/v1/checkout/sessions"]
    assert creates[1:] == [creates[1]] * 4


@pytest.mark.parametrize("paid", [True, False])
async def test_only_what_was_not_paid_may_be_paid_again(stage: Stage, paid: bool) -> None:
    _, order = await stage.place()
    if paid:
        await stage.pay(order)
    status, problem = await stage.post(f"/v1/orders/{order['id']}/attempts")
    assert (status, problem["code"]) == (409, "order_not_payable")
    status, problem = await stage.post(f"/v1/orders/{order['id'][:-1]}_/attempts")
    assert (status, problem["code"]) == (404, "not_found")


async def test_a_late_first_payment_closes_the_second_attempt(stage: Stage) -> None:
    """Paid by one attempt, the order takes no other payment."""
    order = await an_expired_order(stage)
    await stage.post(f"/v1/orders/{order['id']}/attempts")
    await stage.pay(order)
    rows = await stage.database.rows(Statement("x", "SELECT close_reason, due_at FROM attempt WHERE number = 2"))
    assert (rows[0]["close_reason"], rows[0]["due_at"] is not None) == ("canceled", True)
    assert (await stage.order(order["id"]))["late"] is True
