"""RULES §3, §10 on a real PostgreSQL: refunds give back no more than was captured, and every cent is in the books."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from tallystick.gateway.acquirers import port
from tallystick.gateway.invariants.rules import OWNERS, RULES
from tallystick.gateway.payments.payment import Charge
from tallystick.gateway.payments.records import _CHARGE_CHANGES, SQL, StaleWrite, _update
from tallystick.gateway.payments.resolving import NotUnknown, Resolution
from tallystick.gateway.refunds.parameters import CreateRefund
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.idempotency import Replay
from tallystick.kernel.invariants.worker import Invariants
from tallystick.kernel.outcomes import NotSent, Refused, Unknown
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import ConstraintViolated, Statement

Core = Any
Another = Callable[[], Core]


async def balances(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows if row["sum"]}


async def charge(core: Core) -> dict[str, Any]:
    (row,) = await core.rows("SELECT * FROM charge WHERE state <> 'abandoned'")
    return dict(row)


async def refund_of(core: Core, id: str) -> dict[str, Any]:
    (row,) = await core.rows(f"SELECT * FROM refund WHERE id = '{id}'")
    return dict(row)


async def cases(core: Core) -> list[tuple[str, str, int]]:
    return [(row["kind"], row["subject"], row["amount"]) for row in await core.rows("SELECT * FROM cases ORDER BY id")]


async def violations(core: Core) -> list[Any]:
    """What the gateway's own rules find wrong."""
    return await Invariants(core.database, StillClock(), RULES, OWNERS, every_s=1.0).run_once()


class StillClock(SystemClock):
    """Nobody waits."""

    async def sleep(self, seconds: float) -> None:
        return


async def later(core: Core, seconds: float) -> int:
    core.clock.ahead += timedelta(seconds=seconds)
    count: int = await core.inquirer.look()
    return count


async def paid(core: Core, **fields: Any) -> dict[str, Any]:
    intent: dict[str, Any] = await core.create(**{"confirm": True, "payment_method": "pm_card_visa", **fields})
    assert intent["status"] == "succeeded"
    return intent


async def test_a_whole_refund(core: Core) -> None:
    intent = await paid(core)
    refund = await core.refund(payment_intent=intent["id"], reason="requested_by_customer", metadata={"a": "1"})
    assert refund["id"].startswith("re_")
    assert (refund["status"], refund["amount"], refund["currency"]) == ("succeeded", 1000, "eur")
    assert (refund["charge"], refund["payment_intent"]) == (intent["latest_charge"], intent["id"])
    assert (refund["reason"], refund["metadata"]) == ("requested_by_customer", {"a": "1"})
    assert refund["destination_details"]["card"]["reference_status"] == "available"
    row = await charge(core)
    assert (row["amount_refunded"], row["refund_pending"]) == (1000, 0)
    assert await balances(core) == {}, "nobody owes anybody anything"
    assert (await core.events())[3:] == ["refund.created", "charge.refunded", "refund.updated"]
    assert (await core.intent(intent["id"]))["status"] == "succeeded", "refunds never change the status"
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.refund(payment_intent=intent["id"])
    assert refused.value.code == "charge_already_refunded"
    assert refused.value.final


async def test_parts_of_a_charge(core: Core) -> None:
    intent = await paid(core)
    first = await core.refund(charge=intent["latest_charge"], amount=300)
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.refund(charge=intent["latest_charge"], amount=701)
    assert (refused.value.code, refused.value.param) == ("charge_already_refunded", "amount")
    rest = await core.refund(payment_intent=intent["id"])
    assert (first["amount"], rest["amount"]) == (300, 700)
    events = await core.rows("SELECT object::jsonb AS o FROM event WHERE type = 'charge.refunded' ORDER BY id")
    shown = [(row["o"]) for row in events]
    assert ['"amount_refunded": 300' in one and '"refunded": false' in one for one in shown] == [True, False]
    assert ['"amount_refunded": 1000' in one and '"refunded": true' in one for one in shown] == [False, True]


