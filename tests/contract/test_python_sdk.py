"""The official `stripe` package for Python speaks to the gateway with only the address changed (DESIGN §5)."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe

from tallystick.gateway.accounts.accounts import set_days
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

DELIVERED_S = 20.0


@pytest.fixture
def api(gateway: Any) -> Any:
    """The SDK's client for the account's test key."""
    return client_for(gateway, gateway.test.secret_key)


def client_for(gateway: Any, key: str) -> Any:
    return stripe.StripeClient(key, base_addresses={"api": gateway.url}, max_network_retries=0)


def an_intent(api: Any, **parameters: Any) -> Any:
    return api.v1.payment_intents.create({"amount": 2000, "currency": "eur", **parameters})


def a_session(api: Any, **parameters: Any) -> Any:
    position = {"price_data": {"currency": "eur", "unit_amount": 500, "product_data": {"name": "Tea"}}, "quantity": 3}
    return api.v1.checkout.sessions.create(
        {"mode": "payment", "line_items": [position], "success_url": "https://shop.example/thanks", **parameters}
    )


def test_create_retrieve_and_update(api: Any) -> None:
    created = an_intent(api, metadata={"order": "17"}, automatic_payment_methods={"enabled": True})
    assert (created.object, created.status, created.amount, created.currency) == (
        "payment_intent",
        "requires_payment_method",
        2000,
        "eur",
    )
    updated = api.v1.payment_intents.update(created.id, {"metadata": {"order": "", "note": "x"}, "description": "Tea"})
    assert (updated.metadata.to_dict(), updated.description) == ({"note": "x"}, "Tea")
    found = api.v1.payment_intents.retrieve(created.id)
    assert found == updated


def test_lists_page_by_themselves(api: Any) -> None:
    """Newest first, without gaps and repetitions, in both directions."""
    made = [an_intent(api, amount=1000 + number).id for number in range(7)]
    pages = api.v1.payment_intents.list({"limit": 3})
    assert (len(pages.data), pages.has_more, pages.url) == (3, True, "/v1/payment_intents")
    assert [intent.id for intent in pages.auto_paging_iter()] == made[::-1]
    before = api.v1.payment_intents.list({"limit": 3, "ending_before": made[0]})
    assert [intent.id for intent in before.data] == made[3:0:-1]
    assert [intent.id for intent in before.auto_paging_iter()] == made[1:]
    created = api.v1.payment_intents.retrieve(made[0]).created
    assert len(api.v1.payment_intents.list({"created": {"gte": created}}).data) == 7
    assert api.v1.payment_intents.list({"created": {"lt": created}}).data == []


def test_a_card_is_charged(api: Any) -> None:
    intent = an_intent(api)
    paid = api.v1.payment_intents.confirm(
        intent.id, {"payment_method": "pm_card_visa", "expand": ["latest_charge", "payment_method"]}
    )
    assert (paid.status, paid.amount_received) == ("succeeded", 2000)
    charge = paid.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (charge.paid, charge.captured, charge.amount_captured) == (True, True, 2000)
    assert charge.payment_method_details is not None
    assert charge.payment_method_details.card is not None
    assert charge.payment_method_details.card.last4 == "4242"
    assert isinstance(paid.payment_method, stripe.PaymentMethod)
    assert api.v1.charges.retrieve(charge.id).payment_intent == intent.id
    assert [each.id for each in api.v1.charges.list({"payment_intent": intent.id}).data] == [charge.id]


def test_a_declined_card_is_a_card_error(api: Any) -> None:
    intent = an_intent(api)
    with pytest.raises(stripe.CardError) as declined:
        api.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_chargeDeclined"})
    error = declined.value
    assert (error.http_status, error.code) == (402, "card_declined")
    assert error.error is not None
    assert error.error.decline_code == "generic_decline"
    assert error.error.payment_intent is not None
    assert error.error.payment_intent.status == "requires_payment_method"
    found = api.v1.payment_intents.retrieve(intent.id)
    assert found.last_payment_error is not None
    assert found.last_payment_error.code == "card_declined"
    assert api.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}).status == "succeeded"


def test_manual_capture_and_cancel(api: Any) -> None:
    held = an_intent(api, capture_method="manual", payment_method="pm_card_visa", confirm=True)
    assert (held.status, held.amount_capturable) == ("requires_capture", 2000)
    captured = api.v1.payment_intents.capture(held.id, {"amount_to_capture": 1500})
    assert (captured.status, captured.amount_received) == ("succeeded", 1500)

    other = an_intent(api, capture_method="manual", payment_method="pm_card_visa", confirm=True)
    canceled = api.v1.payment_intents.cancel(other.id, {"cancellation_reason": "requested_by_customer"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "requested_by_customer")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.v1.payment_intents.capture(other.id)
    assert refused.value.code == "payment_intent_unexpected_state"
    assert refused.value.error is not None
    assert refused.value.error.payment_intent is not None
    assert refused.value.error.payment_intent.id == other.id


def test_money_is_given_back(api: Any) -> None:
    """RULES §3: refunds by payment and by charge, in parts and whole; the charge shows what is gone."""
    paid = an_intent(api, payment_method="pm_card_visa", confirm=True)
    part = api.v1.refunds.create(
        {"payment_intent": paid.id, "amount": 500, "reason": "requested_by_customer", "metadata": {"case": "17"}}
    )
    assert (part.object, part.status, part.amount, part.reason) == ("refund", "succeeded", 500, "requested_by_customer")
    assert part.destination_details is not None
    assert part.destination_details.card is not None
    assert part.destination_details.card.reference_status == "available"
    charge = api.v1.charges.retrieve(paid.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (500, False)
    rest = api.v1.refunds.create({"charge": charge.id, "expand": ["charge", "payment_intent"]})
    assert rest.amount == 1500
    assert isinstance(rest.charge, stripe.Charge)
    assert (rest.charge.amount_refunded, rest.charge.refunded) == (2000, True)
    assert isinstance(rest.payment_intent, stripe.PaymentIntent)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.v1.refunds.create({"payment_intent": paid.id})
    assert refused.value.code == "charge_already_refunded"

    other = an_intent(api, payment_method="pm_card_visa", confirm=True)
    api.v1.refunds.create({"payment_intent": other.id})
    assert [each.id for each in api.v1.refunds.list({"payment_intent": paid.id}).data] == [rest.id, part.id]
    assert [each.id for each in api.v1.refunds.list({"charge": charge.id, "limit": 1}).auto_paging_iter()] == [
        rest.id,
        part.id,
    ]
    assert len(api.v1.refunds.list().data) == 3
    found = api.v1.refunds.retrieve(part.id)
    assert found.metadata is not None
    assert found.metadata.to_dict() == {"case": "17"}
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.refunds.retrieve("re_nobody")
    types = {event.type for event in api.v1.events.list({"limit": 100}).data}
    assert {"refund.created", "refund.updated", "charge.refunded"} <= types


def test_a_key_gives_back_once(api: Any) -> None:
    """RULES §5: the same key is the same refund."""
    paid = an_intent(api, payment_method="pm_card_visa", confirm=True)
    options: Any = {"idempotency_key": "return-17"}
    first = api.v1.refunds.create({"payment_intent": paid.id, "amount": 500}, options)
    assert api.v1.refunds.create({"payment_intent": paid.id, "amount": 500}, options) == first
    with pytest.raises(stripe.IdempotencyError):
        api.v1.refunds.create({"payment_intent": paid.id, "amount": 501}, options)
    assert api.v1.charges.retrieve(paid.latest_charge).amount_refunded == 500


def test_sessions_are_created_listed_and_expired(api: Any) -> None:
    session = a_session(
        api, client_reference_id="basket-17", metadata={"a": "b"}, cancel_url="https://shop.example/back"
    )
    assert (session.amount_total, session.status, session.payment_status) == (1500, "open", "unpaid")
    assert session.url is not None
    found = api.v1.checkout.sessions.retrieve(session.id, {"expand": ["line_items", "payment_intent"]})
    assert found.line_items is not None
    assert [item.description for item in found.line_items.data] == ["Tea"]
    assert [item.quantity for item in api.v1.checkout.sessions.line_items.list(session.id).data] == [3]
    assert [each.id for each in api.v1.checkout.sessions.list({"status": "open"}).data] == [session.id]
    assert api.v1.checkout.sessions.expire(session.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.checkout.sessions.expire(session.id)


@pytest.mark.parametrize("ui_mode", ["embedded_page", "embedded"])
def test_an_embedded_session_has_a_client_secret(api: Any, ui_mode: str) -> None:
    session = api.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "ui_mode": ui_mode,
            "line_items": [
                {"price_data": {"currency": "jpy", "unit_amount": 500, "product_data": {"name": "Tea"}}, "quantity": 1}
            ],
            "return_url": "https://shop.example/back?session={CHECKOUT_SESSION_ID}",
        }
    )
    assert (session.url, session.ui_mode, session.currency) == (None, "embedded_page", "jpy")
    assert session.client_secret


def test_a_key_replays_and_guards(api: Any) -> None:
    """RULES §5, through the SDK."""
    options: Any = {"idempotency_key": "key-17"}
    first = api.v1.payment_intents.create({"amount": 2000, "currency": "eur"}, options)
    again = api.v1.payment_intents.create({"currency": "eur", "amount": 2000}, options)
    assert again == first
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        api.v1.payment_intents.create({"amount": 2001, "currency": "eur"}, options)
    assert len(api.v1.payment_intents.list().data) == 1


def test_errors_are_of_the_classes_that_stripes_users_catch(gateway: Any, api: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        an_intent(api, colour="red")
    assert (unknown.value.code, unknown.value.param) == ("parameter_unknown", "colour")
    with pytest.raises(stripe.InvalidRequestError) as missing:
        api.v1.payment_intents.retrieve("pi_none")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert missing.value.request_id
    with pytest.raises(stripe.AuthenticationError):
        client_for(gateway, "sk_test_0123456789abcdefghijklmn").v1.payment_intents.list()
    with pytest.raises(stripe.PermissionError):
        client_for(gateway, gateway.test.publishable_key).v1.payment_intents.list()
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.products.create({"name": "Tea"})  # not spoken here


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is delivered to it."""

    received: list[tuple[bytes, dict[str, str]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((body, dict(self.headers.items())))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[bytes, dict[str, str]]]]]:
    """An address, and what has come there."""
    received: list[tuple[bytes, dict[str, str]]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Receiver,), {"received": received}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/webhooks", received
    server.shutdown()
    server.server_close()


