"""RULES §10: payouts that a merchant asks for. Never more than is available, whoever asks at the same time; called off
while they are pending; every day's report and every payout's transactions add up."""

import asyncio
import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.accounts.accounts import set_days
from tallystick.gateway.balance.api import SQL
from tallystick.gateway.faults.faults import NewFault
from tallystick.gateway.invariants.rules import RULES
from tallystick.gateway.settlement.parameters import CreatePayout
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.idempotency.engine import LeaseLost
from tallystick.ports.database import ConstraintViolated
from tallystick.ports.tracing import read as read_trace
from tallystick.ports.tracing import within

Core = Any


async def pay(core: Core, amount: int = 1000, **fields: Any) -> Any:
    return await core.create(**{"amount": amount, "confirm": True, "payment_method": "pm_card_visa", **fields})


async def next_day(core: Core) -> None:
    core.clock.ahead += timedelta(days=1)
    await core.settlement.close_due()


async def have(core: Core) -> tuple[int, int]:
    """What is available and pending."""
    [row] = await core.database.rows(SQL.balances, core.account_id, False)
    return row["available"], row["pending"]


async def ledger(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows if row["sum"]}


async def audit(core: Core) -> None:
    at = core.clock.now()
    for rule in RULES:
        found = await core.database.rows(rule.statement, *rule.parameters(core.account_id, at - timedelta(days=9), at))
        assert [rule.violation(row) for row in found] == []
    reports = await core.rows("SELECT opening, closing FROM settlement_report ORDER BY sequence")
    assert all(a["closing"] == b["opening"] for a, b in itertools.pairwise(reports))


@pytest.fixture
async def rich(core: Core) -> Core:
    """A merchant with a manual schedule, at noon, who has 1000 available."""
    await set_days(core.database, core.account_id, available_days=0, payouts="manual")
    now = core.clock.now()
    core.clock.ahead += now.replace(hour=12, minute=0) + timedelta(days=1) - now
    await pay(core, 1000)
    await next_day(core)
    assert await have(core) == (1000, 0)
    return core


async def refused(core: Core, amount: int, **fields: Any) -> errors.InvalidRequest:
    with pytest.raises(errors.InvalidRequest) as refusal:
        await core.pay_out(amount, **fields)
    return refusal.value


async def test_what_is_available_goes_to_the_bank_when_the_merchant_says_so(rich: Core) -> None:
    made = await rich.pay_out(400, metadata={"run": "7"}, statement_descriptor="NORTHWIND", description="Rent")
    assert (made["amount"], made["currency"], made["status"], made["automatic"]) == (400, "eur", "pending", False)
    assert (made["metadata"], made["description"], made["statement_descriptor"]) == ({"run": "7"}, "Rent", "NORTHWIND")
    assert made["reconciliation_status"] == "not_applicable"
    assert await have(rich) == (600, 0), "at once, before any report"
    assert await ledger(rich) == {"acquirer_receivable": 1000, "merchant_available": -600, "payout_in_transit": -400}
    rich.clock.ahead += timedelta(days=1)
    assert await rich.settlement._arrivals.record() == 1
    await rich.settlement.close_due()
    assert await ledger(rich) == {"acquirer_receivable": 1000, "merchant_available": -600, "settlement_bank": -400}
    assert await have(rich) == (600, 0), "what was paid out is not released a second time"
    assert [type for type in await rich.events() if "payout" in type] == ["payout.created", "payout.paid"]
    [line] = await rich.rows("SELECT net, source, payout FROM settlement_line WHERE kind = 'payout'")
    assert line == {"net": -400, "source": made["id"], "payout": None}
    await audit(rich)


async def test_never_more_than_is_available(rich: Core) -> None:
    refusal = await refused(rich, 1001)
    assert (refusal.code, refusal.param, refusal.status) == ("balance_insufficient", "amount", 400)
    await pay(rich, 5000)
    assert await have(rich) == (1000, 5000)
    await refused(rich, 1001)
    await refused(rich, 1, currency="usd")
    await rich.pay_out(1000)
    await refused(rich, 1)
    assert await rich.rows("SELECT amount FROM payout") == [{"amount": 1000}]


