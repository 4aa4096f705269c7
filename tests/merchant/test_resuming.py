"""RULES §5: a call whose caller never came back is brought to its end at its recovery point, once."""

from datetime import timedelta
from typing import Any

import pytest

from tallystick.kernel.idempotency.completer import Completer
from tallystick.ports.database import Statement

Stage = Any


def the_completer(stage: Stage) -> Completer:
    [completer] = [worker for worker in stage.service.workers if isinstance(worker, Completer)]
    completer._since = None  # rows are made older here, which a running installation never sees
    return completer


async def ten_minutes_later(stage: Stage) -> None:
    text = "UPDATE idempotency_key SET created_at = created_at - $1::interval, lease_until = lease_until - $1::interval"
    await stage.database.execute(Statement("x", text), timedelta(minutes=10))


@pytest.mark.parametrize("trouble", ["lose", "cut"])
async def test_an_order_whose_caller_never_came_back_has_its_session(stage: Stage, trouble: str) -> None:
    stage.gateway.trouble = [trouble] * 3
    assert (await stage.place("k"))[0] == 503
    assert await the_completer(stage).run_once() == 0, "he may still come back"
    await ten_minutes_later(stage)
    assert await the_completer(stage).run_once() == 1
    assert len(stage.gateway.sessions) == 1
    status, order = await stage.place("k")
    assert (status, order["attempts"][0]["checkout_session"]) == (201, stage.gateway.session["id"])
    assert len(stage.gateway.sessions) == 1


async def test_a_second_attempt_and_a_refund_are_ended_too(stage: Stage) -> None:
    _, order = await stage.place()
    await stage.close(order)
    stage.gateway.trouble = ["lose"] * 3
    assert (await stage.post(f"/v1/orders/{order['id']}/attempts", {}, "a"))[0] == 503
    _, paid = await stage.place()
    await stage.pay(paid)
    stage.gateway.trouble = ["lose"] * 3
    assert (await stage.post(f"/v1/orders/{paid['id']}/refunds", {"amount": 700}, "r"))[0] == 503
    await ten_minutes_later(stage)
    assert await the_completer(stage).run_once() == 2
    assert (await stage.order(paid["id"]))["amount_refunded"] == 700
    assert (await stage.order(order["id"]))["attempts"][1]["checkout_session"] is not None
    assert (await stage.post(f"/v1/orders/{paid['id']}/refunds", {"amount": 700}, "r"))[0] == 201
    assert len(stage.gateway.refunds) == 1


async def test_what_cannot_be_ended_now_comes_again(stage: Stage) -> None:
    stage.gateway.trouble = ["lose"] * 6
    assert (await stage.place("k"))[0] == 503
    await ten_minutes_later(stage)
    assert await the_completer(stage).run_once() == 1
    rows = await stage.database.rows(Statement("x", "SELECT state FROM idempotency_key"))
    assert [row["state"] for row in rows] == ["running"]
    await ten_minutes_later(stage)
    assert await the_completer(stage).run_once() == 1
    assert (await stage.place("k"))[0] == 201
