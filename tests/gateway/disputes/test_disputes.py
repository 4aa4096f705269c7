"""RULES §3, §10: a dispute withholds the amount and a fee; won, both are given back; lost, they are gone."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
import stripe

from tallystick.gateway.accounts.accounts import set_fees
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.outcomes import Unknown

Core = Any
Another = Callable[[], Core]


async def ledger(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows if row["sum"]}


async def disputed(core: Core, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A payment that was disputed, and its dispute."""
    await set_fees(core.database, core.account_id, "eur", fixed=10, dispute=150)
    intent = await core.create(confirm=True, payment_method="pm_card_createDispute", **fields)
    await core.inquirer.look()
    (dispute,) = await core.rows("SELECT * FROM dispute")
    return intent, dispute


async def later(core: Core, **ahead: float) -> None:
    core.clock.ahead += timedelta(**ahead)
    await core.contests.send()
    await core.inquirer.look()


async def status(core: Core) -> str:
    (row,) = await core.rows("SELECT status FROM dispute")
    return str(row["status"])


async def test_the_test_card_is_approved_and_then_disputed(core: Core) -> None:
    intent, dispute = await disputed(core)
    assert intent["status"] == "succeeded"
    assert (dispute["status"], dispute["amount"], dispute["reason"]) == ("needs_response", 1000, "fraudulent")
    assert await ledger(core) == {
        "acquirer_receivable": 1000,
        "dispute_clearing": -1000,
        "merchant_pending": 160,
        "fee_revenue": -160,
    }
    assert (await core.events())[-2:] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert (await core.intent(intent["id"]))["status"] == "succeeded", "disputes never change the status"
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.refund(payment_intent=intent["id"])
    assert refused.value.code == "charge_disputed"
    await core.inquirer.look()
    assert len(await core.rows("SELECT 1 FROM dispute")) == 1, "told twice, it is one dispute"