async def test_what_refunds_have_taken_since_is_not_paid_out(rich: Core) -> None:
    """It is taken from what is available when the day is closed: the gateway would have to ask for it back."""
    [intent] = await rich.rows("SELECT id FROM payment_intent")
    await rich.refund(payment_intent=intent["id"], amount=300)
    await refused(rich, 701)
    await rich.pay_out(700)
    await next_day(rich)
    assert await have(rich) == (0, 0)
    await audit(rich)


async def test_of_many_at_once_as_many_as_there_is_money_for(rich: Core, another_process: Callable[[], Core]) -> None:
    two = [rich, another_process()]
    asked = [two[number % 2].pay_out(90) for number in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, dict) for answer in answers) == 11
    assert {type(answer) for answer in answers} == {dict, errors.InvalidRequest}
    assert await have(rich) == (10, 0)


async def test_beside_the_closing_of_a_day_nothing_is_paid_out_twice(
    rich: Core, another_process: Callable[[], Core]
) -> None:
    """Between a day's end and its closing too: what the merchant asked for then is in the next day's report."""
    await set_days(rich.database, rich.account_id, offset_minutes=0, available_days=0)
    await rich.rows("UPDATE account SET payout_interval = 'daily' RETURNING 1")
    now = rich.clock.now()
    rich.clock.ahead += now.replace(hour=0, minute=5) + timedelta(days=1) - now
    first = await rich.pay_out(300)
    rich.clock.ahead += timedelta(minutes=10)
    other = another_process()
    await asyncio.gather(other.settlement.close_due(), *(rich.pay_out(200) for _ in range(6)), return_exceptions=True)
    paid = await rich.rows("SELECT sum(amount)::int AS sum FROM payout")
    assert paid == [{"sum": 1000}], "all of it and no more"
    await next_day(rich)
    assert (await have(rich))[0] == 0
    for payout in await rich.rows("SELECT id, amount FROM payout WHERE automatic"):
        [went] = await rich.rows(
            "SELECT sum(l.net)::int AS sum FROM settlement_line l JOIN balance_release r USING (ledger_transaction) "
            f"WHERE r.payout = '{payout['id']}'"
        )
        assert went["sum"] >= payout["amount"], "what was asked for by hand goes with a later one"
    assert first["id"] in {row["source"] for row in await rich.rows("SELECT source FROM settlement_line")}
    await audit(rich)


async def test_an_automatic_payout_is_what_those_by_hand_have_left(rich: Core) -> None:
    await rich.rows("UPDATE account SET payout_interval = 'daily' RETURNING 1")
    await rich.pay_out(300)
    await next_day(rich)
    [payout] = await rich.rows("SELECT id, amount FROM payout WHERE automatic")
    assert payout["amount"] == 700
    [went] = await rich.rows(
        "SELECT sum(l.net)::int AS sum FROM settlement_line l JOIN balance_release r USING (ledger_transaction) "
        f"WHERE r.payout = '{payout['id']}'"
    )
    assert went["sum"] == 700, "the transactions of a payout sum to it"
    await audit(rich)


async def test_called_off_while_it_is_pending(rich: Core) -> None:
    made = await rich.pay_out(400)
    canceled = await rich.cancel_payout(made["id"])
    assert canceled["status"] == "canceled"
    assert await have(rich) == (1000, 0), "available again at once"
    with pytest.raises(errors.UnexpectedState):
        await rich.cancel_payout(made["id"])
    rich.clock.ahead += timedelta(days=1)
    assert await rich.settlement._arrivals.record() == 0
    await rich.settlement.close_due()
    assert await have(rich) == (1000, 0)
    assert await ledger(rich) == {"acquirer_receivable": 1000, "merchant_available": -1000}
    (event,) = await rich.rows("SELECT object::text AS object FROM event WHERE type = 'payout.canceled'")
    (posted,) = await rich.rows("SELECT id FROM ledger_transaction WHERE kind = 'payout_cancel'")
    assert json.loads(event["object"])["failure_balance_transaction"] == posted["id"]
    await audit(rich)


