"""RULES §13: the merchant's half of a payment's timeline, over a real service, by any id that it knows."""

from typing import Any

import msgspec

from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.timeline.entries import place_of
from tallystick.merchant.timeline.timeline import Timelines
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any


def timelines(stage: Stage) -> Timelines:
    return Timelines(stage.database, SystemClock())


async def explained(stage: Stage, id: str, **options: Any) -> Any:
    found = await timelines(stage).find(id)
    assert found is not None
    return await timelines(stage).read(found, **options)


async def execute(stage: Stage, text: str) -> None:
    await stage.database.execute(Statement("x", text))


def kinds(timeline: Any) -> list[str]:
    return [entry.kind for entry in timeline.entries]


async def a_listener(stage: Stage) -> None:
    await execute(
        stage,
        "INSERT INTO notification_endpoint (merchant_id, endpoint_id, url, enabled_events, secrets, created_at) "
        f"VALUES ('{stage.merchant_id}', 'nep_1', 'https://shop.example', '{{*}}', '{{whsec_1}}', "
        "'2026-01-01T00:00:00Z')",
    )


async def test_an_order_that_failed_and_was_paid_again_is_told_in_its_order(stage: Stage) -> None:
    await a_listener(stage)
    _, order = await stage.place(key="basket-17")
    session = stage.gateway.sessions[order["attempts"][0]["checkout_session"]]
    assert await stage.tell("payment_intent.payment_failed", stage.gateway.decline(session)) == 200
    await stage.close(order)
    status, again = await stage.post(f"/v1/orders/{order['id']}/attempts", {}, key="again-17")
    assert status in (200, 201), again
    intent = await stage.pay(await stage.order(order["id"]), 2)

    timeline = await explained(stage, order["id"])
    assert (timeline.id, timeline.owner, timeline.state) == (order["id"], stage.merchant_id, "PAID, goods allowed")
    assert intent["id"] in timeline.ids
    told = kinds(timeline)
    expected = [
        "call.done",
        "order.placed",
        "fact.session_opened",
        "webhook.applied",
        "fact.charge_seen.failed",
        "webhook.applied",
        "fact.closed",
        "call.done",
        "fact.session_opened",
        "webhook.applied",
        "fact.succeeded",
        "delivery.made",
    ]
    left = iter(told)
    assert all(any(kind == each for each in left) for kind in expected), "\n".join(told)
    keys = [entry.reference for entry in timeline.entries if entry.kind == "call.done"]
    assert keys == ["basket-17", "again-17"]
    changes = [entry.now for entry in timeline.entries if entry.now]
    assert changes == ["PENDING", "EXPIRED", "PENDING", "PAID"]
    [told_shop] = [each for each in timeline.due if "order.paid" in each.words]
    assert told_shop.words == "Webhook order.paid to nep_1 is sent again (try 1)"


async def test_it_is_found_by_order_payment_and_webhook_and_by_no_others(stage: Stage) -> None:
    _, order = await stage.place()
    intent = await stage.pay(order)
    for id in (order["id"], intent["id"], "evt_1"):
        found = await timelines(stage).find(id)
        assert found is not None, id
        assert found.order_id == order["id"]
        assert await timelines(stage).find(id, merchant="mer_else") is None
    assert await timelines(stage).find("ord_nobody") is None


async def test_a_pending_order_says_when_it_expires_and_is_looked_at(stage: Stage) -> None:
    _, order = await stage.place()
    due = {each.kind for each in (await explained(stage, order["id"])).due}
    assert {"due.order", "due.attempt"} <= due


async def test_a_refund_and_a_case_are_told(stage: Stage) -> None:
    _, order = await stage.place()
    await stage.pay(order)
    status, _ = await stage.post(f"/v1/orders/{order['id']}/refunds", {"amount": 500})
    assert status in (200, 201)
    await execute(
        stage,
        "INSERT INTO cases (merchant_id, case_id, kind, subject, order_id, opened_at) VALUES "
        f"('{stage.merchant_id}', 'cas_1', 'refund_returned', 'x', '{order['id']}', '2090-01-01T00:00:00Z')",
    )
    timeline = await explained(stage, order["id"])
    said = [entry.words for entry in timeline.entries]
    assert "A refund of €5.00 was asked for: made" in said
    assert "Refund of €5.00: succeeded" in said
    assert timeline.entries[-1].words == "A case was opened: refund returned"