async def test_what_was_refunded_and_is_disputed_all_the_same_is_booked_and_a_case(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_createDispute")
    await core.refund(payment_intent=intent["id"], amount=300)
    await core.inquirer.look()
    (case,) = await core.rows("SELECT kind, amount FROM cases")
    assert case == {"kind": "over_disputed", "amount": 300}
    assert (await ledger(core))["dispute_clearing"] == -1000


async def test_winning_evidence_brings_the_amount_and_the_fee_back(core: Core) -> None:
    intent, dispute = await disputed(core)
    staged = await core.update_dispute(dispute["id"], evidence={"customer_name": "A"}, submit=False)
    assert (staged["status"], staged["evidence"]["customer_name"]) == ("needs_response", "A")
    sent = await core.update_dispute(dispute["id"], evidence={"uncategorized_text": "winning_evidence"})
    assert (sent["status"], sent["evidence_details"]["submission_count"]) == ("under_review", 1)
    assert sent["evidence"]["customer_name"] == "A"
    with pytest.raises(errors.UnexpectedState):
        await core.update_dispute(dispute["id"], evidence={"customer_name": "B"})
    with pytest.raises(errors.UnexpectedState):
        await core.close_dispute(dispute["id"])
    await set_fees(core.database, core.account_id, "eur", dispute=9999)  # what is given back is what was charged
    await later(core, seconds=1)
    await later(core, seconds=31)
    assert await status(core) == "won"
    assert await ledger(core) == {"acquirer_receivable": 1000, "merchant_pending": -990, "fee_revenue": -10}
    assert (await core.events())[-2:] == ["charge.dispute.closed", "charge.dispute.funds_reinstated"]
    assert (await core.refund(payment_intent=intent["id"]))["amount"] == 1000
    await later(core, days=30)
    assert await status(core) == "won"


@pytest.mark.parametrize("way", ["losing_evidence", "closed", "ignored", "unconvincing"])
async def test_a_lost_dispute_keeps_what_it_took(core: Core, way: str) -> None:
    intent, dispute = await disputed(core)
    if way == "closed":
        closed = await core.close_dispute(dispute["id"])
        assert (closed["status"], closed["evidence_details"]["past_due"]) == ("lost", False)
        with pytest.raises(errors.UnexpectedState):
            await core.close_dispute(dispute["id"])
    elif way != "ignored":
        await core.update_dispute(dispute["id"], evidence={"uncategorized_text": way})
    await later(core, seconds=1)
    await later(core, seconds=31)
    assert await status(core) == {"ignored": "needs_response", "unconvincing": "under_review"}.get(way, "lost")
    await later(core, days=8)
    assert await status(core) == "lost"
    assert await ledger(core) == {"merchant_pending": 160, "fee_revenue": -160}
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.refund(payment_intent=intent["id"])
    assert refused.value.code == "charge_disputed"
    assert (await core.events()).count("charge.dispute.closed") == 1


async def test_evidence_is_sent_until_the_bank_has_it(core: Core, caplog: pytest.LogCaptureFixture) -> None:
    _, dispute = await disputed(core)
    await core.update_dispute(dispute["id"], evidence={"uncategorized_text": "winning_evidence"})
    core.bank.contest = lambda contests: _unreachable(contests)
    await later(core, seconds=1)
    assert f"evidence about dispute {dispute['id']} waits: NotSent" in caplog.text
    del core.bank.contest
    await later(core, seconds=5)
    assert (await core.rows("SELECT contest_due_at FROM dispute"))[0]["contest_due_at"] is not None
    await later(core, seconds=61)
    assert (await core.rows("SELECT contest_due_at FROM dispute"))[0]["contest_due_at"] is None
    await later(core, seconds=31)
    assert await status(core) == "won"


async def _unreachable(contests: Any) -> Any:
    from tallystick.kernel.outcomes import NotSent

    return [NotSent("away") for _ in contests]


async def test_what_cannot_be_said_of_a_dispute(core: Core) -> None:
    _, dispute = await disputed(core)
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.update_dispute(dispute["id"], evidence={"colour": "blue"})
    assert refused.value.code == "parameter_unknown"
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.update_dispute("dp_nobody", metadata={"a": "1"})
    assert refused.value.status == 404
    assert (await core.update_dispute(dispute["id"], metadata={"a": "1"}))["metadata"] == {"a": "1"}


def test_disputes_with_the_official_sdk(run_gateway: Callable[..., AbstractContextManager[Any]]) -> None:
    with run_gateway() as gateway:
        api = stripe.StripeClient(gateway.test.secret_key, base_addresses={"api": gateway.url}, max_network_retries=0)
        pay: Any = {"amount": 700, "currency": "eur", "payment_method": "pm_card_createDispute", "confirm": True}
        intents = [api.v1.payment_intents.create(pay) for _ in range(3)]
        found = wait_for(lambda: list(api.v1.disputes.list({"limit": 2}).auto_paging_iter()), lambda all: len(all) == 3)
        assert {one.payment_intent for one in found} == {intent.id for intent in intents}
        [dispute] = api.v1.disputes.list({"payment_intent": intents[0].id}).data
        assert api.v1.disputes.list({"charge": "ch_nobody"}).data == []
        assert api.v1.disputes.retrieve(dispute.id) == dispute
        [withdrawn] = dispute.balance_transactions
        assert (withdrawn.amount, withdrawn.type, withdrawn.reporting_category) == (-700, "adjustment", "dispute")
        charge: Any = api.v1.charges.retrieve(str(dispute.charge))
        assert charge.disputed
        shown: Any = api.v1.disputes.retrieve(dispute.id, {"expand": ["charge.balance_transaction"]})
        assert shown.charge.balance_transaction.amount == 700
        moved: Any
        [moved] = api.v1.balance_transactions.list({"source": dispute.id, "expand": ["data.source"]}).data
        assert moved.id == withdrawn.id
        assert moved.source.object == "dispute"
        updated = api.v1.disputes.update(dispute.id, {"metadata": {"a": "1"}, "evidence": {"customer_name": "A"}})
        assert (updated.status, updated.metadata.to_dict()) == ("under_review", {"a": "1"})
        other = next(one for one in found if one.id != dispute.id)  # the bank tells of them in any order
        assert api.v1.disputes.close(other.id).status == "lost"
        [event] = api.v1.events.list({"type": "charge.dispute.updated"}).data
        assert event.data.object["evidence"]["customer_name"] == "A"
        with pytest.raises(stripe.InvalidRequestError):
            api.v1.disputes.close(other.id)


def wait_for(look: Callable[[], Any], fits: Callable[[Any], bool]) -> Any:
    for _ in range(200):
        found = look()
        if fits(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


async def test_a_dispute_that_is_told_before_we_know_of_the_charge_is_recorded_once_we_do(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the charge was lost on its way: what the bank tells is always recordable (RULES §3)."""
    charge = core.bank.charge

    async def lost(requests: Any) -> Any:
        await charge(requests)
        return [Unknown("the answer was lost")]

    monkeypatch.setattr(core.bank, "charge", lost)
    await core.create(confirm=True, payment_method="pm_card_createDispute")
    await core.inquirer.look()
    assert await core.rows("SELECT 1 FROM dispute") == []
    core.clock.ahead += timedelta(seconds=11)
    await core.inquirer.look()
    (dispute,) = await core.rows("SELECT status, amount FROM dispute")
    assert dispute == {"status": "needs_response", "amount": 1000}
    await core.inquirer.look()
    assert len(await core.rows("SELECT 1 FROM dispute")) == 1


async def test_what_is_captured_later_is_disputed_then(core: Core) -> None:
    """The test card disputes what was taken, and nothing before: of a capture in parts once."""
    await core.rows("UPDATE account SET several_captures = true RETURNING 1")
    intent = await core.create(confirm=True, payment_method="pm_card_createDispute", capture_method="manual")
    await core.inquirer.look()
    assert await core.rows("SELECT 1 FROM dispute") == []
    await core.capture(intent["id"], amount_to_capture=400, final_capture=False)
    await core.inquirer.look()
    await core.capture(intent["id"], amount_to_capture=300)
    await core.inquirer.look()
    (dispute,) = await core.rows("SELECT status, amount FROM dispute")
    assert dispute == {"status": "needs_response", "amount": 400}