def test_a_delivered_body_is_an_event(api: Any, receiver: Any) -> None:
    """RULES §6: the endpoint's secret, shown once, verifies what is delivered, and the same event can be pulled."""
    url, received = receiver
    endpoint = api.v1.webhook_endpoints.create({"url": url, "enabled_events": ["payment_intent.succeeded"]})
    assert endpoint.secret
    assert not getattr(api.v1.webhook_endpoints.retrieve(endpoint.id), "secret", None)
    paid = an_intent(api, payment_method="pm_card_visa", confirm=True)
    deadline = time.monotonic() + DELIVERED_S
    while not received and time.monotonic() < deadline:
        time.sleep(0.02)
    [(body, headers)] = received
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], endpoint.secret)
    assert (event.type, event.data.object.id, event.api_version) == (
        "payment_intent.succeeded",
        paid.id,
        stripe.api_version,
    )
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body + b" ", headers["Stripe-Signature"], endpoint.secret)

    pulled = api.v1.events.retrieve(event.id)
    assert pulled.data == event.data
    types = [each.type for each in api.v1.events.list({"types": ["payment_intent.*", "charge.succeeded"]}).data]
    assert {"payment_intent.created", "payment_intent.succeeded", "charge.succeeded"} <= set(types)


def test_endpoints_live_and_end(api: Any) -> None:
    endpoint = api.v1.webhook_endpoints.create({"url": "http://127.0.0.1:9/x", "enabled_events": ["*"]})
    updated = api.v1.webhook_endpoints.update(endpoint.id, {"disabled": True, "description": "Old"})
    assert (updated.status, updated.description) == ("disabled", "Old")
    assert [each.id for each in api.v1.webhook_endpoints.list().data] == [endpoint.id]
    assert api.v1.webhook_endpoints.delete(endpoint.id).deleted
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.webhook_endpoints.retrieve(endpoint.id)


