"""Customers over the wire: what is kept for a replay names nobody in the clear. RULES §5, §12."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import stripe

EMAIL = "grace.hopper@shop.example"


def kept(dsn: str) -> str:
    """All bodies that are kept for replays, as text."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT encode(body, 'escape') FROM idempotency_key WHERE body IS NOT NULL"
        ).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.fixture
def client(run_gateway: Callable[..., Any]) -> Any:
    with run_gateway() as gateway:
        yield stripe.StripeClient(gateway.test.secret_key, base_addresses={"api": gateway.url}), gateway.dsn


def test_an_answer_that_names_a_person_is_replayed_to_the_letter_and_kept_sealed(client: Any) -> None:
    gateway, dsn = client
    fields, options = {"email": EMAIL, "name": "Grace Hopper"}, {"idempotency_key": "one"}
    made = gateway.v1.customers.create(fields, options)
    gateway.v1.customers.update(made.id, {"name": "Grace B. M. Hopper"}, {"idempotency_key": "two"})
    assert gateway.v1.customers.create(fields, options) == made
    assert "opper" not in kept(dsn)
    gateway.v1.customers.delete(made.id)
    with pytest.raises(stripe.InvalidRequestError, match="has been deleted since"):
        gateway.v1.customers.create(fields, options)


def test_a_customer_that_a_write_expands_is_shown_and_not_kept(client: Any) -> None:
    gateway, dsn = client
    customer = gateway.v1.customers.create({"email": EMAIL})
    fields = {"amount": 1000, "currency": "eur", "customer": customer.id, "expand": ["customer"]}
    made = gateway.v1.payment_intents.create(fields, {"idempotency_key": "pay"})
    assert made.customer.email == EMAIL
    assert gateway.v1.payment_intents.create(fields, {"idempotency_key": "pay"}) == made
    assert EMAIL not in kept(dsn)
    assert gateway.v1.payment_intents.retrieve(made.id, {"expand": ["customer"]}).customer.email == EMAIL
    listed = gateway.v1.payment_intents.list({"expand": ["data.customer"]})
    assert [one.customer.email for one in listed.data] == [EMAIL]


def test_customers_are_listed_by_email_and_paged(client: Any) -> None:
    gateway, _ = client
    wanted = [gateway.v1.customers.create({"email": EMAIL}).id for _ in range(3)]
    gateway.v1.customers.create({"email": "someone@shop.example"})
    first = gateway.v1.customers.list({"email": EMAIL.upper(), "limit": 2})
    assert [one.id for one in first.data] == [wanted[2], wanted[1]]
    rest = gateway.v1.customers.list({"email": EMAIL, "limit": 2, "starting_after": first.data[-1].id})
    assert [(one.id, one.email) for one in rest.data] == [(wanted[0], EMAIL)]
