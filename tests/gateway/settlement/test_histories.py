"""RULES §10 over random histories on a real PostgreSQL: whatever happens, books, reports and payouts agree."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.gateway.accounts.accounts import set_fees
from tallystick.gateway.balance.api import SQL
from tallystick.gateway.faults.faults import NewFault
from tallystick.gateway.invariants.rules import RULES
from tallystick.gateway.stripe_wire import errors
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import ConstraintViolated, Database, Statement

Core = Any
STEPS = 40
HISTORIES = 20
CARDS = (
    "visa",
    "visa",
    "visa",
    "createDispute",
    "refundFail",
    "approvedAfterCancel",
    "timeoutApproved",
    "chargeDeclined",
)


async def step(core: Core, chance: Random, intents: list[str], done: Counter[str]) -> None:
    what = chance.choice(
        "pay pay hold capture refund refund evidence close payout by_hand by_hand call_off hour day".split()
    )
    done[what] += 1
    match what:
        case "pay" | "hold":
            card, currency = chance.choice(CARDS), chance.choice(["eur", "eur", "usd"])
            method = "manual" if what == "hold" else "automatic"
            fields = {"amount": chance.randint(1, 5000), "currency": currency, "payment_method": f"pm_card_{card}"}
            made = await core.create(**fields, capture_method=method, confirm=True)
            intents.append(made["id"])
        case "capture" if intents:
            await core.capture(chance.choice(intents), amount_to_capture=chance.randint(1, 300), final_capture=False)
        case "refund" if intents:
            await core.refund(payment_intent=chance.choice(intents), amount=chance.randint(1, 3000))
        case "evidence" | "close":
            disputes = await core.rows("SELECT id FROM dispute ORDER BY id")
            if not disputes:
                return
            id = chance.choice(disputes)["id"]
            if what == "close":
                await core.close_dispute(id)
            else:
                word = chance.choice(["winning_evidence", "losing_evidence", "please"])
                await core.update_dispute(id, evidence={"uncategorized_text": word})
        case "payout":
            await core.faults.add(NewFault(place="payouts", kind="fail", calls=1), "a test")
        case "by_hand":
            [have] = await core.rows("SELECT coalesce(max(amount), 1)::int AS amount FROM payout")
            before = await available(core)
            amount = chance.choice([before, before + 1, chance.randint(1, 3000), have["amount"]])
            made = await core.pay_out(max(amount, 1))
            assert made["amount"] <= before, "never more than is available"
        case "call_off":
            payouts = await core.rows("SELECT id FROM payout ORDER BY id")
            await core.cancel_payout(chance.choice(payouts)["id"] if payouts else "po_none")
        case "hour" | "day":
            core.clock.ahead += timedelta(hours=1 if what == "hour" else 24)
    await core.contests.send()
    await core.inquirer.look()
    if chance.random() < 0.5:
        await core.settlement.close_due()
        await core.settlement._arrivals.record()


async def available(core: Core) -> int:
    """What is available in EUR, as the balance says."""
    rows = await core.database.rows(SQL.balances, core.account_id, False)
    return next((row["available"] for row in rows if row["currency"] == "EUR"), 0)


async def check(core: Core, database: Database) -> None:
    """All rules of the gateway, and the replay of the ledger."""
    at = core.clock.now()
    for rule in RULES:
        found = await database.rows(rule.statement, *rule.parameters(core.account_id, at - timedelta(days=400), at))
        assert [rule.violation(row) for row in found] == []
    legs = await core.rows(
        "SELECT t.currency, leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1, 2"
    )
    books: dict[str, Counter[str]] = {}
    for row in legs:
        books.setdefault(row["currency"], Counter())[row["account"]] += row["sum"]
    latest = await core.rows(
        "SELECT DISTINCT ON (currency) currency, balances, closing FROM settlement_report "
        "ORDER BY currency, sequence DESC"
    )
    for report in latest:
        book = books[report["currency"]]
        assert sum(book.values()) == 0
        assert {n: a for n, a in json.loads(report["balances"]).items() if a} == {n: a for n, a in book.items() if a}
        assert report["closing"] == -book["merchant_pending"] - book["merchant_available"]
        paid = await core.rows(
            "SELECT coalesce(sum(amount), 0)::bigint AS sum FROM payout "
            f"WHERE currency = '{report['currency']}' AND status NOT IN ('failed', 'canceled')"
        )
        assert paid[0]["sum"] == -book["payout_in_transit"] - book["settlement_bank"]


@settings(max_examples=HISTORIES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(chance=st.randoms(use_true_random=False))
async def test_the_halves_of_every_history_agree(
    core_over: Callable[[Database], Awaitable[Core]], gateway_supply: Any, chance: Random
) -> None:
    """A history that breaks a rule is made shorter by Hypothesis until nothing can be left out of it."""
    with gateway_supply.database() as dsn:
        database = await open_database(dsn)
        try:
            await live(await core_over(database), database, chance)
        finally:
            await database.close()


async def live(core: Core, database: Database, chance: Random) -> None:
    """One history, to its end, and the audit."""
    intents, done = list[str](), Counter[str]()
    await core.rows("UPDATE account SET several_captures = true RETURNING 1")
    await set_fees(core.database, core.account_id, "eur", basis_points=290, fixed=30, dispute=1500)
    for _ in range(STEPS):
        try:
            await step(core, chance, intents, done)
        except (errors.UnexpectedState, errors.CardDeclined, errors.InvalidRequest, errors.Unavailable):
            done["refused"] += 1
    await core.faults.clear()
    core.clock.ahead += timedelta(days=15)  # disputes end, everything becomes available
    for _ in range(3):
        await core.inquirer.look()
        core.clock.ahead += timedelta(days=3)
        await core.settlement.close_due()
        await core.settlement._arrivals.record()
    await check(core, database)
    for row in await core.rows(
        "SELECT sum(ledger_sum_of(accounts, amounts, '{refund_clearing,dispute_clearing}'))::bigint AS held "
        "FROM ledger_transaction"
    ):
        assert not row["held"], "clearing accounts return to zero"


async def test_the_database_refuses_a_report_that_does_not_add_up(core: Core) -> None:
    columns = (
        "INSERT INTO settlement_report SELECT 'acct', false, 'stl_1', 'EUR', '2026-01-01', 1, 1, t, 1, 10, 1, 9, 0, "
        "{closing}, "
        "repeat('0', 64), '{{}}', '', '[]', t FROM (VALUES (timestamptz '2026-01-02T00:00:00Z')) AS at(t)"
    )
    with pytest.raises(ConstraintViolated):
        await core.database.execute(Statement("of_a_test", columns.format(closing=10)))
    assert await core.database.execute(Statement("of_a_test", columns.format(closing=9))) == 1
