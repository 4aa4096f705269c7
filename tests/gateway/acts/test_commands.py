"""What operators do about a payment is done once, however often it is asked for, by however many (RULES §5, §13)."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.acquirers import port
from tallystick.gateway.acts.commands import Acts, GivingBack
from tallystick.gateway.payments.inquiring import Inquiries
from tallystick.gateway.stripe_wire.keyed import Keyed, of_operators
from tallystick.kernel.idempotency import Replay
from tallystick.kernel.operators.problems import Conflict, NotFound, Unavailable, UnderWay
from tallystick.kernel.outcomes import Done, Unknown
from tallystick.kernel.problems import FieldsRefused

Core = Any


def acts_of(core: Core) -> Acts:
    keyed = Keyed(core.idempotency, core.database, core.clock)
    inquiries = Inquiries(core.carrying._calling, core.database)
    return Acts(core.payments, core.refunds, inquiries, core.carrying, keyed, core.database, core.clock, core.entropy)


@pytest.fixture
def acts(core: Core) -> Acts:
    return acts_of(core)


async def paid(core: Core, **fields: Any) -> str:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", **fields)
    id: str = intent["id"]
    return id


async def refunded(core: Core) -> list[int]:
    return [row["amount"] for row in await core.rows("SELECT amount FROM refund ORDER BY id")]


async def test_ten_clicks_give_back_once(core: Core, acts: Acts) -> None:
    """One form, sent ten times at once, and once more when all is over."""
    payment = await acts.standing(await paid(core))
    assert (payment.refundable, payment.account, payment.unknown) == (1000, core.account_id, [])
    wanted = GivingBack(refundable=1000, amount=300)
    told = await asyncio.gather(*(acts.refund(payment, wanted, "k") for _ in range(10)), return_exceptions=True)
    assert {type(one) for one in told} <= {type(await acts.refund(payment, wanted, "k")), UnderWay}
    assert await refunded(core) == [300]
    assert len([one for one in core.bank.asked if isinstance(one, port.RefundRequest)]) == 1


async def test_ten_people_who_saw_the_same_give_back_once(core: Core, acts: Acts) -> None:
    """Each with a key of their own, from another process: the first is done, the others saw what is no longer true."""
    payment = await acts.standing(await paid(core))
    wanted = GivingBack(refundable=1000, amount=300)
    doors = (acts, acts_of(core))
    told = await asyncio.gather(
        *(doors[number % 2].refund(payment, wanted, f"k{number}") for number in range(10)), return_exceptions=True
    )
    assert Counter(type(one) for one in told)[Conflict] == 9
    assert await refunded(core) == [300]
    with pytest.raises(Conflict, match="700 could be given back by now"):
        await acts.refund(payment, wanted, "k10")
    assert (await acts.refund(payment, GivingBack(refundable=700, amount=300), "k11")).amount == 300
    assert await refunded(core) == [300, 300], "who looks again may go on"


async def test_a_refusal_is_kept_under_its_key(core: Core, acts: Acts) -> None:
    payment = await acts.standing(await paid(core))
    for _ in range(2):
        with pytest.raises(Conflict, match="somebody was faster"):
            await acts.refund(payment, GivingBack(refundable=999), "k")
    with pytest.raises(Conflict, match="same parameters"):
        await acts.refund(payment, GivingBack(refundable=1000, amount=5), "k")
    assert await refunded(core) == []


async def test_more_than_there_is_and_words_that_are_none(core: Core, acts: Acts) -> None:
    payment = await acts.standing(await paid(core))
    with pytest.raises(Conflict, match="greater than unrefunded"):
        await acts.refund(payment, GivingBack(refundable=1000, amount=1001), "k1")
    with pytest.raises(FieldsRefused):
        await acts.refund(payment, GivingBack(refundable=1000, reason="why_not"), "k2")
    with pytest.raises(FieldsRefused):
        await acts.cancel(payment, "why_not", "k3")
    with pytest.raises(Conflict):
        await acts.cancel(payment, None, "k4")
    with pytest.raises(NotFound):
        await acts.standing("pi_nothing")
    assert await refunded(core) == []


async def test_an_act_that_broke_off_is_ended_by_itself(core: Core, acts: Acts, another_process: Any) -> None:
    """The process dies while the bank is asked: another one ends it, and whoever asks again is told of that refund."""
    payment = await acts.standing(await paid(core))
    core.bank.open.clear()
    waiting = asyncio.create_task(acts.refund(payment, GivingBack(refundable=1000), "k"))
    for _ in range(1_000):
        if await core.rows("SELECT 1 FROM acquirer_request WHERE state = 'sent'"):
            break
        await asyncio.sleep(0.01)
    for task in (waiting, *core.carrying._under_way):
        task.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    other = another_process()
    other.clock.ahead += timedelta(seconds=361)
    await other.completer.run_once()
    kept = await other.claim(of_operators("k"))
    assert not isinstance(kept, Replay), "the fingerprint is of another call"
    told = await acts_of(other).refund(payment, GivingBack(refundable=1000), "k")
    assert told.amount == 1000
    assert await refunded(core) == [1000]
    assert await core.rows("SELECT id FROM refund") == [{"id": told.refund}]


async def test_what_the_account_is_told_names_no_key_of_ours(core: Core, acts: Acts) -> None:
    """Its own key of the same letters is another one, and events of what operators do have none."""
    payment = await acts.standing(await paid(core))
    await core.claim("k")
    await acts.refund(payment, GivingBack(refundable=1000), "k")
    rows = await core.rows("SELECT idempotency_key, request_id FROM event WHERE type LIKE 'refund.%'")
    assert rows
    assert {row["idempotency_key"] for row in rows} == {None}
    assert all(row["request_id"].startswith("req_") for row in rows)


async def test_what_was_authorised_is_released_once(core: Core, acts: Acts) -> None:
    payment = await acts.standing(await paid(core, capture_method="manual"))
    assert (payment.status, payment.amount_capturable, payment.refundable) == ("requires_capture", 1000, 0)
    for _ in range(2):
        assert (await acts.cancel(payment, "fraudulent", "k")).status == "canceled"
    with pytest.raises(Conflict):
        await acts.cancel(payment, "fraudulent", "k2")
    assert len([one for one in core.bank.asked if isinstance(one, port.VoidRequest)]) == 1


async def test_a_bank_that_does_not_answer_is_told_and_asked_again_under_the_key(core: Core, acts: Acts) -> None:
    payment = await acts.standing(await paid(core, capture_method="manual"))
    core.bank.answers = [Unknown("cut")]
    with pytest.raises(Unavailable, match="not answered yet"):
        await acts.cancel(payment, None, "k")
    assert (await acts.cancel(payment, None, "k")).status == "canceled"


async def test_asked_now_the_bank_tells(core: Core, acts: Acts) -> None:
    """A charge and a refund of which nobody knows: known, and recorded by the one write path."""
    payment = await acts.standing(await paid(core))
    core.bank.answers = [Unknown("cut")]
    await core.refund(payment_intent=payment.id)
    intent = await core.create(confirm=True, payment_method="pm_card_timeoutApproved")
    charged = await acts.standing(intent["id"])
    assert charged.unknown == [intent["latest_charge"]]
    assert [(one.kind, one.known) for one in await acts.inquire(charged)] == [("charge", True)]
    assert (await acts.standing(intent["id"])).status == "succeeded"
    core.bank.inquiries = [Done("bank_1")]
    assert [one.kind for one in await acts.inquire(await acts.standing(payment.id))] == ["refund"]
    assert await core.rows("SELECT status FROM refund") == [{"status": "succeeded"}]
    assert await acts.inquire(charged) == []


async def test_asking_often_changes_nothing_of_when_a_charge_is_given_up(core: Core, acts: Acts) -> None:
    """What the bank does not know may still come; how long is counted in time, and not in questions (RULES §3)."""
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    payment = await acts.standing(intent["id"])
    before = await core.rows("SELECT inquiries, due_at, lease_until, state FROM charge")
    core.bank.inquiries = [port.NotFound()] * 20
    for _ in range(20):
        [asked] = await acts.inquire(payment)
        assert not asked.known
    assert await core.rows("SELECT inquiries, due_at, lease_until, state FROM charge") == before
