"""Webhooks that are refused get somebody up where they are the gateway's, and not where strangers knock (RULES §13)."""

from typing import Any

from tallystick.kernel.monitoring.conditions import Seen, Value
from tallystick.kernel.monitoring.rules import RULES
from tallystick.ports.metrics import samples

Stage = Any

CONDITION = next(rule.condition for rule in RULES if rule.name == "WebhooksRefused")
COUNTED = {of.metric for of, _, _ in CONDITION.counts()}


class Counts:
    """What this process counted since."""

    def __init__(self) -> None:
        self.before = {(each.name, *each.labels.values()): each.value for each in samples(COUNTED)}

    def alarm(self) -> bool:
        """Whether the rule is true of it."""
        grown: dict[tuple[str, int], list[Value]] = {}
        for name, labels, value in samples(COUNTED):
            for window_s in {window_s for _, window_s, _ in CONDITION.counts()}:
                since = value - self.before.get((name, *labels.values()), 0.0)
                grown.setdefault((name, window_s), []).append(Value(labels, since))
        return bool(CONDITION.holds(Seen({}, grown)))


async def knock(stage: Stage, times: int) -> None:
    address = f"{stage.url}/webhooks/{stage.connection_id}"
    for _ in range(times):
        async with stage.client.post(address, data=b"{}") as answer:
            assert answer.status == 400


async def paid_and_looked_at(stage: Stage, told: int) -> None:
    """A shopper pays and comes back; the gateway tells it and is answered so."""
    _, order = await stage.place()
    session = stage.gateway.sessions[order["attempts"][0]["checkout_session"]]
    stage.gateway.pay(session)
    async with stage.client.get(f"{stage.url}/return/{order['id']}") as answer:
        assert answer.status == 200
    for _ in range(4):  # it is sent again
        assert await stage.tell("payment_intent.succeeded", session["payment_intent"]) == told


async def test_strangers_who_knock_get_nobody_up(stage: Stage) -> None:
    """Neither while nobody buys, nor beside shoppers of whom a look tells before the webhook that is on its way."""
    counts = Counts()
    await knock(stage, 30)
    assert not counts.alarm()
    for _ in range(3):
        await paid_and_looked_at(stage, 200)
    assert not counts.alarm()


async def test_a_secret_that_was_changed_on_one_side_only_is_told(stage: Stage) -> None:
    stage.secrets.values["env:HOOK"] = "whsec_another_of_no_value"
    counts = Counts()
    for _ in range(2):
        await paid_and_looked_at(stage, 400)
    assert not counts.alarm(), "two payments are few"
    await paid_and_looked_at(stage, 400)
    assert counts.alarm()


async def test_a_payment_that_a_webhook_has_told_of_is_found_by_no_look(stage: Stage) -> None:
    before = samples({"payments_found_total"})
    _, order = await stage.place()
    session = stage.gateway.sessions[order["attempts"][0]["checkout_session"]]
    stage.gateway.pay(session)
    reserved = {**session["payment_intent"], "status": "requires_capture", "amount_received": 0}
    assert await stage.tell("payment_intent.amount_capturable_updated", reserved) == 200
    async with stage.client.get(f"{stage.url}/return/{order['id']}"):
        pass
    assert [row["source"] for row in await stage.timeline(order["id"])][-1] == "return"
    assert samples({"payments_found_total"}) == before
