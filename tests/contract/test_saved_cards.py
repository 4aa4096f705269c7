"""Customers and their saved cards, by the official `stripe` package; the page by a browser without JavaScript."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe

from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import make_key_file

THANKS = "https://shop.example/thanks"


@pytest.fixture
def gateway(run_gateway: Callable[..., AbstractContextManager[Any]], tmp_path: Path) -> Iterator[Any]:
    """A whole gateway with a card vault."""
    make_key_file(tmp_path / "vault.keys", SystemEntropy())
    with run_gateway(vault_key_file=str(tmp_path / "vault.keys")) as running:
        yield running


@pytest.fixture
def api(gateway: Any) -> Any:
    return stripe.StripeClient(gateway.test.secret_key, base_addresses={"api": gateway.url}, max_network_retries=0)


def a_customer(api: Any, **parameters: Any) -> Any:
    return api.v1.customers.create({"email": "ada@shop.example", "name": "Ada", **parameters})


def a_session(api: Any, customer: str, **parameters: Any) -> Any:
    position = {"price_data": {"currency": "eur", "unit_amount": 500, "product_data": {"name": "Tea"}}, "quantity": 3}
    return api.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [position],
            "success_url": THANKS,
            "customer": customer,
            "saved_payment_method_options": {"payment_method_save": "enabled"},
            **parameters,
        }
    )


def page_of(url: str, **fields: str) -> str:
    """The page as a browser without scripts loads it, or gets it after it sent the form."""
    body = urlencode(fields).encode() if fields else None
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as answer:
        return str(answer.read().decode())


def pay_and_save(api: Any, customer: str) -> str:
    """A first visit with consent; the saved card."""
    url = a_session(api, customer).url
    assert "Save this card for next time with Shop" in page_of(url)
    card = {"cc-number": "4242 4242 4242 4242", "cc-exp": "12/34", "cc-csc": "123", "save-card": "yes"}
    assert "Payment received" in page_of(url, **card)
    [method] = api.v1.customers.payment_methods.list(customer).data
    return str(method.id)


def test_a_customer_lives_as_at_stripe(api: Any) -> None:
    made = a_customer(api, phone="+49 30 1234", description="regular", metadata={"shop": "7"})
    assert (made.object, made.email, made.name) == ("customer", "ada@shop.example", "Ada")
    assert made.metadata.to_dict() == {"shop": "7"}
    assert api.v1.customers.retrieve(made.id) == made
    changed = api.v1.customers.update(made.id, {"name": "Ada L.", "phone": "", "metadata": {"shop": "", "tier": "1"}})
    assert (changed.name, changed.phone, changed.email) == ("Ada L.", None, "ada@shop.example")
    assert changed.metadata.to_dict() == {"tier": "1"}
    other = a_customer(api, email="bea@shop.example")
    assert [one.id for one in api.v1.customers.list().data] == [other.id, made.id]
    assert [one.id for one in api.v1.customers.list({"email": "ada@shop.example"}).data] == [made.id]
    assert api.v1.customers.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError) as gone:
        api.v1.customers.retrieve(made.id)
    assert (gone.value.http_status, gone.value.code) == (404, "resource_missing")
    assert [one.id for one in api.v1.customers.list().data] == [other.id]


def test_another_account_sees_no_customer(api: Any, gateway: Any) -> None:
    made = a_customer(api)
    other = stripe.StripeClient(gateway.other.secret_key, base_addresses={"api": gateway.url}, max_network_retries=0)
    with pytest.raises(stripe.InvalidRequestError):
        other.v1.customers.retrieve(made.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        other.v1.payment_intents.create({"amount": 100, "currency": "eur", "customer": made.id})
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        a_session(other, made.id)
    assert other.v1.customers.list().data == []


def test_methods_are_attached_listed_and_detached(api: Any) -> None:
    customer = a_customer(api).id
    method = api.v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
    attached = api.v1.payment_methods.attach(method.id, {"customer": customer})
    assert (attached.id, attached.customer) == (method.id, customer)
    assert [one.id for one in api.v1.payment_methods.list({"customer": customer, "type": "card"}).data] == [method.id]
    assert [one.id for one in api.v1.customers.payment_methods.list(customer).data] == [method.id]
    shown = api.v1.payment_methods.retrieve(method.id, {"expand": ["customer"]})
    assert shown.customer.email == "ada@shop.example"
    intent = api.v1.payment_intents.create(
        {"amount": 900, "currency": "eur", "customer": customer, "payment_method": method.id, "confirm": True}
    )
    assert (intent.status, intent.customer) == ("succeeded", customer)
    assert api.v1.payment_methods.detach(method.id).customer is None
    assert api.v1.customers.payment_methods.list(customer).data == []
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        api.v1.payment_methods.attach(method.id, {"customer": customer})
    types = [event.type for event in api.v1.events.list({"type": "payment_method.*"}).data]
    assert types == ["payment_method.detached", "payment_method.attached"]


def test_attaching_is_executed_once_under_its_key(api: Any) -> None:
    customer = a_customer(api).id
    method = api.v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
    first, again = (
        api.v1.payment_methods.attach(method.id, {"customer": customer}, {"idempotency_key": "attach-1"}) for _ in "12"
    )
    assert first == again
    assert len(api.v1.events.list({"type": "payment_method.attached"}).data) == 1


def test_a_shopper_saves_a_card_and_comes_back_to_it_without_javascript(api: Any) -> None:
    customer = a_customer(api).id
    card = pay_and_save(api, customer)
    session = a_session(api, customer)
    page = page_of(session.url)
    assert "Visa" in page
    assert "ending in 4242" in page
    assert "424242" not in page
    assert re.findall(r'name="saved-card" value="([^"]+)"', page) == [card]
    assert "Payment received" in page_of(session.url, **{"saved-card": card})
    paid = api.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.payment_method", "customer"]})
    assert (paid.payment_status, paid.customer.id) == ("paid", customer)
    assert (paid.payment_intent.payment_method.id, paid.payment_intent.customer) == (card, customer)


def test_a_saved_card_is_charged_while_the_shopper_is_away(api: Any) -> None:
    customer = a_customer(api).id
    card = pay_and_save(api, customer)
    intent = api.v1.payment_intents.create(
        {
            "amount": 700,
            "currency": "eur",
            "customer": customer,
            "payment_method": card,
            "off_session": True,
            "confirm": True,
        }
    )
    assert intent.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="belongs to a Customer"):
        api.v1.payment_intents.create({"amount": 1, "currency": "eur", "payment_method": card, "confirm": True})


def test_setup_future_usage_saves_and_says_so_on_the_page(api: Any) -> None:
    customer = a_customer(api).id
    session = a_session(
        api,
        customer,
        payment_intent_data={"setup_future_usage": "off_session"},
        saved_payment_method_options={"payment_method_save": "disabled"},
    )
    page = page_of(session.url)
    assert "By paying you agree that Shop saves this card" in page
    assert 'name="save-card"' not in page
    page_of(session.url, **{"cc-number": "4242424242424242", "cc-exp": "12/34", "cc-csc": "123"})
    assert len(api.v1.customers.payment_methods.list(customer).data) == 1


def test_without_a_customer_nothing_is_offered_to_be_saved(api: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="for a `customer` only"):
        api.v1.checkout.sessions.create(
            {
                "mode": "payment",
                "amount_total": 500,
                "currency": "eur",
                "success_url": THANKS,
                "saved_payment_method_options": {"payment_method_save": "enabled"},
            }
        )
    plain = api.v1.checkout.sessions.create(
        {"mode": "payment", "amount_total": 500, "currency": "eur", "success_url": THANKS}  # `amount_total` is ours
    )
    assert "save-card" not in page_of(plain.url)
