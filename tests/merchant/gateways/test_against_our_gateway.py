"""The adapter against our own gateway over real HTTP: the calls that failures need, beside those of every order."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from tallystick.kernel.outcomes import Done, Refused
from tallystick.merchant.gateways.port import Connection, Item, Opening, Refunding
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.orders.facts import Closed, RefundSeen, SessionOpened, Succeeded
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

CLOCK = SystemClock()


class OneSecret:
    """The key of the only connection."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def read(self, reference: str) -> str:
        return self._key


class Wire:
    """Our gateway, the adapter that speaks with it, and a plain client beside it."""

    def __init__(self, gateway: Any, adapter: StripeGateway, client: Any) -> None:
        self.adapter = adapter
        self.client = client
        self.connection = Connection("mer_1", "con_1", "stripe", gateway.url, "env:KEY", "stripe", ("env:HOOK",))

    async def open(self, order_id: str, attempt: int = 1) -> str:
        expires_at = CLOCK.now() + timedelta(minutes=35)
        items = (Item("Tea", 2500, 1),)
        opening = Opening(
            order_id, attempt, "EUR", items, "hosted", "https://s.example/r", "https://s.example/c", expires_at
        )
        key = f"order:{order_id}:{attempt}"
        answer = await self.adapter.open_session(self.connection, self.adapter.plan_session(opening), key)
        assert isinstance(answer, Done), answer
        opened = answer.value.facts[0]
        assert isinstance(opened, SessionOpened)
        return opened.session

    def charged(self, amount: int = 2500) -> str:
        fields = {"amount": str(amount), "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
        answer = self.client.post("/v1/payment_intents", fields)
        assert answer.json["status"] == "succeeded", answer.json
        id: str = answer.json["id"]
        return id


@pytest.fixture
async def wire(run_gateway: Callable[..., Any], client: Callable[..., Any]) -> AsyncIterator[Wire]:
    with run_gateway(origins=["https://s.example"]) as gateway:
        key = gateway.test.secret_key
        http = AiohttpClient()
        yield Wire(gateway, StripeGateway(http, OneSecret(key), CLOCK, SystemEntropy()), client(gateway.url, key))
        await http.close()


async def test_a_payment_is_looked_at_and_given_back_once(wire: Wire) -> None:
    """RULES §4: the payment is retrieved first; what is left goes back, under its key once."""
    intent = wire.charged()
    looked = await wire.adapter.look_up_payment(wire.connection, intent)
    assert isinstance(looked, Done)
    assert looked.value.refundable_minor == 2500
    [fact] = looked.value.facts
    assert isinstance(fact, Succeeded)
    assert (fact.authorised_minor, fact.captured_minor) == (2500, 2500)

    part = wire.adapter.plan_refund(Refunding("ord_1", 1, intent, "EUR", "refund:ord_1:1", 700))
    rest = wire.adapter.plan_refund(Refunding("ord_1", 1, intent, "EUR", "return:ord_1:1"))
    made = [
        await wire.adapter.refund(wire.connection, planned, key)
        for planned, key in ((part, "refund:ord_1:1"), (part, "refund:ord_1:1"), (rest, "return:ord_1:1"))
    ]
    assert made[0] == made[1]
    seen = [answer.value.facts[0] for answer in made if isinstance(answer, Done)]
    assert [(fact.amount_minor, fact.currency) for fact in seen if isinstance(fact, RefundSeen)] == [
        (700, "EUR"),
        (700, "EUR"),
        (1800, "EUR"),
    ]
    looked = await wire.adapter.look_up_payment(wire.connection, intent)
    assert isinstance(looked, Done)
    assert looked.value.refundable_minor == 0
    refused = await wire.adapter.refund(wire.connection, rest, "return:ord_1:2")
    assert isinstance(refused, Refused)
    assert refused.code == "charge_already_refunded"


async def test_a_payments_charges_are_listed_and_one_is_given_back_by_itself(wire: Wire) -> None:
    """RULES §11, captured_twice: our gateway keeps one charge of a payment; it goes back by charge, and its ledger says
    so."""
    intent = wire.charged()
    looked = await wire.adapter.captured_charges(wire.connection, intent)
    assert isinstance(looked, Done)
    [charge] = looked.value
    assert (charge.captured_minor, charge.refundable_minor, charge.currency, charge.own) == (2500, 2500, "EUR", True)
    key = f"return:ord_1:1:{charge.charge}"
    planned = wire.adapter.plan_refund(Refunding("ord_1", 1, intent, "EUR", key, charge=charge.charge))
    made = [await wire.adapter.refund(wire.connection, planned, key) for _ in range(2)]
    assert made[0] == made[1]
    found = await wire.adapter.find_refund(wire.connection, intent, key)
    assert isinstance(made[0], Done)
    assert found == made[0]
    looked = await wire.adapter.captured_charges(wire.connection, intent)
    assert isinstance(looked, Done)
    assert [each.refundable_minor for each in looked.value] == [0]
    [fact] = made[0].value.facts
    assert isinstance(fact, RefundSeen)
    moved = wire.client.get(f"/v1/balance_transactions?source={fact.refund}").json["data"]
    assert [(one["type"], one["net"]) for one in moved] == [("refund", -2500)]


async def test_a_refund_is_found_by_our_reference(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES §5: past the key's life what may have been made is looked for; a full listing says that it was not."""
    monkeypatch.setattr("tallystick.merchant.gateways.stripe.PAGE_OBJECTS", 1)
    intent, other = wire.charged(), wire.charged()
    made = {}
    for number, payment in ((1, intent), (2, intent), (3, other)):
        refunding = Refunding("ord_1", 1, payment, "EUR", f"refund:ord_1:{number}", 100 * number)
        planned = wire.adapter.plan_refund(refunding)
        made[number] = await wire.adapter.refund(wire.connection, planned, refunding.reference)
    for number, payment, found in ((1, intent, True), (2, intent, True), (3, intent, False), (4, intent, False)):
        answer = await wire.adapter.find_refund(wire.connection, payment, f"refund:ord_1:{number}")
        assert isinstance(answer, Done)
        assert bool(answer.value.facts) == found
        assert not found or answer == made[number]


async def test_a_session_is_found_by_our_reference_and_closed(wire: Wire) -> None:
    """RULES §8: sessions of the creation window are listed and compared by client_reference_id."""
    sessions = {order: await wire.open(order) for order in ("ord_1", "ord_2", "ord_3")}
    window = (CLOCK.now() - timedelta(minutes=10), CLOCK.now() + timedelta(minutes=45))
    found = await wire.adapter.find_session(wire.connection, "ord_2", 1, *window)
    assert isinstance(found, Done)
    assert isinstance(found.value.facts[0], SessionOpened)
    assert found.value.facts[0].session == sessions["ord_2"]
    for order, attempt in (("ord_2", 2), ("ord_9", 1)):
        none = await wire.adapter.find_session(wire.connection, order, attempt, *window)
        assert isinstance(none, Done)
        assert none.value.facts == ()
    closed = await wire.adapter.close_session(wire.connection, sessions["ord_2"], "close:ord_2:1:1")
    assert isinstance(closed, Done)
    assert any(isinstance(fact, Closed) for fact in closed.value.facts)


async def test_events_are_listed_page_by_page_behind_a_cursor(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES §7: by cursor over the gateway's events list."""
    monkeypatch.setattr("tallystick.merchant.gateways.stripe.PAGE_OBJECTS", 2)
    for _ in range(2):
        wire.charged()
    since, cursor, ids = CLOCK.now() - timedelta(minutes=10), None, []
    for _ in range(20):
        page = await wire.adapter.list_events(wire.connection, since, cursor)
        assert isinstance(page, Done)
        ids += [wire.adapter.read_event(raw).event_id for raw in page.value.events]
        cursor = page.value.last_id
        if not page.value.has_more:
            break
    assert len(ids) == len(set(ids)) >= 4
    assert ids == sorted(ids, reverse=True), "the newest first"
    later = await wire.adapter.list_events(wire.connection, CLOCK.now() + timedelta(minutes=10), None)
    assert isinstance(later, Done)
    assert later.value.events == ()
