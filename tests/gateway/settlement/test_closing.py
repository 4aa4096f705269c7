"""RULES §10: a business day is closed once; what the report takes, what becomes available, what is paid out."""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from tallystick.gateway.accounts.accounts import SQL as ACCOUNTS
from tallystick.gateway.accounts.accounts import set_days, set_fees
from tallystick.gateway.balance.api import SQL
from tallystick.gateway.faults.faults import NewFault
from tallystick.gateway.invariants.rules import RULES
from tallystick.gateway.settlement import closing
from tallystick.gateway.settlement.closing import pages_of
from tallystick.gateway.settlement.report import Tally
from tallystick.kernel.identifiers import first_id
from tallystick.ports.database import Statement, StatementRefused

Core = Any
Another = Callable[[], Core]

WAITING = Statement(
    "waiting",
    "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
)


async def next_day(core: Core, days: int = 1) -> int:
    """Move on to a while after the end of the day, and close what is due."""
    core.clock.ahead += timedelta(days=days)
    count: int = await core.settlement.close_due()
    return count


@pytest.fixture(autouse=True)
def _noon(core: Core) -> None:
    """Tests begin at noon: whatever the hour, the next day is a day away."""
    now = core.clock.now()
    core.clock.ahead += now.replace(hour=12, minute=0) + timedelta(days=1) - now


async def reports(core: Core) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await core.rows(
        "SELECT * FROM settlement_report ORDER BY currency, sequence, revision"
    )
    return rows


async def lines(core: Core) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await core.rows("SELECT * FROM settlement_line ORDER BY day, number")
    return rows


async def ledger(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows if row["sum"]}


async def pay(core: Core, amount: int = 1000, **fields: Any) -> Any:
    return await core.create(**{"amount": amount, "confirm": True, "payment_method": "pm_card_visa", **fields})


async def test_a_day_becomes_a_report_with_its_lines(core: Core) -> None:
    await set_fees(core.database, core.account_id, "eur", basis_points=100)
    day = core.clock.now().date()
    intent = await pay(core, metadata={"order_id": "ord_1"})
    await core.refund(payment_intent=intent["id"], amount=300)
    assert await core.settlement.close_due() == 0, "the day has not ended"
    assert await next_day(core) == 1
    (report,) = await reports(core)
    assert (report["day"], report["sequence"], report["revision"]) == (day, 1, 1)
    assert (report["lines"], report["gross"], report["fee"], report["net"]) == (2, 700, 10, 690)
    assert (report["opening"], report["closing"]) == (0, 690)
    charge, refund = [line for line in await lines(core) if line["kind"] in ("charge", "refund")]
    assert (charge["gross"], charge["fee"], charge["net"], charge["order_id"]) == (1000, 10, 990, "ord_1")
    assert (charge["source"], charge["payment_intent"]) == (intent["latest_charge"], intent["id"])
    assert (refund["net"], refund["source"][:3], refund["order_id"]) == (-300, "re_", "ord_1")
    assert await core.settlement.close_due() == 0, "a day is closed once"


async def test_days_are_chained_without_gaps(core: Core) -> None:
    await pay(core, 1000)
    await next_day(core)
    await next_day(core)
    await pay(core, 500)
    assert await next_day(core, 3) == 3
    found = await reports(core)
    assert [row["sequence"] for row in found] == [1, 2, 3, 4, 5]
    assert [(b["day"] - a["day"]).days for a, b in itertools.pairwise(found)] == [1] * 4
    assert all(a["closing"] == b["opening"] for a, b in itertools.pairwise(found))
    assert sum(row["net"] for row in found) == found[-1]["closing"]


