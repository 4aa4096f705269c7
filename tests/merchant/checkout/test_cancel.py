"""The shop cancels an order: asked for, closed at the gateway, CANCELED; money that is faster wins (RULES §4, §8)."""

from typing import Any

Stage = Any


async def close_what_is_due(stage: Stage) -> None:
    [worker] = [each for each in stage.service.workers if type(each).__name__ == "AttemptWorker"]
    while await worker.run_once():
        pass


async def test_a_pending_order_is_cancelled_at_the_gateway_first(stage: Stage) -> None:
    _, order = await stage.place()
    status, asked = await stage.post(f"/v1/orders/{order['id']}/cancel", key="cancel-1")
    assert (status, asked["state"]) == (202, "PENDING")
    assert (await stage.post(f"/v1/orders/{order['id']}/cancel", key="cancel-1"))[1] == asked
    await close_what_is_due(stage)
    assert (await stage.order(order["id"]))["state"] == "CANCELED"
    assert stage.gateway.session["status"] == "expired"
    status, again = await stage.post(f"/v1/orders/{order['id']}/cancel")
    assert (status, again["state"]) == (200, "CANCELED")


async def test_money_that_is_faster_than_the_wish_wins(stage: Stage) -> None:
    _, order = await stage.place()
    stage.gateway.pay(stage.gateway.session)
    assert (await stage.post(f"/v1/orders/{order['id']}/cancel"))[0] == 202
    await close_what_is_due(stage)
    assert (await stage.order(order["id"]))["state"] == "PAID"


async def test_what_has_ended_otherwise_is_not_cancelled(stage: Stage) -> None:
    _, order = await stage.place()
    await stage.pay(order)
    status, problem = await stage.post(f"/v1/orders/{order['id']}/cancel")
    assert (status, problem["code"]) == (409, "order_not_cancelable")
    assert (await stage.post("/v1/orders/ord_nobody/cancel"))[0] == 404


async def test_an_order_for_which_another_amount_was_taken_is_not_cancelled_and_says_why(stage: Stage) -> None:
    """It is PENDING, which is no reason."""
    _, order = await stage.place()
    stage.gateway.pay(stage.gateway.session)
    taken = {**stage.gateway.session["payment_intent"], "amount": 2400, "amount_received": 2400}
    assert await stage.tell("payment_intent.succeeded", taken) == 200
    status, problem = await stage.post(f"/v1/orders/{order['id']}/cancel")
    assert (status, problem["detail"]) == (409, "Another amount was taken for it: a person must look at it.")
