"""DESIGN §2.2: what is saved is what is loaded, field by field; a write that misses its row saves nothing."""

from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from msgspec import Struct
from msgspec.structs import replace

from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.payments.payment import AcquirerRequest, Charge, Payment, PaymentIntent, PaymentMethod
from tallystick.gateway.payments.records import Change, StaleWrite, Wanted, load_locked, save
from tallystick.ports.database import ConstraintViolated, Database, Statement

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = ("acct_1", False, "pi_1")

FIXED: dict[str, Any] = {
    "account_id": "acct_1",
    "livemode": False,
    "payment_intent": "pi_1",
    "currency": "EUR",
    "capture_method": "manual",
    "amount": 1000,
    "amount_total": 1000,
    "amount_authorised": 900,
    "amount_captured": 300,
    "amount_received": 300,
    "amount_capturable": 600,
    "first6": "424242",
    "last4": "4242",
    "exp_month": 12,
    "exp_year": 2030,
    "canceled_at": None,
    "ui_mode": "embedded_page",
    "payment_status": "unpaid",
    "kind": "void",
    "checkout_session": "cs_test_1",
    "version": 0,
    "charge": "ch_1",
    "payment_method": "pm_1",
    "setup_future_usage": "on_session",
}
JSON = {"metadata", "last_payment_error", "next_action", "line_items", "payment_intent_data"}


def filled(record: type[Struct], id: str, **fields: Any) -> Any:
    """A record with a different value in every field, so that two that change places are seen."""
    values: dict[str, Any] = {}
    for number, (name, hint) in enumerate(get_type_hints(record).items()):
        base = next(one for one in (*get_args(hint), hint) if one is not NoneType)
        values[name] = FIXED.get(
            name,
            f'{{"{name}": "{number}"}}'
            if name in JSON
            else {str: f"{name}_{number}", int: number, bool: True, datetime: AT + timedelta(minutes=number)}[base],
        )
    return record(**{**values, "id": id, **fields})


@pytest.fixture
def payment() -> Payment:
    return Payment(
        intent=filled(PaymentIntent, "pi_1", status="requires_capture"),
        session=filled(CheckoutSession, "cs_test_1", status="open"),
        charges=(filled(Charge, "ch_1", state="approved"),),
        requests=(filled(AcquirerRequest, "acr_1", state="sent"),),
        methods=(filled(PaymentMethod, "pm_1"),),
    )


async def test_every_field_comes_back(gateway_database: Database, payment: Payment) -> None:
    async with gateway_database.transaction() as tx:
        await save(tx, [Change(None, payment)], AT)
    async with gateway_database.transaction() as tx:
        assert await load_locked(tx, [Wanted(KEY), Wanted(("acct_2", False, "pi_1"))]) == {KEY: payment}


async def test_every_change_is_saved(gateway_database: Database, payment: Payment) -> None:
    async with gateway_database.transaction() as tx:
        await save(tx, [Change(None, payment)], AT)
    assert payment.session is not None
    after = Payment(
        intent=filled(
            PaymentIntent,
            "pi_1",
            status="canceled",
            amount_capturable=0,
            amount_received=1,
            canceled_at=AT,
            description="d",
        ),
        session=replace(payment.session, status="complete", payment_status="paid", decline_count=7, completed_at=AT),
        charges=(filled(Charge, "ch_1", state="declined", amount_authorised=5, amount_captured=4, decline_code="x"),),
        requests=(replace(payment.requests[0], state="unknown", acquirer_reference="x", refusal="y"),),
        methods=payment.methods,
    )
    async with gateway_database.transaction() as tx:
        await save(tx, [Change(payment, after)], AT)
    async with gateway_database.transaction() as tx:
        (loaded,) = (await load_locked(tx, [Wanted(KEY, charges=("ch_1",))])).values()
    assert loaded.session is not None
    assert (loaded.intent.version, loaded.charges[0].version, loaded.session.version) == (1, 1, 1)
    assert after.session is not None
    assert loaded.intent == replace(after.intent, version=1)
    assert loaded.session == replace(after.session, version=1)
    assert loaded.charges == (replace(after.charges[0], version=1),)
    assert loaded.requests == after.requests


@pytest.mark.parametrize("stale", ["intent", "session", "charges", "requests"])
async def test_a_write_that_misses_its_row_saves_nothing(
    gateway_database: Database, payment: Payment, stale: str
) -> None:
    async with gateway_database.transaction() as tx:
        await save(tx, [Change(None, payment)], AT)
    assert payment.session is not None
    changes: dict[str, Any] = {
        "intent": replace(payment.intent, description="new"),
        "session": replace(payment.session, decline_count=9),
        "charges": (replace(payment.charges[0], voided_at=AT),),
        "requests": (replace(payment.requests[0], state="done"),),
    }
    table = {"intent": "payment_intent", "session": "checkout_session", "charges": "charge"}.get(stale)
    if table is not None:
        await gateway_database.execute(Statement("behind", f"UPDATE {table} SET version = version + 1"))
    else:
        await gateway_database.execute(Statement("behind", "UPDATE acquirer_request SET state = 'refused'"))
    with pytest.raises(StaleWrite):
        async with gateway_database.transaction() as tx:
            await save(tx, [Change(payment, replace(payment, **changes))], AT)
    (row,) = await gateway_database.rows(Statement("after", "SELECT decline_count FROM checkout_session"))
    assert row["decline_count"] == payment.session.decline_count


@pytest.mark.parametrize("state", ["authenticating", "created", "sent", "unknown", "approved"])
async def test_the_database_refuses_a_second_live_charge(
    gateway_database: Database, payment: Payment, state: str
) -> None:
    """RULES §3: at most one live charge per intent, also when the code forgets."""
    async with gateway_database.transaction() as tx:
        await save(tx, [Change(None, payment)], AT)
    for second_state, refused in (("reversing", False), ("declined", False), (state, True)):
        second = filled(Charge, f"ch_{second_state}", state=second_state, acquirer_key=f"key_{second_state}")
        change = Change(payment, replace(payment, charges=(*payment.charges, second)))
        if not refused:
            async with gateway_database.transaction() as tx:
                await save(tx, [change], AT)
            continue
        with pytest.raises(ConstraintViolated) as violated:
            async with gateway_database.transaction() as tx:
                await save(tx, [change], AT)
        assert violated.value.constraint == "charge_one_live"