async def test_what_was_earned_is_available_after_two_days_and_paid_out(core: Core) -> None:
    await pay(core, 1000)
    await next_day(core)
    assert await core.rows("SELECT 1 FROM payout") == []
    await next_day(core)
    (payout,) = await core.rows("SELECT * FROM payout")
    assert (payout["amount"], payout["status"]) == (1000, "pending")
    assert await ledger(core) == {"acquirer_receivable": 1000, "payout_in_transit": -1000}
    (line,) = [line for line in await lines(core) if line["kind"] == "payout"]
    assert (line["net"], line["source"], line["payout"]) == (-1000, payout["id"], payout["id"])
    assert [row["closing"] for row in await reports(core)] == [1000, 0]
    assert await core.settlement._arrivals.record() == 0
    core.clock.ahead += timedelta(days=1)
    assert await core.settlement._arrivals.record() == 1
    assert await core.settlement._arrivals.record() == 0
    assert await ledger(core) == {"acquirer_receivable": 1000, "settlement_bank": -1000}
    assert [type for type in await core.events() if "payout" in type] == ["payout.created", "payout.paid"]


async def test_money_that_is_available_at_once_names_its_payout_in_the_line(core: Core) -> None:
    await set_days(core.database, core.account_id, offset_minutes=0, available_days=0)
    await pay(core, 1000)
    await next_day(core)
    (payout,) = await core.rows("SELECT * FROM payout")
    charge = next(line for line in await lines(core) if line["kind"] == "charge")
    assert charge["payout"] == payout["id"]
    (report,) = await reports(core)
    assert (report["lines"], report["net"], report["closing"]) == (2, 0, 0)


async def test_less_than_nothing_is_not_paid_out_but_made_up_for(core: Core) -> None:
    intent = await pay(core, 1000)
    await core.refund(payment_intent=intent["id"])  # taken from what is available, of which there is nothing yet
    await pay(core, 300)
    await next_day(core)
    assert await core.rows("SELECT 1 FROM payout") == []
    await next_day(core)
    (payout,) = await core.rows("SELECT * FROM payout")
    assert payout["amount"] == 300
    assert await core.rows("SELECT 1 FROM balance_release WHERE payout IS NULL") == []


async def test_a_manual_schedule_pays_nothing_out(core: Core) -> None:
    await set_days(core.database, core.account_id, payouts="manual")
    await pay(core, 1000)
    await next_day(core, 4)
    assert await core.rows("SELECT 1 FROM payout") == []
    assert (await ledger(core))["merchant_available"] == -1000


async def test_what_commits_late_stands_in_the_next_report(core: Core) -> None:
    """Not lost, although its own time, and that of its id, lies in a day that is closed."""
    await set_days(core.database, core.account_id, available_days=0)
    await pay(core, 1000)
    old = first_id("txn", core.clock.now() - timedelta(hours=2)) + "late"
    await next_day(core)
    late = await pay(core, 77)
    await core.rows(
        f"UPDATE ledger_transaction SET id = '{old}', effective_at = effective_at - interval '1 day', "
        "available_at = available_at - interval '1 day' "
        f"WHERE charge = '{late['latest_charge']}' RETURNING 1"
    )
    await next_day(core)
    rows = {line["net"]: line for line in await lines(core) if line["kind"] == "charge"}
    assert rows[77]["day"] == rows[1000]["day"] + timedelta(days=1)
    assert rows[77]["created_at"].date() == rows[1000]["created_at"].date(), "a line keeps its own time"
    payouts = await core.rows("SELECT amount FROM payout ORDER BY day")
    assert [row["amount"] for row in payouts] == [1000, 77], "and it is paid out"


async def test_an_open_day_is_closed_when_it_ends_by_the_days_as_they_are_now(core: Core) -> None:
    await pay(core, 1000)
    await set_days(core.database, core.account_id, offset_minutes=-180)
    core.clock.ahead += timedelta(hours=9, minutes=5)
    assert await core.settlement.close_due() == 0, "it is closed a while after it has ended"
    core.clock.ahead += timedelta(minutes=10)
    assert await core.settlement.close_due() == 1


