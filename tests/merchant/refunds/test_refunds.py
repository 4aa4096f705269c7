"""`POST /v1/orders/{id}/refunds` over real HTTP: once for each key, never more than there is (RULES §4, §5)."""

import asyncio
from typing import Any

import pytest

from tallystick.ports.database import Statement

Stage = Any


async def a_paid_order(stage: Stage) -> str:
    _, order = await stage.place()
    await stage.pay(order)
    order_id: str = order["id"]
    return order_id


async def test_a_part_and_then_the_rest(stage: Stage) -> None:
    order_id = await a_paid_order(stage)
    path = f"/v1/orders/{order_id}/refunds"
    status, refund = await stage.post(path, {"amount": 700})
    assert (status, refund["amount"], refund["currency"], refund["status"]) == (201, 700, "EUR", "succeeded")
    assert stage.gateway.keys[-1] == f"refund:{order_id}:1"
    assert (await stage.order(order_id))["amount_refunded"] == 700
    status, refund = await stage.post(path)
    assert (status, refund["amount"]) == (201, 1800)
    order = await stage.order(order_id)
    assert (order["state"], order["amount_refunded"]) == ("PAID", 2500)
    assert [(line["status"], line["amount"]) for line in order["attempts"][0]["refunds"]] == [
        ("succeeded", 700),
        ("succeeded", 1800),
    ]
    status, problem = await stage.post(path)
    assert (status, problem["code"]) == (409, "order_not_refundable")


async def test_what_was_captured_is_retrieved_where_only_a_session_told_of_it(stage: Stage) -> None:
    """RULES §4: a session says paid, and not how much of it: an order is PAID by it, and what was captured stays what
    is known until it is needed. The gateway's answer is merged, never a guess."""
    _, order = await stage.place()
    session = stage.gateway.session
    stage.gateway.pay(session)
    session["payment_intent"]["amount_received"] = 900  # captured in part, by somebody else's command
    assert await stage.tell("checkout.session.completed", session) == 200
    found = await stage.order(order["id"])
    assert (found["state"], found["fulfilment"], found["amount_captured"]) == ("PAID", "allowed", 0)
    path = f"/v1/orders/{order['id']}/refunds"
    stage.gateway.trouble = [(500, "api_error")] * 3
    assert (await stage.post(path, {"amount": 901}))[0] == 503
    assert (await stage.post(path, {"amount": 901}))[1]["code"] == "order_not_refundable"
    calls = len(stage.gateway.calls)
    status, refund = await stage.post(path)
    assert (status, refund["amount"], len(stage.gateway.calls) - calls) == (201, 900, 1), "looked at once"
    found = await stage.order(order["id"])
    assert (found["amount_captured"], found["amount_refunded"]) == (900, 900)


@pytest.mark.parametrize("first", ["checkout.session.completed", "payment_intent.succeeded"])
async def test_what_a_session_agreed_to_never_hides_what_was_captured(stage: Stage, first: str) -> None:
    """RULES §4: amounts join by maximum, so a guess that is too high would stay for ever."""
    _, order = await stage.place()
    session = stage.gateway.session
    stage.gateway.pay(session)
    session["payment_intent"]["amount_received"] = 900
    told = {"checkout.session.completed": session, "payment_intent.succeeded": session["payment_intent"]}
    for type in sorted(told, key=lambda type: type != first):
        assert await stage.tell(type, told[type]) == 200
    found = await stage.order(order["id"])
    assert (found["state"], found["amount_captured"], found["attention"]) == ("PAID", 900, None)


async def test_the_same_key_gives_the_same_refund(stage: Stage) -> None:
    order_id = await a_paid_order(stage)
    path = f"/v1/orders/{order_id}/refunds"
    first = await stage.post(path, {"amount": 700}, "k")
    assert await stage.post(path, {"amount": 700}, "k") == first
    assert (await stage.post(path, {"amount": 800}, "k"))[1]["code"] == "idempotency_key_used_otherwise"
    assert len(stage.gateway.refunds) == 1


@pytest.mark.parametrize(("trouble", "made"), [("lose", 1), ("cut", 0)])
async def test_past_the_keys_life_a_refund_is_looked_for_before_it_is_sent_again(
    stage: Stage, trouble: str, made: int
) -> None:
    """RULES §5: the gateway keeps keys for a day; after that the same call would give the money back twice."""
    order_id = await a_paid_order(stage)
    path = f"/v1/orders/{order_id}/refunds"
    for number in range(3):
        assert (await stage.post(path, {"amount": 100}))[0] == 201, number
    stage.gateway.trouble = [trouble] * 3
    assert (await stage.post(path, {"amount": 700}, "k"))[1]["code"] == "outcome_unknown"
    assert len(stage.gateway.refunds) == 3 + made
    stage.gateway.forget_keys()
    await stage.database.execute(
        Statement("x", "UPDATE refund SET created_at = created_at - interval '24 h' WHERE number = 4")
    )
    stage.gateway.trouble = [(500, "api_error")] * 3
    assert (await stage.post(path, {"amount": 700}, "k"))[1]["code"] == "outcome_unknown", "nobody knows without a look"
    status, refund = await stage.post(path, {"amount": 700}, "k")
    assert (status, refund["amount"]) == (201, 700)
    assert len(stage.gateway.refunds) == 4
    assert (await stage.order(order_id))["amount_refunded"] == 1000


