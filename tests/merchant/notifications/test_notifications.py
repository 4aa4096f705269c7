"""RULES §4, §6: the shop is told of its orders, in the commit of the change, by the engine that delivers webhooks."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tallystick.kernel.delivery.keeper import Keeper
from tallystick.kernel.delivery.redrive import Redriver
from tallystick.kernel.delivery.worker import Dispatcher
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.signatures import verify_standard
from tallystick.merchant.accounts.commands import AccountRefused
from tallystick.merchant.notifications.dead_letters import DeadLetters
from tallystick.merchant.notifications.endpoints import (
    add_endpoint,
    list_endpoints,
    move_endpoint,
    remove_endpoint,
    roll_secret,
    switch_endpoint,
)
from tallystick.merchant.notifications.worker import ShopEndpoints
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any
PORTS = (SystemClock(), SystemEntropy())


class Ear:
    """A shop that listens: what it was told, once its signature was right."""

    def __init__(self) -> None:
        self.url = ""
        self.secrets: list[str] = []
        self.told: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.status = 204

    async def hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        self.ids.append(verify_standard(self.secrets, headers, body, SystemClock().now()))
        told = msgspec.json.decode(body)
        assert told["id"] == self.ids[-1]
        order = told["data"]["order"]
        self.told.append((told["type"], order["id"], order["fulfilment"]))
        return web.Response(status=self.status)


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    ear = Ear()
    application = web.Application()
    application.router.add_post("/notifications", ear.hear)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ear.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notifications"
    yield ear
    await runner.cleanup()


async def listen(stage: Stage, ear: Ear, *events: str) -> str:
    made = await add_endpoint(
        stage.database, *PORTS, merchant_id=stage.merchant_id, url=ear.url, events=events, loopback=True
    )
    ear.secrets.append(made.secret)
    return made.endpoint_id


async def deliver(stage: Stage) -> None:
    """Send what is due, until nothing is under way."""
    dispatcher = Dispatcher(stage.database, stage.http, ShopEndpoints(), *PORTS)
    while await dispatcher._take() or dispatcher._under_way:
        for task in list(dispatcher._under_way):
            await task


async def deliveries(stage: Stage) -> list[str]:
    rows = await stage.database.rows(Statement("x", "SELECT state FROM delivery ORDER BY id"))
    return [row["state"] for row in rows]


async def test_the_shop_is_told_that_it_may_ship(stage: Stage, ear: Ear) -> None:
    """RULES §4: order.paid only on the change to fulfilment `allowed`; once, however often the payment is told."""
    await listen(stage, ear)
    _, order = await stage.place()
    intent = await stage.pay(order)
    await stage.tell("payment_intent.succeeded", intent)
    assert ear.told == []
    await deliver(stage)
    assert ear.told == [("order.paid", order["id"], "allowed")]
    await deliver(stage)
    assert (len(ear.told), await deliveries(stage)) == (1, ["delivered"])


async def test_a_late_payment_is_not_told_as_paid(stage: Stage, ear: Ear) -> None:
    """RULES §4: PAID that is late starts held: the shop must not ship."""
    await listen(stage, ear)
    _, order = await stage.place()
    await stage.close(order)
    await stage.pay(order)
    await deliver(stage)
    assert [type for type, _, _ in ear.told] == ["order.expired"]


async def test_the_end_and_the_refund_are_told(stage: Stage, ear: Ear) -> None:
    await listen(stage, ear)
    _, expired = await stage.place()
    await stage.close(expired)
    stage.gateway.trouble = [(400, "amount_too_small")]
    _, failed = await stage.place()
    _, paid = await stage.place()
    await stage.pay(paid)
    await stage.post(f"/v1/orders/{paid['id']}/refunds", {"amount": 500})
    await deliver(stage)
    assert sorted(ear.told) == sorted(
        [
            ("order.expired", expired["id"], "none"),
            ("order.failed", failed["order"], "none"),
            ("order.paid", paid["id"], "allowed"),
            ("order.refunded", paid["id"], "allowed"),
        ]
    )


async def test_goods_that_are_held_after_all_are_told(stage: Stage, ear: Ear) -> None:
    """RULES §11: a dispute is told by a webhook, the goods are held, and `order.paid` is not told a second time when it
    is won."""
    await listen(stage, ear)
    _, order = await stage.place()
    intent = await stage.pay(order)
    dispute = {"id": "dp_1", "object": "dispute", "payment_intent": intent["id"], "currency": "eur", "amount": 2500}
    for status in ("needs_response", "under_review", "won"):
        assert await stage.tell("charge.dispute.updated", dispute | {"status": status}) == 200
        found = await stage.order(order["id"])
        held = status != "won"
        assert (found["state"], found["fulfilment"]) == ("PAID", "held" if held else "allowed")
        assert found["attention"] == ("disputed" if held else None)
        assert [each["id"] for each in found["attempts"][0]["disputes"]] == ["dp_1"]
    await deliver(stage)
    assert sorted(ear.told) == [
        ("order.held", order["id"], "held"),
        ("order.hold_lifted", order["id"], "allowed"),
        ("order.paid", order["id"], "allowed"),
    ]
    _, page = await stage.get("/v1/cases")
    assert [(case["kind"], case["details"]["hold"]) for case in page["data"]] == [("disputed", "disputed:dp_1")]


async def test_an_endpoint_hears_what_it_asked_for(stage: Stage, ear: Ear) -> None:
    await listen(stage, ear, "order.expired", "order.refunded")
    _, order = await stage.place()
    await stage.pay(order)
    assert await deliveries(stage) == []
    with pytest.raises(AccountRefused, match=r"order\.shipped"):
        await listen(stage, ear, "order.shipped")


async def test_what_is_not_stored_is_not_told(stage: Stage, ear: Ear) -> None:
    """RULES §6: one transaction: a commit that fails leaves no message behind."""
    await listen(stage, ear)
    _, order = await stage.place()
    lines = "ALTER TABLE delivery ADD CONSTRAINT poison CHECK (state <> 'due') NOT VALID"
    await stage.database.execute(Statement("x", lines))
    session = stage.gateway.session
    stage.gateway.pay(session)
    await stage.tell("payment_intent.succeeded", session["payment_intent"])
    assert (await stage.order(order["id"]))["state"] == "PENDING"
    assert (await stage.count("message"), await stage.count("delivery")) == (0, 0)
    rows = await stage.database.rows(Statement("x", "SELECT state FROM inbox"))
    assert [row["state"] for row in rows] == ["failed"], "it is tried again"


async def test_a_disabled_endpoint_holds_and_gets_all_later(stage: Stage, ear: Ear) -> None:
    """RULES §6: a disabled endpoint parks its deliveries; nothing is skipped."""
    endpoint = await listen(stage, ear)
    named = {"merchant_id": stage.merchant_id, "endpoint_id": endpoint}
    await switch_endpoint(stage.database, PORTS[0], **named, enabled=False)
    _, order = await stage.place()
    await stage.pay(order)
    await deliver(stage)
    assert (ear.told, await deliveries(stage)) == ([], ["held"])
    await switch_endpoint(stage.database, PORTS[0], **named, enabled=True)
    assert [each.status for each in await list_endpoints(stage.database, stage.merchant_id)] == ["enabled"]


async def test_what_was_held_when_it_was_enabled_already_is_released(stage: Stage, ear: Ear) -> None:
    """Who hears of orders is remembered for some seconds: what is held meanwhile must not be held for ever."""
    endpoint = await listen(stage, ear)
    named = {"merchant_id": stage.merchant_id, "endpoint_id": endpoint}
    await switch_endpoint(stage.database, PORTS[0], **named, enabled=False)
    keeper = Keeper(stage.database, ShopEndpoints(), PORTS[0])
    for orders in (1, 2):
        _, order = await stage.place()
        await stage.pay(order)
        if orders == 1:
            await switch_endpoint(stage.database, PORTS[0], **named, enabled=True)
        await keeper.step()
        await deliver(stage)
        assert len(ear.told) == orders


async def test_both_secrets_sign_during_a_rotation(stage: Stage, ear: Ear) -> None:
    endpoint = await listen(stage, ear)
    old = list(ear.secrets)
    new = await roll_secret(stage.database, PORTS[1], merchant_id=stage.merchant_id, endpoint_id=endpoint)
    for ear.secrets in (old, [new]):
        _, order = await stage.place()
        await stage.pay(order)
        await deliver(stage)
    assert len(ear.told) == 2


@pytest.mark.parametrize(
    "url", ["http://shop.example/x", "https://127.0.0.1/x", "https://10.0.0.1/x", "https://shop.example:22/x", "x"]
)
async def test_only_public_addresses_may_be_told(stage: Stage, url: str) -> None:
    """RULES §12: SSRF: refused at registration; dialling checks again."""
    with pytest.raises(AccountRefused):
        await add_endpoint(stage.database, *PORTS, merchant_id=stage.merchant_id, url=url)


async def test_a_removed_endpoint_hears_nothing(stage: Stage, ear: Ear) -> None:
    endpoint = await listen(stage, ear)
    named = {"merchant_id": stage.merchant_id, "endpoint_id": endpoint}
    await move_endpoint(stage.database, **named, url=ear.url, loopback=True)
    await remove_endpoint(stage.database, PORTS[0], **named)
    _, order = await stage.place()
    await stage.pay(order)
    assert await deliveries(stage) == []
    with pytest.raises(AccountRefused):
        await remove_endpoint(stage.database, PORTS[0], **named)


async def test_what_a_shop_does_not_take_is_a_dead_letter_and_is_redriven(stage: Stage, ear: Ear) -> None:
    """RULES §6: exhausted → dead letter with its reason; redriven under its old id."""
    await listen(stage, ear)
    ear.status = 500
    _, order = await stage.place()
    await stage.pay(order)
    for _ in range(8):
        await deliver(stage)
        await stage.database.execute(
            Statement("x", "UPDATE delivery SET due_at = created_at WHERE state = 'due'"),
        )
        await stage.database.execute(Statement("x", "DELETE FROM endpoint_health"))
    made = await create_key(stage.database, "ada", role=Role.ADMIN, at=PORTS[0].now(), entropy=PORTS[1])
    headers = {"Authorization": f"Bearer {made.key}"}
    async with stage.client.get(f"{stage.url}/operator/v1/dead-letters", headers=headers) as answer:
        [letter] = (await answer.json())["data"]
    assert (letter["type"], letter["reason"], letter["tries"], letter["fault"]) == (
        "order.paid",
        "http_500",
        8,
        "endpoint",
    )
    ear.status = 204
    url = f"{stage.url}/operator/v1/redrives"
    async with stage.client.post(url, json={"type": "order.paid"}, headers=headers) as answer:
        assert (answer.status, (await answer.json())["matched"]) == (201, 1)
    async with stage.client.post(url, json={}, headers=headers) as answer:
        assert answer.status == 422
    await Redriver(stage.database, DeadLetters(stage.database), PORTS[0]).step()
    await deliver(stage)
    assert (await deliveries(stage), len(set(ear.ids)), len(ear.ids)) == (["delivered"], 1, 9)
