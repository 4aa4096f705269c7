"""Stripe's events and objects read as facts (RULES §4, §7)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.merchant.gateways.port import EventMalformed, EventRead
from tallystick.merchant.gateways.stripe_objects import decode_object, read_event, told_by_session
from tallystick.merchant.orders.facts import (
    AnyFact,
    Authorised,
    ChargeSeen,
    Closed,
    DisputeSeen,
    RefundSeen,
    SessionOpened,
    Succeeded,
)

MEMBERS = [
    "status",
    "amount",
    "currency",
    "metadata",
    "payment_intent",
    "client_reference_id",
    "payment_status",
    "amount_total",
    "last_payment_error",
    "latest_charge",
    "balance_transactions",
    "cancellation_reason",
    "amount_received",
]
OURS = {"order_id": "ord_1", "attempt": "2"}


def an_event(type: str, object: str, **members: Any) -> bytes:
    return msgspec.json.encode(
        {
            "id": "evt_1",
            "object": "event",
            "type": type,
            "created": 1700000000,
            "livemode": False,
            "data": {"object": {"id": "x_1", "object": object, **members}, "previous_attributes": {"status": 1}},
        }
    )


def intent_event(status: str, **members: Any) -> EventRead:
    members = {"amount": 2500, "amount_received": 0, "currency": "eur", "metadata": OURS, **members}
    return read_event(an_event("payment_intent.x", "payment_intent", status=status, **members))


def test_our_reference_is_read_from_what_we_sent() -> None:
    """RULES §7: found by our reference, client_reference_id or metadata, which was stored before the gateway was
    called.
    """
    session = {
        "status": "expired",
        "client_reference_id": "ord_9",
        "metadata": {"attempt": "3"},
        "payment_intent": "pi_1",
    }
    read = read_event(an_event("checkout.session.expired", "checkout.session", **session))
    assert (read.event_id, read.type, read.created) == ("evt_1", "checkout.session.expired", 1700000000)
    assert (read.order_id, read.attempt, read.intent) == ("ord_9", 3, "pi_1")
    read = intent_event("succeeded", amount_received=2500)
    assert (read.order_id, read.attempt, read.intent) == ("ord_1", 2, "x_1")


@pytest.mark.parametrize("attempt", ["", "x", "-1", "1.5", "1234567", "٣"])
def test_a_number_that_we_never_gave_is_none(attempt: str) -> None:
    assert intent_event("succeeded", metadata={"order_id": "ord_1", "attempt": attempt}).attempt is None


@pytest.mark.parametrize(
    ("status", "members", "facts"),
    [
        ("requires_payment_method", {}, ()),
        ("requires_action", {}, ()),
        (
            "requires_payment_method",
            {"last_payment_error": {"charge": "ch_1", "code": "card_declined", "decline_code": "lost_card"}},
            (ChargeSeen("ch_1", "failed", "lost_card", "x_1"),),
        ),
        ("requires_payment_method", {"last_payment_error": {"code": "payment_intent_authentication_failure"}}, ()),
        ("processing", {"latest_charge": "ch_1"}, (ChargeSeen("ch_1", "pending", None, "x_1"),)),
        ("requires_capture", {"latest_charge": "ch_1"}, (Authorised(2500, "EUR", "x_1", "ch_1"),)),
        (
            "succeeded",
            {"amount_received": 2500, "latest_charge": "ch_1"},
            (Succeeded(2500, 2500, "EUR", "x_1", "ch_1"),),
        ),
        (
            "succeeded",
            {"amount_received": 900, "latest_charge": {"id": "ch_1"}},
            (Succeeded(2500, 900, "EUR", "x_1", "ch_1"),),
        ),
        ("canceled", {"cancellation_reason": "abandoned"}, (Closed("expired", "x_1"),)),
        ("canceled", {"cancellation_reason": "requested_by_customer"}, (Closed("canceled", "x_1"),)),
        ("canceled", {"cancellation_reason": "something_new"}, (Closed("canceled", "x_1"),)),
        ("a_status_of_tomorrow", {}, ()),
    ],
)
def test_a_payment_intent_tells(status: str, members: dict[str, Any], facts: tuple[AnyFact, ...]) -> None:
    read = intent_event(status, **members)
    assert (read.facts, read.error) == (facts, None)


@pytest.mark.parametrize(
    ("members", "facts"),
    [
        ({"status": "open", "payment_status": "unpaid"}, ()),
        ({"status": "expired", "payment_status": "unpaid"}, (Closed("expired", "pi_1"),)),
        ({"status": "complete", "payment_status": "unpaid"}, ()),
        # RULES §4: a session tells what was agreed to; how much of that was captured its payment tells.
        ({"status": "complete", "payment_status": "paid"}, (Succeeded(2500, None, "EUR", "pi_1"),)),
    ],
)
def test_a_session_tells(members: dict[str, Any], facts: tuple[AnyFact, ...]) -> None:
    session = {"amount_total": 2500, "currency": "eur", "payment_intent": "pi_1", "metadata": OURS, **members}
    assert read_event(an_event("checkout.session.x", "checkout.session", **session)).facts == facts


def test_a_charge_is_shown_and_never_pays() -> None:
    """A charge that the gateway is reversing reads as succeeded too: only the intent or the session says that money
    is ours.
    """
    charge = {
        "status": "succeeded",
        "amount": 2500,
        "currency": "eur",
        "captured": True,
        "payment_intent": "pi_1",
        "metadata": OURS,
    }
    assert read_event(an_event("charge.succeeded", "charge", **charge)).facts == (
        ChargeSeen("x_1", "succeeded", None, "pi_1"),
    )


def test_refunds_and_disputes_name_the_payment() -> None:
    refund = read_event(
        an_event("refund.updated", "refund", status="succeeded", amount=500, currency="eur", payment_intent="pi_1")
    )
    assert (refund.order_id, refund.intent, refund.facts) == (
        None,
        "pi_1",
        (RefundSeen("x_1", "succeeded", 500, "EUR"),),
    )
    dispute = read_event(
        an_event(
            "charge.dispute.closed",
            "dispute",
            status="lost",
            amount=2500,
            currency="eur",
            payment_intent="pi_1",
            balance_transactions=[{"id": "txn_1", "amount": -2500, "fee": 1500}],
        )
    )
    assert dispute.facts == (DisputeSeen("x_1", "closed", "EUR", {"txn_1": -2500}, "lost"),)


def test_other_events_say_nothing() -> None:
    for raw in (
        an_event("customer.created", "customer", status=[1]),
        an_event("payout.paid", "payout", status="paid", amount=1),
    ):
        read = read_event(raw)
        assert (read.facts, read.error, read.order_id) == ((), None, None)


@pytest.mark.parametrize(
    "members",
    [
        {"status": "succeeded", "amount": 2500, "amount_received": 2500, "currency": "zzz"},
        {"status": "succeeded", "amount": 251, "amount_received": 251, "currency": "isk"},
        {"status": "succeeded", "amount": -1, "amount_received": 0, "currency": "eur"},
        {"status": "succeeded", "amount": 10**18, "amount_received": 0, "currency": "eur"},
        {"status": "succeeded", "amount_received": 1, "currency": "eur"},
        {"status": 7, "amount": 1},
        {"status": "canceled", "cancellation_reason": "\0"},
    ],
)
def test_what_concerns_orders_and_cannot_be_translated_is_an_error(members: dict[str, Any]) -> None:
    """RULES §7: it stays runnable with its error; it is neither lost nor taken for something else."""
    read = read_event(an_event("payment_intent.succeeded", "payment_intent", metadata=OURS, **members))
    assert (read.event_id, read.facts) == ("evt_1", ())
    assert read.error


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id": 1, "type": "x"}',
        b'{"id": "", "type": "x"}',
        b'{"id": "e\\u0000", "type": "x", "data": {"object": {"id": "a"}}}',
        b'{"id": "' + b"e" * 256 + b'", "type": "x"}',
        b'{"id": "evt_1", "type": ""}',
        b"\xff\xfe",
        b'{"id": "evt_1"',
        b'{"id": "\\ud800", "type": "x"}',
    ],
)
def test_what_is_no_event_is_malformed(raw: bytes) -> None:
    with pytest.raises(EventMalformed):
        read_event(raw)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    try:
        read_event(raw)
    except EventMalformed:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.sampled_from(["payment_intent", "checkout.session", "charge", "refund", "dispute"]),
    st.dictionaries(
        st.sampled_from(MEMBERS),
        json_values,
    ),
)
def test_no_object_raises_anything_else(object: str, members: dict[str, Any]) -> None:
    try:
        read_event(an_event("payment_intent.x", object, **members))
    except EventMalformed:
        pass


def test_a_retrieved_session_tells_with_its_intent() -> None:
    raw = {
        "id": "cs_1",
        "object": "checkout.session",
        "status": "complete",
        "payment_status": "paid",
        "amount_total": 2500,
        "currency": "eur",
        "url": None,
        "payment_intent": {
            "id": "pi_1",
            "object": "payment_intent",
            "status": "succeeded",
            "amount": 2500,
            "amount_received": 2500,
            "currency": "eur",
            "latest_charge": "ch_1",
        },
    }
    told = told_by_session(decode_object(msgspec.json.encode(raw)))
    assert told.facts == (SessionOpened("cs_1", "pi_1"), Succeeded(2500, 2500, "EUR", "pi_1", "ch_1"))