def test_what_was_not_delivered_can_be_pulled(api: Any) -> None:
    """RULES §6: `delivery_success=false` gives events that some endpoint has not got."""
    an_intent(api)
    api.v1.webhook_endpoints.create({"url": "http://127.0.0.1:9/nobody", "enabled_events": ["*"]})
    unheard = an_intent(api)
    missed = api.v1.events.list({"delivery_success": False}).data
    assert [event.data.object["id"] for event in missed] == [unheard.id]
    assert missed[0].pending_webhooks == 1
    assert unheard.id not in [event.data.object["id"] for event in api.v1.events.list({"delivery_success": True}).data]


def test_what_is_available_is_paid_out(run_gateway: Any, client: Any) -> None:
    """RULES §10: as much as there is, once for a key, called off while it is pending, told by webhooks."""
    with run_gateway(sandbox_clock=True) as gateway:
        api = client_for(gateway, gateway.test.secret_key)
        an_intent(api, payment_method="pm_card_visa", confirm=True)
        manual(gateway)
        operator = client(gateway.url, operators_key(gateway))
        with pytest.raises(stripe.InvalidRequestError) as nothing:
            api.v1.payouts.create({"amount": 1, "currency": "eur"})
        assert (nothing.value.code, nothing.value.param) == ("balance_insufficient", "amount")
        move(operator, 3 * 86_400)
        assert [one.amount for one in api.v1.balance.retrieve().available] == [2000]

        options: Any = {"idempotency_key": "rent-11"}
        wanted: Any = {"amount": 1500, "currency": "eur", "metadata": {"run": "11"}, "expand": ["balance_transaction"]}
        made = api.v1.payouts.create(wanted, options)
        assert (made.object, made.status, made.automatic, made.amount) == ("payout", "pending", False, 1500)
        assert (made.balance_transaction.type, made.balance_transaction.net) == ("payout", -1500)
        assert api.v1.payouts.create(wanted, options) == made
        assert [one.amount for one in api.v1.balance.retrieve().available] == [500]
        with pytest.raises(stripe.InvalidRequestError):
            api.v1.payouts.create({"amount": 501, "currency": "eur"})
        with pytest.raises(stripe.InvalidRequestError):
            api.v1.payouts.create({"amount": 1, "currency": "eur", "method": "instant"})

        canceled = api.v1.payouts.cancel(made.id)
        assert (canceled.id, canceled.status) == (made.id, "canceled")
        assert [one.amount for one in api.v1.balance.retrieve().available] == [2000]
        with pytest.raises(stripe.InvalidRequestError):
            api.v1.payouts.cancel(made.id)
        kept = api.v1.payouts.create({"amount": 2000, "currency": "eur"})
        assert [one.id for one in api.v1.payouts.list({"status": "pending"})] == [kept.id]
        assert api.v1.payouts.retrieve(made.id).status == "canceled"
        move(operator, 90_000)
        assert api.v1.payouts.retrieve(kept.id).status == "paid"
        happened = [event.type for event in api.v1.events.list().auto_paging_iter()]
        told = [type for type in happened if type.startswith("payout.")]
        assert told == ["payout.paid", "payout.created", "payout.canceled", "payout.created"]
        other = client_for(gateway, gateway.live.secret_key)
        with pytest.raises(stripe.InvalidRequestError) as unknown:
            other.v1.payouts.cancel(kept.id)
        assert unknown.value.code == "resource_missing", "neither mode sees the other's"


def manual(gateway: Any) -> None:
    """What is available is paid out when the merchant says so."""

    async def change() -> None:
        database = await open_database(gateway.dsn, connections_max=2)
        try:
            await set_days(database, gateway.account_id, payouts="manual")
        finally:
            await database.close()

    asyncio.run(change())


def operators_key(gateway: Any) -> str:
    async def make() -> str:
        database = await open_database(gateway.dsn, connections_max=2)
        try:
            at = SystemClock().now()
            return (await create_key(database, "a test", role=Role.ADMIN, at=at, entropy=SystemEntropy())).key
        finally:
            await database.close()

    return asyncio.run(make())


def move(operator: Any, seconds: int) -> None:
    """Move the sandbox's time, and wait until all is done that was due: a call would lose its key's lease meanwhile."""
    sent = b'{"advance_s": %d}' % seconds
    standing = operator.send("POST", "/operator/v1/clock", sent, [("Content-Type", "application/json")]).json
    ends = time.monotonic() + DELIVERED_S
    while standing["busy"] or standing["now"] < standing["target_at"]:
        assert time.monotonic() < ends
        time.sleep(0.05)
        standing = operator.get("/operator/v1/clock").json
