"""RULES §3, unknown outcomes: looked up by our own key, by schedule, by one worker, until they are known."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.gateway.acquirers import port
from tallystick.gateway.payments import schedule
from tallystick.gateway.payments.parameters import ConfirmIntent
from tallystick.gateway.payments.records import SQL
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.outcomes import NotSent, Refused, Unknown

Core = Any
Another = Callable[[], Core]


async def charge(core: Core) -> dict[str, Any]:
    (row,) = await core.rows("SELECT * FROM charge")
    return dict(row)


async def requests(core: Core) -> list[tuple[str, str]]:
    return [(row["kind"], row["state"]) for row in await core.rows("SELECT * FROM acquirer_request ORDER BY id")]


async def balances(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows}


async def later(core: Core, seconds: float) -> int:
    """Let time pass and the worker look; how many rows it looked at."""
    core.clock.ahead += timedelta(seconds=seconds)
    count: int = await core.inquirer.look()
    return count


def test_the_schedule_is_that_of_the_rules() -> None:
    """10 s, 1 m, 5 m, 30 m, 2 h, 6 h, 24 h, then daily with a case; never due again before the lease has ended."""
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    looks = [schedule.look(number, at, 60.0) for number in range(9)]
    waits_s = [(one.due_at - at).total_seconds() for one in looks]
    assert waits_s == [60, 240, 1500, 5400, 14_400, 64_800, 86_400, 86_400, 86_400]
    assert [one.case_at for one in looks] == [None] * 7 + [at, at]
    ages_s = [schedule.age_s_min(number) for number in range(9)]
    assert ages_s == [10, 60, 300, 1800, 7200, 21_600, 86_400, 2 * 86_400, 3 * 86_400], "a bank may declare days"


async def test_a_lost_answer_is_looked_up_and_there_is_one_charge(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_timeoutApproved")
    assert intent["status"] == "processing"
    assert await later(core, 9) == 0
    assert await later(core, 2) == 1
    assert (await core.intent(intent["id"]))["status"] == "succeeded"
    assert (await charge(core))["state"] == "approved"
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    assert (await core.events())[1:] == ["payment_intent.processing", "charge.succeeded", "payment_intent.succeeded"]
    assert await later(core, 86_400) == 0, "what is known is asked about no more"
    assert len(core.bank.asked) == 1


async def test_a_lost_decline_asks_for_another_card(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_timeoutDeclined")
    await later(core, 11)
    assert (await core.intent(intent["id"]))["status"] == "requires_payment_method"
    assert (await core.confirm(intent["id"], payment_method="pm_card_visa"))["status"] == "succeeded"
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}


async def test_a_slow_bank_is_waited_for(core: Core) -> None:
    """Approved after 30 s: pending is no answer, and nothing is reversed."""
    intent = await core.create(confirm=True, payment_method="pm_card_approvedLate")
    assert await later(core, 11) == 1
    assert (await core.intent(intent["id"]))["status"] == "processing"
    assert await later(core, 61) == 1
    assert (await core.intent(intent["id"]))["status"] == "succeeded"


async def test_while_it_is_unknown_nothing_else_starts(core: Core) -> None:
    """RULES §3: no new charge, no cancel, while one is unknown."""
    session = await core.open_session()
    await core.pay(session["id"], "4000000000007031")
    intent = (await core.session(session["id"]))["payment_intent"]
    for _ in range(3):
        for refused in (
            core.confirm(intent, payment_method="pm_card_visa"),
            core.cancel(intent),
            core.expire_session(session["id"]),
        ):
            with pytest.raises(errors.UnexpectedState):
                await refused
        await later(core, 61)
    assert len(core.bank.asked) == 1


async def test_not_found_settles_it_only_with_a_confirmed_reversal_after_the_processing_time(core: Core) -> None:
    """And the bank may approve all the same: that is given back at once, with both ledger legs and its own event."""
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    for seconds in (11, 61):
        await later(core, seconds)
        assert (await core.intent(intent["id"]))["status"] == "processing", "the bank may still come to know it"
    core.bank.reversals = [Unknown("cut")]
    await later(core, 241)
    assert (await core.intent(intent["id"]))["status"] == "processing", "nobody has confirmed the reversal"
    await later(core, 1501)
    assert (await core.intent(intent["id"]))["status"] == "requires_payment_method"
    row = await charge(core)
    assert (row["state"], row["failure_code"]) == ("declined", "processing_error")
    await core.cancel(intent["id"])
    assert await balances(core) == {}

    assert await later(core, 31) == 1
    assert (await core.intent(intent["id"]))["status"] == "canceled"
    assert (await charge(core))["state"] == "reversed"
    assert await requests(core) == [("void", "done")]
    kinds = [row["kind"] for row in await core.rows("SELECT kind FROM ledger_transaction ORDER BY id")]
    assert sorted(kinds) == ["charge", "void"]
    assert set((await balances(core)).values()) == {0}
    assert (await core.events())[-2:] == ["charge.reversing", "charge.reversed"]
    assert await later(core, 1) == 0, "the bank was told that it was heard"


async def test_an_approval_that_is_learnt_while_it_is_reversed_is_returned(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    await later(core, 11)
    await later(core, 61)
    core.bank.reversals = [Unknown("the reversal was lost"), Unknown("again")]
    await later(core, 241)
    core.bank.inquiries = [port.Approved("bank_1")]
    await later(core, 1501)
    assert (await core.intent(intent["id"]))["status"] == "requires_payment_method"
    assert (await charge(core))["state"] == "reversed"
    assert set((await balances(core)).values()) == {0}


async def test_a_sender_that_never_came_back_is_asked_about_first(core: Core, another_process: Another) -> None:
    """RULES §3: a worker that takes over an expired lease inquires first. Nobody sends the charge again."""
    intent = await core.create()
    core.bank.answers = [Unknown("the process died before it could write this down")]
    await core.confirm(intent["id"], payment_method="pm_card_visa")
    await core.rows("UPDATE charge SET state = 'sent', due_at = created_at + interval '1 min' RETURNING 1")
    other = another_process()
    other.bank.inquiries = [port.NotFound()]
    assert await later(other, 59) == 0, "the lease of its sender stands"
    assert await later(other, 2) == 1
    assert (await charge(core))["state"] == "unknown"
    assert other.bank.asked == []
    await later(other, 61)
    assert (await charge(core))["state"] == "approved"
    assert other.bank.asked == []


async def test_one_of_two_workers_asks(core: Core, another_process: Another) -> None:
    await core.create(confirm=True, payment_method="pm_card_timeoutApproved")
    other = another_process()
    core.clock.ahead += timedelta(seconds=11)
    seen = await core.database.rows(SQL.due_charges, core.clock.now(), 10)
    assert len(seen) == 1
    assert len(await core.inquirer._claim(SQL.due_charges, SQL.claim_charges)) == 1
    assert await other.inquirer.look() == 0
    (row,) = await core.rows("SELECT generation, lease_until, due_at, inquiries FROM charge")
    assert (row["generation"], row["inquiries"]) == (1, 1)
    assert row["due_at"] >= row["lease_until"]
    assert await later(other, 61) == 1, "the first never came back"
    assert (await charge(core))["state"] == "approved"


async def test_after_a_day_a_person_must_look(core: Core) -> None:
    await core.create(confirm=True, payment_method="pm_card_timeoutApproved")
    core.bank.pending = True
    waits_s = [11, 61, 241, 1501, 5401, 14_401, 64_801]
    for number, seconds in enumerate(waits_s):
        assert await later(core, seconds) == 1, number
        assert (await charge(core))["case_at"] is None
    assert await later(core, 86_401) == 1
    assert (await charge(core))["case_at"] is not None
    assert await later(core, 86_401) == 1, "daily from then on"
    core.bank.pending = False
    assert await later(core, 86_401) == 1
    assert (await charge(core))["state"] == "approved"


@pytest.mark.parametrize(("command", "kind"), [("capture", "capture"), ("cancel", "void")])
@pytest.mark.parametrize("arrived", [True, False])
async def test_captures_and_voids_are_looked_up_and_sent_again_under_their_key(
    core: Core, command: str, kind: str, arrived: bool
) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    core.bank.answers = [Unknown("cut")]
    with pytest.raises(errors.Unavailable):
        await getattr(core, command)(intent["id"])
    with pytest.raises(errors.UnexpectedState):
        await core.capture(intent["id"])
    core.bank.inquiries = [] if arrived else [port.NotFound()]
    await later(core, 11)
    assert await requests(core) == [(kind, "done")]
    assert (await core.intent(intent["id"]))["status"] == ("succeeded" if command == "capture" else "canceled")
    keys = [asked.key for asked in core.bank.asked[1:]]
    assert len(keys) == (1 if arrived else 2)
    assert len(set(keys)) == 1, "sent again, it is the same request"


async def test_a_sender_that_comes_back_late_undoes_nothing(core: Core, another_process: Another) -> None:
    """It could not reach the bank, and stalled; another worker has sent the capture meanwhile. The money is booked."""
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    core.bank.answers = [NotSent("no connection")]
    core.bank.open.clear()
    stalled = asyncio.create_task(core.capture(intent["id"]))
    async with asyncio.timeout(60):
        while len(core.bank.asked) < 2:  # noqa: ASYNC110 - the bank is a list of what it was asked
            await asyncio.sleep(0)
    other = another_process()
    other.bank.inquiries = [port.NotFound(), port.NotFound()]
    other.bank.open.clear()
    looking = asyncio.create_task(later(other, 61))
    async with asyncio.timeout(60):
        while not other.bank.asked and not looking.done():  # noqa: ASYNC110
            await asyncio.sleep(0)
    core.bank.open.set()
    with pytest.raises(errors.Unavailable):
        await stalled
    other.bank.open.set()
    await looking
    await later(other, 11)
    assert await requests(core) == [("capture", "done")]
    assert (await core.intent(intent["id"]))["amount_received"] == 1000


async def test_what_never_left_this_time_may_have_left_before(core: Core) -> None:
    """An unknown void that is not found and cannot be sent now stays unknown: the first one may still arrive."""
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    core.bank.answers = [Unknown("cut"), NotSent("no connection"), Unknown("cut")]
    with pytest.raises(errors.Unavailable):
        await core.cancel(intent["id"])
    core.bank.inquiries = [port.NotFound(), port.NotFound(), port.NotFound()]
    for seconds in (11, 61):
        await later(core, seconds)
        assert await requests(core) == [("void", "unknown")]
    await later(core, 241)
    assert await requests(core) == [("void", "done")]


async def test_a_late_approval_is_returned_even_if_the_bank_cannot_be_reached_at_first(core: Core) -> None:
    """Part 1 wrote such rows down; now somebody sends them."""
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    for seconds in (11, 61, 241):
        await later(core, seconds)
    await core.cancel(intent["id"])
    core.bank.answers = [NotSent("no connection")]
    await later(core, 31)
    assert await requests(core) == [("void", "created")]
    assert (await charge(core))["state"] == "reversing"
    await later(core, 11)
    assert await requests(core) == [("void", "done")]
    assert (await charge(core))["state"] == "reversed"


async def test_a_late_approval_that_cannot_be_voided_is_refunded(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    for seconds in (11, 61, 241):
        await later(core, seconds)
    core.bank.answers = [Refused("too_late", "It is settled already.")]
    await later(core, 31)
    assert await requests(core) == [("void", "refused"), ("refund", "done")]
    assert (await charge(core))["state"] == "reversed"
    assert (await core.intent(intent["id"]))["status"] == "requires_payment_method"
    assert set((await balances(core)).values()) == {0}


async def test_a_resumed_call_looks_up_what_its_predecessor_sent(core: Core, another_process: Another) -> None:
    """RULES §5: times out after charging, retry → looked up by our own key; one charge."""
    intent = await core.create()
    sent = ConfirmIntent(payment_method="pm_card_visa")
    claim = await core.claim("k")
    core.bank.answers = [Unknown("the process died")]
    await core.payments.confirm([(core.call(claim), intent["id"], sent)])
    await core.rows("UPDATE charge SET state = 'sent' RETURNING 1")
    await core.rows("UPDATE idempotency_key SET state = 'running', status = NULL, body = NULL RETURNING 1")
    other = another_process()
    other.clock.ahead += timedelta(seconds=61)
    (reply,) = await other.payments.confirm([(other.call(await other.claim("k")), intent["id"], sent)])
    assert b'"succeeded"' in reply.body
    assert (await charge(core))["state"] == "approved"
    assert len(core.bank.asked) + len(other.bank.asked) == 1


async def test_what_breaks_one_does_not_hold_the_others(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await core.create(confirm=True, payment_method="pm_card_timeoutApproved")
    second = await core.create(confirm=True, payment_method="pm_card_timeoutApproved")
    tell = core.inquirer._tell_charge

    async def breaks(charge: Any, told: Any) -> Any:
        if charge.payment_intent == first["id"]:
            raise ValueError("poison")
        return await tell(charge, told)

    monkeypatch.setattr(core.inquirer, "_tell_charge", breaks)
    await later(core, 11)
    assert (await core.intent(second["id"]))["status"] == "succeeded"
    assert (await core.intent(first["id"]))["status"] == "processing"
    monkeypatch.undo()
    await later(core, 61)
    assert (await core.intent(first["id"]))["status"] == "succeeded"