async def test_a_repetition_that_is_refused_says_nothing_of_the_first_try(stage: Stage) -> None:
    order_id = await a_paid_order(stage)
    path = f"/v1/orders/{order_id}/refunds"
    for trouble, status in (("lose", 201), ("cut", 422)):
        stage.gateway.trouble = [trouble] * 3
        assert (await stage.post(path, {"amount": 700}, trouble))[1]["code"] == "outcome_unknown"
        stage.gateway.trouble = [(400, "charge_disputed")]
        assert (await stage.post(path, {"amount": 700}, trouble))[0] == status
    assert len(stage.gateway.refunds) == 1


@pytest.mark.parametrize("trouble", ["lose", "cut"])
async def test_an_unknown_outcome_resumes_with_the_same_refund(stage: Stage, trouble: str) -> None:
    """RULES §5: the same request to the byte under the same key."""
    order_id = await a_paid_order(stage)
    stage.gateway.trouble = [trouble] * 3
    path = f"/v1/orders/{order_id}/refunds"
    status, problem = await stage.post(path, {"amount": 700}, "k")
    assert (status, problem["code"], problem["order"]) == (503, "outcome_unknown", order_id)
    status, refund = await stage.post(path, {"amount": 700}, "k")
    assert (status, refund["amount"], len(stage.gateway.refunds)) == (201, 700, 1)
    assert set(stage.gateway.keys[-4:]) == {f"refund:{order_id}:1"}


async def test_what_was_asked_for_and_not_answered_counts(stage: Stage) -> None:
    order_id = await a_paid_order(stage)
    stage.gateway.trouble = ["cut"] * 3
    path = f"/v1/orders/{order_id}/refunds"
    assert (await stage.post(path, {"amount": 2000}))[0] == 503
    assert (await stage.post(path, {"amount": 2000}))[1]["code"] == "order_not_refundable"
    assert (await stage.post(path, {"amount": 500}))[0] == 201


async def test_of_fifty_at_once_no_more_is_given_back_than_there_is(stage: Stage) -> None:
    """RULES §3: a refund command succeeds only within what is left, also when 50 race."""
    order_id = await a_paid_order(stage)
    path = f"/v1/orders/{order_id}/refunds"
    answers = await asyncio.gather(*(stage.post(path, {"amount": 100}) for _ in range(50)))
    assert sorted(status for status, _ in answers) == [201] * 25 + [409] * 25
    assert (await stage.order(order_id))["amount_refunded"] == 2500


async def test_a_refusal_of_the_gateway_is_final_for_its_key(stage: Stage) -> None:
    order_id = await a_paid_order(stage)
    stage.gateway.trouble = [(400, "charge_disputed")]
    path = f"/v1/orders/{order_id}/refunds"
    status, problem = await stage.post(path, {"amount": 700}, "k")
    assert (status, problem["code"]) == (422, "gateway_refused")
    assert await stage.post(path, {"amount": 700}, "k") == (status, problem)
    assert (await stage.post(path, {"amount": 700}))[0] == 201
    rows = await stage.database.rows(Statement("x", "SELECT number, state FROM refund ORDER BY number"))
    assert [(row["number"], row["state"]) for row in rows] == [(1, "refused"), (2, "made")]


async def test_what_becomes_of_a_refund_is_merged(stage: Stage) -> None:
    """RULES §4: refunds per id; those failed do not count."""
    order_id = await a_paid_order(stage)
    stage.gateway.refunds_are = "pending"
    await stage.post(f"/v1/orders/{order_id}/refunds", {"amount": 700})
    [refund] = stage.gateway.refunds
    assert (await stage.order(order_id))["amount_refunded"] == 700
    refund["status"] = "failed"
    assert await stage.tell("refund.failed", refund) == 200
    assert (await stage.order(order_id))["amount_refunded"] == 0


@pytest.mark.parametrize(("fields", "status"), [({"amount": 0}, 422), ({"sum": 1}, 422), ({"amount": 2501}, 409)])
async def test_what_cannot_be_meant_is_refused(stage: Stage, fields: dict[str, Any], status: int) -> None:
    order_id = await a_paid_order(stage)
    assert (await stage.post(f"/v1/orders/{order_id}/refunds", fields, "k"))[0] == status
    assert (await stage.post(f"/v1/orders/{order_id}/refunds", {"amount": 1}, "k"))[0] == 201, "the key is free"


async def test_only_a_paid_order_has_money_to_give_back(stage: Stage) -> None:
    _, order = await stage.place()
    status, problem = await stage.post(f"/v1/orders/{order['id']}/refunds")
    assert (status, problem["code"]) == (409, "order_not_refundable")
    assert (await stage.post(f"/v1/orders/{order['id'][:-1]}_/refunds"))[0] == 404