async def test_what_cannot_be_refunded(core: Core) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.refund(payment_intent="pi_nobody")
    assert (refused.value.code, refused.value.param) == ("resource_missing", "payment_intent")
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.refund(charge="ch_nobody")
    assert (refused.value.code, refused.value.param) == ("resource_missing", "charge")
    wrong: list[dict[str, Any]] = [
        {},
        {"charge": "a", "payment_intent": "b"},
        {"payment_intent": "a", "reason": "bored"},
    ]
    for fields in wrong:
        with pytest.raises(errors.InvalidRequest):
            CreateRefund(**fields)
    for intent in (
        await core.create(),
        await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual"),
        await core.cancel((await core.create())["id"]),
    ):
        with pytest.raises(errors.UnexpectedState) as state:
            await core.refund(payment_intent=intent["id"])
        assert state.value.code == "payment_intent_unexpected_state"
        assert state.value.extra["payment_intent"]["id"] == intent["id"]
    assert await core.rows("SELECT id FROM refund") == []


async def test_what_a_dispute_withholds_is_not_refunded(core: Core) -> None:
    """RULES §3: 400 charge_disputed."""
    intent = await paid(core)
    await core.rows("UPDATE charge SET dispute_withheld = 600 RETURNING 1")
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.refund(payment_intent=intent["id"], amount=401)
    assert refused.value.code == "charge_disputed"
    assert (await core.refund(payment_intent=intent["id"], amount=400))["status"] == "succeeded"