async def test_days_that_two_people_change_at_once_are_moved_by_each_change_once(core: Core) -> None:
    await pay(core, 1000)
    closes = Statement("closes", "SELECT close_at FROM balance_account")
    [before] = await core.database.rows(closes)
    async with core.database.transaction() as tx:
        await tx.execute(ACCOUNTS.set_days, core.account_id, 60, 2, "daily")
        other = asyncio.create_task(set_days(core.database, core.account_id, offset_minutes=-30))
        while not (await core.database.rows(WAITING))[0]["n"]:
            assert not other.done()
            await asyncio.sleep(0.01)
    await other
    [after] = await core.database.rows(closes)
    assert after["close_at"] - before["close_at"] == timedelta(minutes=-30)


async def test_no_day_ends_before_the_one_before_it_however_far_its_begin_is_moved_back(core: Core) -> None:
    """Else what became available with that one would become so once more, and the account's days stay open for ever."""
    await set_days(core.database, core.account_id, offset_minutes=840, available_days=1)
    await pay(core, 1000)
    assert await next_day(core) == 1
    await set_days(core.database, core.account_id, offset_minutes=-720, available_days=1)
    assert await next_day(core) == 2
    ends = [report["ends_at"] for report in await reports(core)]
    assert ends == sorted(ends)
    assert [row["amount"] for row in await core.rows("SELECT amount FROM payout")] == [1000]


async def test_currencies_and_accounts_are_closed_each_for_itself(core: Core) -> None:
    await pay(core, 1000)
    await pay(core, 200, currency="usd")
    await next_day(core)
    assert [(row["currency"], row["net"]) for row in await reports(core)] == [("EUR", 1000), ("USD", 200)]


async def test_many_workers_close_a_day_once(core: Core, another_process: Another) -> None:
    for amount in (100, 200, 300):
        await pay(core, amount)
    core.clock.ahead += timedelta(days=2)
    processes = [core, another_process(), another_process()]
    await asyncio.gather(*(one.settlement.close_due() for one in processes for _ in range(3)))
    found = await reports(core)
    assert [row["sequence"] for row in found] == [1, 2]
    assert len(await core.rows("SELECT 1 FROM payout")) == 1


async def test_payments_go_on_while_a_day_is_closed(core: Core, another_process: Another) -> None:
    await pay(core)
    core.clock.ahead += timedelta(days=1)
    other = another_process()
    await asyncio.gather(*(pay(core, 100 + n) for n in range(20)), other.settlement.close_due())
    await next_day(core)
    settled = [line["ledger_transaction"] for line in await lines(core)]
    assert len(settled) == len(set(settled))
    posted = {row["id"] for row in await core.rows("SELECT id FROM ledger_transaction WHERE kind = 'charge'")}
    assert posted <= set(settled)


async def test_the_files_hash_is_that_of_its_lines(core: Core) -> None:
    await pay(core, 1000, metadata={"order_id": 'a,"b"'})
    await next_day(core)
    (report,) = await reports(core)
    tally, text = Tally(2), b""
    async for page in pages_of(core.database, (core.account_id, False, "EUR"), report["day"]):
        text += tally.add(page)
    assert tally.sha256 == report["sha256"]
    head = (
        b"balance_transaction_id,created_utc,available_on_utc,currency,gross,fee,net,reporting_category,source_id,"
        b"payment_intent_id,charge_id,payment_metadata[order_id],automatic_payout_id\r\n"
    )
    assert hashlib.sha256(head + text).hexdigest() == report["sha256"]
    assert text.endswith(b',"a,""b""",\r\n')
    assert b",eur,10.00,0.00,10.00,charge,ch_" in text


async def test_a_day_that_has_ended_is_closed_by_hand_before_its_time(core: Core) -> None:
    await pay(core)
    today = core.clock.now().date()
    assert await core.settlement.close_until(today) == [], "it is not over"
    core.clock.ahead += timedelta(hours=12, seconds=30)
    assert await core.settlement.close_due() == 0
    (report,) = await core.settlement.close_until(today)
    assert (report.day, report.lines) == (today, 1)
    assert await core.settlement.close_until(date(2999, 1, 1)) == []