async def test_what_has_ended_or_was_made_by_a_days_closing_is_not_called_off(rich: Core) -> None:
    made = await rich.pay_out(100)
    await rich.rows("UPDATE account SET payout_interval = 'daily' RETURNING 1")
    await next_day(rich)
    await rich.settlement._arrivals.record()
    [automatic] = await rich.rows("SELECT id FROM payout WHERE automatic")
    for id in (made["id"], automatic["id"]):
        with pytest.raises(errors.UnexpectedState):
            await rich.cancel_payout(id)
    with pytest.raises(errors.InvalidRequest) as missing:
        await rich.cancel_payout("po_none")
    assert missing.value.status == 404
    with pytest.raises(ConstraintViolated):
        await rich.rows(f"UPDATE payout SET status = 'canceled' WHERE id = '{automatic['id']}' RETURNING 1")


async def test_called_off_and_arrived_at_once_it_is_one_of_both(
    rich: Core, another_process: Callable[[], Core]
) -> None:
    other = another_process()
    for _ in range(5):
        made = await rich.pay_out(100)
        rich.clock.ahead += timedelta(days=1)
        await asyncio.gather(
            other.settlement._arrivals.record(), rich.cancel_payout(made["id"]), return_exceptions=True
        )
        [row] = await rich.rows(f"SELECT status FROM payout WHERE id = '{made['id']}'")
        ended = await rich.rows(
            f"SELECT kind FROM ledger_transaction WHERE reference LIKE '%:{made['id']}' AND kind <> 'payout'"
        )
        assert [each["kind"] for each in ended] == [{"paid": "payout_paid", "canceled": "payout_cancel"}[row["status"]]]
    await audit(rich)


async def test_one_that_the_bank_sends_back_is_in_the_balance_again(rich: Core) -> None:
    await rich.faults.add(NewFault(place="payouts", kind="fail", calls=1), "a test")
    made = await rich.pay_out(1000)
    rich.clock.ahead += timedelta(days=1)
    await rich.settlement._arrivals.record()
    await rich.settlement.close_due()
    await next_day(rich)
    assert (await rich.rows(f"SELECT status FROM payout WHERE id = '{made['id']}'")) == [{"status": "failed"}]
    assert await have(rich) == (1000, 0)
    await audit(rich)


async def test_under_one_key_it_is_paid_out_once(rich: Core) -> None:
    """The claim ends in the commit of the payout: whoever lost it has paid out nothing (RULES §5)."""
    claim = await rich.claim("payout-1")
    sent = CreatePayout(amount=100, currency="eur")
    [reply] = await rich.payouts.create([(rich.call(claim), sent)])
    assert reply.status == 200
    with pytest.raises(LeaseLost):
        await rich.payouts.create([(rich.call(claim), sent)])
    assert await rich.rows("SELECT count(*)::int AS n FROM payout") == [{"n": 1}]


async def test_what_becomes_of_it_is_told_in_the_trace_of_the_call_that_asked(rich: Core) -> None:
    """RULES §13: a day later, by a worker that belongs to no step; what calls it off is a step of its own caller's."""
    asked, other = (f"00-{'0af7651916cd43dd8448eb211c80319' + end}-b7ad6b7169203331-01" for end in ("c", "d"))
    with within(read_trace(asked)):
        made, called_off = await rich.pay_out(100), await rich.pay_out(100)
    untraced = await rich.pay_out(100)
    with within(read_trace(other)):
        await rich.cancel_payout(called_off["id"])
    rich.clock.ahead += timedelta(days=1)
    await rich.settlement._arrivals.record()
    rows = await rich.rows("SELECT type, object_id, trace FROM event WHERE type LIKE 'payout.%'")
    told = {(row["type"], row["object_id"]): row["trace"] for row in rows}
    assert told == {
        ("payout.created", made["id"]): asked,
        ("payout.paid", made["id"]): asked,
        ("payout.created", called_off["id"]): asked,
        ("payout.canceled", called_off["id"]): other,
        ("payout.created", untraced["id"]): None,
        ("payout.paid", untraced["id"]): None,
    }