async def test_what_was_captured_in_part_is_refunded_in_part(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    await core.capture(intent["id"], amount_to_capture=400)
    with pytest.raises(errors.UnexpectedState):
        await core.refund(payment_intent=intent["id"], amount=401)
    assert (await core.refund(payment_intent=intent["id"]))["amount"] == 400


async def test_fifty_refunds_at_once_give_back_no_more_than_was_captured(core: Core, another_process: Another) -> None:
    intent = await paid(core)
    processes = [core, another_process()]

    async def one(number: int) -> str:
        try:
            refund = await processes[number % 2].refund(payment_intent=intent["id"], amount=300)
        except errors.UnexpectedState as error:
            return str(error.code)
        return str(refund["status"])

    ended = Counter(await asyncio.gather(*(one(number) for number in range(50))))
    assert 1 <= ended["succeeded"] <= 3
    assert set(ended) <= {"succeeded", "charge_already_refunded", "payment_intent_unexpected_state"}
    while ended["succeeded"] < 3:
        ended[await one(0)] += 1
    assert await one(0) == "charge_already_refunded"
    row = await charge(core)
    assert (row["amount_refunded"], row["refund_pending"]) == (900, 0)
    assert await balances(core) == {"acquirer_receivable": 100, "merchant_pending": -100}


async def test_the_database_refuses_what_is_not_there_to_be_given_back(core: Core) -> None:
    """The conditional update says it a second time (RULES §3), whoever writes."""
    intent = await paid(core)
    core.bank.open.clear()
    waiting = asyncio.create_task(core.refund(payment_intent=intent["id"], amount=600))
    for _ in range(500):
        if await core.rows("SELECT 1 FROM charge WHERE refund_pending = 600"):
            break
        await asyncio.sleep(0.01)
    (row,) = await core.rows("SELECT * FROM charge")
    before = Charge(**{field: row[field] for field in Charge.__struct_fields__})
    after = replace(before, refund_pending=1001)

    async def write_past_the_limit() -> None:
        async with core.database.transaction() as tx:
            await _update(tx, SQL.update_charges, [(before, after)], "state", _CHARGE_CHANGES, due=core.clock.now())

    with pytest.raises(StaleWrite):
        await write_past_the_limit()
    core.bank.open.set()
    await waiting
    statement = Statement("of_a_test", "UPDATE charge SET refund_pending = -1 WHERE account_id = $1::text")
    with pytest.raises(ConstraintViolated):
        await core.database.execute(statement, core.account_id)


async def test_a_refund_that_the_bank_refuses_has_failed_and_the_amount_is_free(core: Core) -> None:
    intent = await paid(core)
    core.bank.answers = [Refused("insufficient_funds", "no")]
    refund = await core.refund(payment_intent=intent["id"])
    assert (refund["status"], refund["failure_reason"]) == ("failed", "insufficient_funds")
    assert (await core.events())[3:] == ["refund.created", "refund.updated", "refund.failed"]
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    assert (await core.refund(payment_intent=intent["id"]))["status"] == "succeeded"


@pytest.mark.parametrize("arrived", [True, False])
async def test_an_unknown_refund_is_pending_looked_up_and_done_once(core: Core, arrived: bool) -> None:
    intent = await paid(core)
    core.bank.answers = [Unknown("cut")]
    refund = await core.refund(payment_intent=intent["id"], amount=700)
    assert refund["status"] == "pending"
    assert await balances(core) == {
        "acquirer_receivable": 1000,
        "merchant_pending": -300,
        "refund_clearing": -700,
    }
    with pytest.raises(errors.UnexpectedState):
        await core.refund(payment_intent=intent["id"], amount=1)
    core.bank.inquiries = [] if arrived else [port.NotFound()]
    await later(core, 11)
    assert (await refund_of(core, refund["id"]))["status"] == "succeeded"
    assert await balances(core) == {"acquirer_receivable": 300, "merchant_pending": -300}
    keys = [asked.key for asked in core.bank.asked if isinstance(asked, port.RefundRequest)]
    assert len(keys) == (1 if arrived else 2)
    assert len(set(keys)) == 1


async def test_a_refund_that_never_left_is_sent_again(core: Core) -> None:
    intent = await paid(core)
    core.bank.answers = [NotSent("no connection"), NotSent("no connection")]
    refund = await core.refund(payment_intent=intent["id"])
    assert refund["status"] == "pending"
    await later(core, 11)
    assert (await refund_of(core, refund["id"]))["status"] == "pending"
    await later(core, 11)
    assert (await refund_of(core, refund["id"]))["status"] == "succeeded"


async def test_what_cannot_leave_is_not_unknown(core: Core) -> None:
    """A bank that cannot be reached for two minutes is no case, and what is unknown afterwards is asked about soon."""
    intent = await paid(core)
    core.bank.answers = [NotSent("no connection")] * 10 + [Unknown("cut")]
    await core.refund(payment_intent=intent["id"])
    for _ in range(10):
        assert await later(core, 11) == 1
    assert await core.rows("SELECT kind FROM cases") == []
    core.bank.pending = True
    assert [await later(core, seconds) for seconds in (11, 61, 241)] == [1, 1, 1]


async def test_a_refund_bounces(core: Core) -> None:
    """RULES §3: succeeded → failed; the amount comes back."""
    intent = await paid(core, payment_method="pm_card_refundFail")
    refund = await core.refund(payment_intent=intent["id"], amount=400)
    assert refund["status"] == "succeeded"
    assert await later(core, 31) == 1
    row = await refund_of(core, refund["id"])
    assert (row["status"], row["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert (await charge(core))["amount_refunded"] == 0
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    assert (await core.events())[-2:] == ["refund.updated", "refund.failed"]
    assert await later(core, 31) == 0, "told once"


async def test_told_twice_a_bounce_is_booked_once(core: Core) -> None:
    intent = await paid(core, payment_method="pm_card_refundFail")
    await core.refund(payment_intent=intent["id"])
    await core.rows("UPDATE simulated_operation SET tells_at = created_at RETURNING 1")
    await core.inquirer.look()
    await core.rows("UPDATE simulated_operation SET tells_at = created_at RETURNING 1")
    await core.inquirer.look()
    kinds = Counter(row["kind"] for row in await core.rows("SELECT kind FROM ledger_transaction"))
    assert kinds == {"charge": 1, "refund": 1, "refund_paid": 1, "refund_failure": 1}


async def test_a_retry_under_the_same_key_makes_no_second_refund(core: Core, another_process: Another) -> None:
    """RULES §5: killed between its commits, the call is resumed by its retry; one refund."""
    intent = await paid(core)
    claim = await core.claim("k")
    sent = CreateRefund(payment_intent=intent["id"], amount=600)
    core.bank.answers = [Unknown("the process died")]
    await core.refunds.create([(core.call(claim), sent)])
    await core.rows("UPDATE idempotency_key SET state = 'running', status = NULL, body = NULL RETURNING 1")
    await core.rows("UPDATE acquirer_request SET state = 'sent' RETURNING 1")
    other = another_process()
    other.clock.ahead += timedelta(seconds=61)
    (reply,) = await other.refunds.create([(other.call(await other.claim("k")), sent)])
    assert b'"status":"succeeded"' in reply.body
    assert [row["amount"] for row in await core.rows("SELECT amount FROM refund")] == [600]
    assert await other.claim("k") == Replay(200, reply.body)
    assert other.bank.asked == []


async def test_no_other_money_moves_while_a_refund_is_under_way(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    await core.rows("UPDATE account SET several_captures = true RETURNING 1")
    await core.capture(intent["id"], amount_to_capture=300, final_capture=False)
    core.bank.answers = [Unknown("cut")]
    await core.refund(payment_intent=intent["id"], amount=100)
    for command in (core.capture(intent["id"]), core.cancel(intent["id"])):
        with pytest.raises(errors.UnexpectedState):
            await command
    await later(core, 11)
    captured = await core.capture(intent["id"])
    assert (captured["status"], captured["amount_received"]) == ("succeeded", 1000)
    assert await balances(core) == {"acquirer_receivable": 900, "merchant_pending": -900}


@pytest.mark.parametrize("meanwhile", [False, True])
async def test_a_refund_taken_for_failed_that_was_done_is_booked_marked_and_a_case(
    core: Core, meanwhile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES §3: limits guard our commands; an unknown refund that turns out done is always recordable."""
    intent = await paid(core, metadata={"order_id": "ord_1", "attempt": "1"})
    core.bank.answers = [Refused("insufficient_funds", "no")]
    failed = await core.refund(payment_intent=intent["id"], amount=700, metadata={"order_id": "ord_1"})
    assert failed["status"] == "failed"
    if meanwhile:
        await core.refund(payment_intent=intent["id"])
    (request,) = await core.rows(f"SELECT id FROM acquirer_request WHERE refund = '{failed['id']}'")
    notice = port.Notice(core.account_id, request["id"], "refunded", "bank_17")
    for _ in range(2):  # the bank may tell it twice
        monkeypatch.setattr(core.bank, "notices", told(notice))
        await core.inquirer.look()
    refunds = {row["id"]: row for row in await core.rows("SELECT * FROM refund ORDER BY id")}
    assert refunds[failed["id"]]["status"] == "failed", (
        "what has failed stays so: those who were told cannot unlearn it"
    )
    [found] = [row for row in refunds.values() if row["over_refunded"]]
    assert (found["status"], found["amount"], found["reference"]) == ("succeeded", 700, "bank_17")
    assert "ord_1" in found["metadata"], "the merchant finds its order by it"
    assert (await charge(core))["amount_refunded"] == (1700 if meanwhile else 700)
    left = -700 if meanwhile else 300
    assert await balances(core) == {"acquirer_receivable": left, "merchant_pending": -left}
    assert (await core.events())[-2:] == ["refund.created", "charge.refunded"]
    assert await cases(core) == [("over_refunded", found["id"], 700)]
    assert await violations(core) == []
    with pytest.raises(errors.UnexpectedState):
        await core.refund(payment_intent=intent["id"], amount=301)


async def test_what_came_back_after_all_of_a_refund_taken_for_failed_is_the_merchants_again(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = await paid(core)
    core.bank.answers = [Refused("insufficient_funds", "no")]
    failed = await core.refund(payment_intent=intent["id"])
    (request,) = await core.rows(f"SELECT id FROM acquirer_request WHERE refund = '{failed['id']}'")
    for kind in ("refunded", "refund_failed", "refund_failed", "refunded"):
        notice = port.Notice(core.account_id, request["id"], kind, "bank_17", "account_closed")
        monkeypatch.setattr(core.bank, "notices", told(notice))
        await core.inquirer.look()
    assert [row["status"] for row in await core.rows("SELECT status FROM refund ORDER BY id")] == ["failed", "failed"]
    assert (await charge(core))["amount_refunded"] == 0
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    assert await violations(core) == []


async def test_a_late_answer_is_not_lost_when_an_operator_had_given_the_refund_up(core: Core) -> None:
    """An operator says `refused`, then learns that it was done: by the same command, with evidence."""
    intent = await paid(core)
    core.bank.answers = [Unknown("cut")]
    refund = await core.refund(payment_intent=intent["id"])
    (request,) = await core.rows("SELECT id FROM acquirer_request")

    def said(outcome: Literal["done", "refused"]) -> Resolution:
        return Resolution(
            account=core.account_id,
            livemode=False,
            id=request["id"],
            outcome=outcome,
            reference="bank_17",
            evidence="the bank's mail",
            operator="Ada",
        )

    await core.resolving.resolve(said("refused"))
    assert (await refund_of(core, refund["id"]))["status"] == "failed"
    with pytest.raises(NotUnknown):
        await core.resolving.resolve(said("refused"))
    await core.resolving.resolve(said("done"))
    assert [kind for kind, _, _ in await cases(core)] == ["over_refunded"]
    assert await balances(core) == {}
    with pytest.raises(NotUnknown):
        await core.resolving.resolve(said("done"))
    assert await violations(core) == []


@pytest.mark.parametrize("recorded", [True, False])
async def test_the_return_of_a_late_approval_bounces(
    core: Core, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES §3, §10: both legs are booked, the merchant is told of a refund that failed, a person has a case; also when
    the bank tells of it before we have recorded that it was given back."""
    created = await core.create(
        confirm=True, payment_method="pm_card_approvedAfterCancel", metadata={"order_id": "ord_1", "attempt": "1"}
    )
    for seconds in (11, 61, 241):
        await later(core, seconds)
    await core.cancel(created["id"])
    core.bank.answers = [Refused("already_settled", "too late to void"), *([] if recorded else [Unknown("cut")])]
    await later(core, 31)
    (request,) = await core.rows("SELECT id, state FROM acquirer_request WHERE kind = 'refund'")
    assert request["state"] == ("done" if recorded else "unknown")
    notice = port.Notice(core.account_id, request["id"], "refund_failed", "bank_18", "account_closed")
    for _ in range(2):
        monkeypatch.setattr(core.bank, "notices", told(notice))
        await core.inquirer.look()
    assert (await charge(core))["state"] == "reversed"
    (row,) = await core.rows("SELECT * FROM refund")
    assert (row["status"], row["failure_reason"], row["amount"]) == ("failed", "account_closed", 1000)
    assert "ord_1" in row["metadata"]
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    kinds = Counter(one["kind"] for one in await core.rows("SELECT kind FROM ledger_transaction"))
    assert kinds == {"charge": 1, "void": 1, "refund_failure": 1}
    assert (await core.events())[-3:] == ["charge.reversed", "refund.created", "refund.failed"]
    assert await cases(core) == [("return_bounced", row["id"], 1000)]
    assert await violations(core) == []


def told(*notices: port.Notice) -> Callable[..., Any]:
    """What a bank tells once."""
    left = list(notices)

    async def tell(at: Any, items_max: int) -> list[port.Notice]:
        now, left[:] = list(left), []
        return now

    return tell


async def test_a_refund_that_has_not_left_can_be_canceled(core: Core) -> None:
    """RULES §3: the amount is the merchant's again, and may be refunded again."""
    intent = await paid(core)
    core.bank.answers.append(NotSent("away"))
    refund = await core.refund(payment_intent=intent["id"], amount=400)
    assert refund["status"] == "pending"
    canceled = await core.cancel_refund(refund["id"])
    assert canceled["status"] == "canceled"
    row = await charge(core)
    assert (row["amount_refunded"], row["refund_pending"]) == (0, 0)
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    assert (await core.events())[-1] == "refund.updated"
    await later(core, 3600)
    assert (await refund_of(core, refund["id"]))["status"] == "canceled", "it is not sent any more"
    assert (await core.refund(payment_intent=intent["id"]))["amount"] == 1000
    with pytest.raises(errors.UnexpectedState):
        await core.cancel_refund(refund["id"])


async def test_a_refund_that_the_bank_may_have_cannot_be_canceled(core: Core) -> None:
    intent = await paid(core)
    core.bank.answers.append(Unknown("gone"))
    refund = await core.refund(payment_intent=intent["id"], amount=400)
    with pytest.raises(errors.UnexpectedState):
        await core.cancel_refund(refund["id"])
    await later(core, 20)
    assert (await refund_of(core, refund["id"]))["status"] == "succeeded"
    with pytest.raises(errors.UnexpectedState):
        await core.cancel_refund(refund["id"])
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.cancel_refund("re_nobody")
    assert refused.value.status == 404


async def test_a_refunds_metadata_can_be_changed_whatever_became_of_it(core: Core) -> None:
    intent = await paid(core)
    refund = await core.refund(payment_intent=intent["id"], amount=400, metadata={"a": "1"})
    changed = await core.update_refund(refund["id"], metadata={"a": "", "b": "2"})
    assert (changed["metadata"], changed["status"]) == ({"b": "2"}, "succeeded")
    events = len(await core.events())
    assert (await core.update_refund(refund["id"]))["metadata"] == {"b": "2"}
    assert len(await core.events()) == events, "nothing changed, nothing is told"


async def test_a_cancel_after_a_part_was_captured_ends_with_the_part(core: Core) -> None:
    """RULES §3: several captures where the account allows them; the rest is released."""
    await core.rows("UPDATE account SET several_captures = true RETURNING 1")
    held = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    part = await core.capture(held["id"], amount_to_capture=300, final_capture=False)
    assert (part["status"], part["amount_received"], part["amount_capturable"]) == ("requires_capture", 300, 700)
    ended = await core.cancel(held["id"])
    assert (ended["status"], ended["amount_received"], ended["amount_capturable"]) == ("succeeded", 300, 0)
    assert await balances(core) == {"acquirer_receivable": 300, "merchant_pending": -300}