async def test_a_wrong_report_is_corrected_with_all_that_follow(core: Core) -> None:
    await pay(core, 1000, payment_method="pm_card_settlementMissing")
    await pay(core, 200)
    await next_day(core)
    await pay(core, 30)
    await next_day(core, 1)
    wrong = await reports(core)
    assert [row["lines"] for row in wrong] == [1, 2]
    corrected = await core.settlement.correct(core.account_id, wrong[0]["day"])
    assert [(one.revision, one.lines, one.sequence) for one in corrected] == [(2, 2, 1), (2, 2, 2)]
    assert corrected[0].closing == corrected[1].opening == 1200
    assert (await reports(core))[0] == wrong[0], "what was written stays"
    await next_day(core)
    assert (await reports(core))[-1]["opening"] == corrected[1].closing


async def test_test_cards_are_settled_wrongly(core: Core) -> None:
    """RULES §9."""
    for number, card in enumerate(("Missing", "OtherAmount", "Twice")):
        await pay(core, 1000 + number, payment_method=f"pm_card_settlement{card}")
    await next_day(core)
    (report,) = await reports(core)
    assert (report["lines"], report["gross"]) == (3, 1000 + 2 * 1002)
    assert report["closing"] - report["opening"] == report["net"]
    assert [line["gross"] for line in await lines(core)] == [1000, 1001, 1002], "the books are right"


async def test_balances_follow_the_ledger_whether_reported_or_not(core: Core) -> None:
    async def balance() -> list[tuple[str, int, int]]:
        rows = await core.database.rows(SQL.balances, core.account_id, False)
        return [(row["currency"], row["pending"], row["available"]) for row in rows]

    assert await balance() == []
    await pay(core, 1000)
    assert await balance() == [("EUR", 1000, 0)]
    await next_day(core)
    assert await balance() == [("EUR", 1000, 0)]
    await pay(core, 50)
    assert await balance() == [("EUR", 1050, 0)]
    await set_days(core.database, core.account_id, payouts="manual")
    await next_day(core)
    assert await balance() == [("EUR", 50, 1000)]
    replayed = await ledger(core)
    stored = (await core.rows("SELECT balances FROM settlement_report ORDER BY sequence DESC LIMIT 1"))[0]["balances"]
    assert {name: amount for name, amount in json.loads(stored).items() if amount} == replayed


async def test_a_report_ends_with_its_day_however_late_it_is_written(core: Core) -> None:
    await pay(core, 100)
    core.clock.ahead += timedelta(days=1)
    await pay(core, 200)
    await core.settlement.close_due()
    assert [row["gross"] for row in await reports(core)] == [100]
    await next_day(core)
    days = {line["gross"]: line["day"] for line in await lines(core) if line["kind"] == "charge"}
    assert days[200] == days[100] + timedelta(days=1)


async def test_a_day_that_cannot_be_closed_keeps_nobody_else_waiting(core: Core, monkeypatch: Any) -> None:
    """The oldest due day comes first: what is wrong with it must not stop the days and payouts of all others."""
    await pay(core, 1000)
    await pay(core, 2000, currency="usd")
    close = core.settlement._closing.close

    async def closing(purse: Any, **named: Any) -> Any:
        if purse[2] == "EUR":
            raise StatementRefused("57014")
        return await close(purse, **named)

    monkeypatch.setattr(core.settlement._closing, "close", closing)
    assert await next_day(core) == 1
    assert [report["currency"] for report in await reports(core)] == ["USD"]
    monkeypatch.undo()
    assert await next_day(core) == 3, "it is tried again"