async def test_money_that_came_late_is_told_with_what_is_to_be_decided(stage: Stage) -> None:
    _, order = await stage.place()
    await stage.close(order)
    await stage.pay(order)
    timeline = await explained(stage, order["id"])
    assert timeline.state == "PAID, goods held"
    assert [entry.now for entry in timeline.entries if entry.now] == ["PENDING", "EXPIRED", "PAID"]
    told = kinds(timeline)
    assert told.index("fact.closed") < told.index("fact.succeeded") < told.index("errand.decide")
    assert [each.words for each in timeline.due if each.kind == "due.errand"] == ["Late money is decided about, try 1"]


async def test_an_order_of_ten_thousand_changes_is_told_page_by_page(stage: Stage) -> None:
    _, order = await stage.place()
    await execute(
        stage,
        "INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after) "
        f"SELECT '{stage.merchant_id}', '{order['id']}', n, timestamptz '2090-01-01T00:00:00Z' + "
        "n / 100 * interval '1 s', "
        """'webhook', 1, '{"fact": "charge_seen", "status": "failed", "charge": "ch_1"}', 'PENDING', 'PENDING' """
        "FROM generate_series(100, 10099) AS n",
    )
    read: list[Any] = []
    options: dict[str, Any] = {"rows_max": 500}
    while True:
        page = await explained(stage, order["id"], **options)
        assert len(page.entries) <= 500
        read += page.entries
        if page.next_cursor is None:
            break
        options["after"] = place_of(page.next_cursor)
    declined = [entry.place for entry in read if entry.kind == "fact.charge_seen.failed"]
    assert len(declined) == len(set(declined)) == 10_000
    assert [(entry.at, entry.place) for entry in read] == sorted((entry.at, entry.place) for entry in read)


async def test_no_line_shows_personal_data_or_a_secret(stage: Stage) -> None:
    """The shopper's and the shop's words stand in the tables, and in no line."""
    customer = {"email": "ana@example.com", "name": "Ana Kovacs"}
    _, order = await stage.place(
        key="for ana@example.com 4242424242424242",
        customer=customer,
        reference="ana@example.com",
        metadata={"card": "4242424242424242"},
        return_url="https://shop.example/ana",
    )
    await stage.pay(order)
    said = msgspec.json.encode(await explained(stage, order["id"])).decode()
    assert "call.done" in said
    for hidden in ("example.com", "Kovacs", "4242424242424242", "shop.example", "/pay/", "_secret_"):
        assert hidden not in said


async def test_operators_ask_for_it_by_their_role(stage: Stage) -> None:
    _, order = await stage.place()

    async def ask(role: Role, path: str) -> tuple[int, Any]:
        made = await create_key(stage.database, role.value, role=role, at=SystemClock().now(), entropy=SystemEntropy())
        status, told = await stage.get(f"/operator/v1/timelines/{path}", Authorization=f"Bearer {made.key}")
        return int(status), told

    for role in (Role.SUPPORT, Role.FINANCE, Role.AUDITOR, Role.ADMIN):
        status, told = await ask(role, f"{order['id']}?limit=2")
        assert status == 200
        assert len(told["entries"]) == 2
        assert told["half"] == "merchant"
        status, behind = await ask(role, f"{order['id']}?cursor={told['next_cursor']}")
        assert status == 200
        assert behind["entries"][0] not in told["entries"]
    assert (await ask(Role.FULFILMENT, order["id"]))[0] == 403
    assert (await ask(Role.SUPPORT, "ord_nobody"))[0] == 404
    assert (await ask(Role.SUPPORT, f"{order['id']}?cursor=x"))[0] == 422
