"""RULES §10: what a merchant has, in balance transactions that follow the ledger."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
import stripe

from tallystick.gateway.accounts.accounts import set_days, set_fees
from tallystick.gateway.errors import AccountRefused

Core = Any


async def ledger(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows if row["sum"]}


async def test_a_fee_is_charged_in_the_ledger_with_the_capture(core: Core) -> None:
    await set_fees(core.database, core.account_id, "eur", basis_points=140, fixed=25, dispute=1500)
    await core.create(confirm=True, payment_method="pm_card_visa")
    assert await ledger(core) == {"acquirer_receivable": 1000, "merchant_pending": -961, "fee_revenue": -39}
    held = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    await core.capture(held["id"], amount_to_capture=250)
    assert await ledger(core) == {"acquirer_receivable": 1250, "merchant_pending": -1182, "fee_revenue": -68}


async def test_a_refund_keeps_the_fee_and_the_clearing_account_returns_to_zero(core: Core) -> None:
    await set_fees(core.database, core.account_id, "eur", basis_points=100)
    intent = await core.create(confirm=True, payment_method="pm_card_visa")
    refund = await core.refund(payment_intent=intent["id"])
    assert await ledger(core) == {"merchant_pending": 10, "fee_revenue": -10}
    (row,) = await core.rows("SELECT id FROM ledger_transaction WHERE kind = 'refund'")
    assert refund["balance_transaction"] == row["id"]


async def test_a_contract_that_changes_is_charged_by_within_seconds(core: Core) -> None:
    await core.create(confirm=True, payment_method="pm_card_visa")
    await core.create(confirm=True, payment_method="pm_card_visa")
    await set_fees(core.database, core.account_id, "EUR", fixed=30)
    core.clock.ahead += timedelta(seconds=4)
    await core.create(confirm=True, payment_method="pm_card_visa")
    assert (await ledger(core))["fee_revenue"] == -30


async def test_another_currency_and_the_other_mode_have_contracts_of_their_own(core: Core) -> None:
    await set_fees(core.database, core.account_id, "usd", fixed=30)
    await set_fees(core.database, core.account_id, "eur", fixed=30, livemode=True)
    await core.create(confirm=True, payment_method="pm_card_visa")
    assert "fee_revenue" not in await ledger(core)
    await core.create(confirm=True, payment_method="pm_card_visa", currency="usd")
    assert (await ledger(core))["fee_revenue"] == -30


async def test_contracts_and_days_that_cannot_be(core: Core) -> None:
    for refused in (
        set_fees(core.database, core.account_id, "xts", fixed=1),
        set_fees(core.database, core.account_id, "eur", basis_points=10_001),
        set_fees(core.database, core.account_id, "eur", fixed=-1),
        set_fees(core.database, "acct_nobody", "eur", fixed=1),
        set_days(core.database, "acct_nobody", offset_minutes=0, available_days=2),
        set_days(core.database, core.account_id, offset_minutes=900, available_days=2),
        set_days(core.database, core.account_id, offset_minutes=0, available_days=31),
    ):
        with pytest.raises(AccountRefused):
            await refused


async def test_a_business_day_begins_with_the_first_money(core: Core) -> None:
    await core.create()
    assert await core.rows("SELECT 1 FROM balance_account") == []
    await core.create(confirm=True, payment_method="pm_card_visa")
    (row,) = await core.rows("SELECT * FROM balance_account")
    assert row["next_day"] == core.clock.now().date()
    core.clock.ahead += timedelta(days=3)
    await core.create(confirm=True, payment_method="pm_card_visa")
    assert await core.rows("SELECT * FROM balance_account") == [row], "the first day that is open stays that"


@pytest.fixture
def api(run_gateway: Callable[..., AbstractContextManager[Any]]) -> Any:
    with run_gateway() as gateway:
        client = stripe.StripeClient(
            gateway.test.secret_key, base_addresses={"api": gateway.url}, max_network_retries=0
        )
        yield client, gateway


def pay(api: Any, amount: int, **parameters: Any) -> Any:
    return api.v1.payment_intents.create(
        {"amount": amount, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True, **parameters}
    )


def test_balance_transactions_with_the_official_sdk(api: Any) -> None:
    api, gateway = api
    empty = api.v1.balance.retrieve()
    assert (empty.object, empty.available, empty.pending, empty.livemode) == ("balance", [], [], False)
    paid = [pay(api, amount) for amount in (1000, 2000, 3000)]
    pay(api, 500, currency="usd")
    refund = api.v1.refunds.create({"charge": paid[0].latest_charge, "amount": 300})

    transactions = api.v1.balance_transactions.list({"limit": 2})
    assert transactions.has_more
    every = list(transactions.auto_paging_iter())
    assert [(one.type, one.amount, one.net) for one in every] == [
        ("refund", -300, -300),
        ("charge", 500, 500),
        ("charge", 3000, 3000),
        ("charge", 2000, 2000),
        ("charge", 1000, 1000),
    ]
    before = api.v1.balance_transactions.list({"limit": 2, "ending_before": every[4].id})
    assert [one.id for one in before.auto_paging_iter()] == [one.id for one in every[3::-1]]
    for filters, count in (
        ({"type": "refund"}, 1),
        ({"type": "topup"}, 0),
        ({"currency": "USD"}, 1),
        ({"source": paid[1].latest_charge}, 1),
        ({"source": refund.id}, 1),
        ({"source": "ch_nobody"}, 0),
        ({"created": {"gte": every[4].created}}, 5),
        ({"created": {"lt": every[4].created}}, 0),
    ):
        assert len(api.v1.balance_transactions.list(filters).data) == count, filters

    charge = api.v1.charges.retrieve(paid[1].latest_charge, {"expand": ["balance_transaction.source"]})
    assert charge.balance_transaction.id == every[3].id
    assert charge.balance_transaction.source.id == charge.id
    assert api.v1.refunds.retrieve(refund.id).balance_transaction == refund.balance_transaction == every[0].id
    assert api.v1.balance_transactions.retrieve(every[0].id) == every[0]
    assert every[4].status == "pending"
    assert every[4].available_on > every[4].created
    assert every[0].status == "available"
    balance = api.v1.balance.retrieve()
    assert [(one.currency, one.amount) for one in balance.pending] == [("eur", 5700), ("usd", 500)]

    told = [e for e in api.v1.events.list().auto_paging_iter() if e.type in ("charge.succeeded", "charge.refunded")]
    shown = {event.data.object["id"]: event.data.object["balance_transaction"] for event in told}
    assert shown[charge.id] == every[3].id
    assert shown[paid[0].latest_charge] == every[4].id

    other = stripe.StripeClient(gateway.live.secret_key, base_addresses={"api": gateway.url})
    assert other.v1.balance_transactions.list().data == [], "neither mode sees the other's"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        other.v1.balance_transactions.retrieve(every[0].id)
    assert refused.value.code == "resource_missing"


async def test_a_charge_that_is_captured_later_has_the_transaction_of_its_first_capture(core: Core) -> None:
    await core.rows("UPDATE account SET several_captures = true RETURNING 1")
    held = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    await core.capture(held["id"], amount_to_capture=250, final_capture=False)
    await core.capture(held["id"], amount_to_capture=100)
    rows = await core.rows("SELECT id FROM ledger_transaction ORDER BY id")
    told = await core.rows(
        "SELECT object::jsonb->>'balance_transaction' AS t FROM event WHERE type = 'charge.captured' ORDER BY id"
    )
    assert [row["t"] for row in told] == [rows[0]["id"], rows[0]["id"]]