async def test_a_payout_that_fails_is_in_the_balance_again_and_paid_out_anew(core: Core) -> None:
    """RULES §10: every account returns to zero, the chain of reports goes on. The amount is paid out when the day is
    closed on which it came back."""
    await pay(core, 1000)
    await next_day(core)
    await next_day(core)
    await core.faults.add(NewFault(place="payouts", kind="fail", calls=1), "a test")
    core.clock.ahead += timedelta(days=1)
    assert await core.settlement._arrivals.record() == 1
    assert await ledger(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    (failed,) = await core.rows("SELECT * FROM payout")
    assert failed["status"] == "failed"
    (event,) = await core.rows("SELECT object::text AS object FROM event WHERE type = 'payout.failed'")
    told = json.loads(event["object"])
    (posted,) = await core.rows("SELECT id FROM ledger_transaction WHERE kind = 'payout_reversal'")
    assert (told["status"], told["failure_balance_transaction"]) == ("failed", posted["id"])
    assert told["failure_code"] == "could_not_process"
    await core.settlement.close_due()
    await next_day(core)
    assert [(row["amount"], row["status"]) for row in await core.rows("SELECT * FROM payout ORDER BY day")] == [
        (1000, "failed"),
        (1000, "pending"),
    ]
    (line,) = [line for line in await lines(core) if line["kind"] == "payout_reversal"]
    assert (line["net"], line["source"]) == (1000, failed["id"])
    core.clock.ahead += timedelta(days=1)
    await core.settlement._arrivals.record()
    assert await ledger(core) == {"acquirer_receivable": 1000, "settlement_bank": -1000}
    found = await reports(core)
    assert all(a["closing"] == b["opening"] for a, b in itertools.pairwise(found))
    assert found[-1]["closing"] == 0


async def test_an_idle_account_gets_no_empty_reports_for_ever(core: Core) -> None:
    """After a week without money and without a balance no report is written, until money moves again."""
    await pay(core, 1000)
    await next_day(core, 3)
    await core.settlement._arrivals.record()
    await next_day(core, 37)
    found = await reports(core)
    assert [row["lines"] for row in found][:2] == [1, 1]
    assert len(found) <= 4 + closing.IDLE_REPORTS, "a day with an arrival, and then a week"
    assert not any(row["lines"] for row in found[2:])
    await pay(core, 500)
    await next_day(core)
    (last,) = (await reports(core))[len(found) :]
    assert (last["sequence"], last["lines"], last["opening"], last["closing"]) == (len(found) + 1, 1, 0, 500)
    assert (last["day"] - found[-1]["day"]).days == 40 - len(found) + 1


async def test_an_account_that_has_something_gets_a_report_of_every_day(core: Core) -> None:
    await set_days(core.database, core.account_id, offset_minutes=0, available_days=0, payouts="manual")
    await pay(core, 1000)
    assert await next_day(core, 12) == 12
    assert [row["closing"] for row in await reports(core)] == [1000] * 12


async def test_clearing_accounts_are_checked_by_the_last_report_and_what_is_in_none_yet(core: Core) -> None:
    """RULES §10, §13: what is on its way is what lies in the clearing accounts; the check does not read the ledger from
    its beginning."""
    [rule] = [rule for rule in RULES if rule.statement.name == "clearing_accounts_hold_what_is_open"]

    async def broken() -> list[str]:
        at = core.clock.now()
        rows = await core.database.rows(rule.statement, *rule.parameters(core.account_id, at, at))
        return [row["detail"] for row in rows]

    early = await pay(core, 1000)
    await core.refund(payment_intent=early["id"], amount=300)
    await next_day(core, 12)
    late = await pay(core, 1000, payment_method="pm_card_createDispute")
    await core.refund(payment_intent=late["id"], amount=200)
    await core.inquirer.look()
    assert await broken() == []
    await core.rows("DELETE FROM ledger_transaction WHERE kind = 'refund' AND amounts[1] = 300 RETURNING 1")
    assert await broken() == [], "what is in a report is not added up again"
    await core.rows("UPDATE refund SET status = 'pending' RETURNING 1")
    assert await broken() == ["refund_clearing 0 for 500, dispute_clearing -1000 for 1000"]
    await core.rows("UPDATE refund SET status = 'succeeded' RETURNING 1")
    await core.rows("UPDATE dispute SET status = 'lost' RETURNING 1")
    assert await broken() == ["refund_clearing 0 for 0, dispute_clearing -1000 for 0"]
