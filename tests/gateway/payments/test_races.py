"""RULES §3 and §5 when many try at once, and when whoever tries is gone in the middle: two processes, one database."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tallystick.gateway.payments import carrying
from tallystick.gateway.payments.parameters import CancelIntent, CaptureIntent, ConfirmIntent, CreateIntent
from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Reply
from tallystick.gateway.stripe_wire.keyed import Keyed
from tallystick.kernel.batching import SERIALIZATION_TRIES_MAX, QueueFull
from tallystick.kernel.idempotency import Claim, ClaimRequest, LeaseLost, Replay, Scope
from tallystick.kernel.outcomes import NotSent
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed

Core = Any
Another = Callable[[], Core]


def kinds(answers: list[Any]) -> Counter[str]:
    return Counter(type(answer).__name__ for answer in answers)


async def until(core: Core, sql: str) -> None:
    """Wait until a query finds something."""
    async with asyncio.timeout(10):
        while not await core.rows(sql):  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.01)


async def kill(core: Core, *waiting: "asyncio.Task[Any]") -> None:
    """The process is gone: nothing that it had under way goes on."""
    tasks = [*core.carrying._under_way, *waiting]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_fifty_confirms_of_one_intent_make_one_charge(core: Core, another_process: Another) -> None:
    intent = await core.create(payment_method="pm_card_visa")
    other = another_process()
    sides = [core if number % 2 else other for number in range(50)]
    answers = await asyncio.gather(
        *(side.payments.confirm([(side.call(), intent["id"], ConfirmIntent())]) for side in sides)
    )
    assert kinds([answer for (answer,) in answers]) == {"Reply": 1, "UnexpectedState": 49}
    assert len(core.bank.asked) + len(other.bank.asked) == 1
    assert [row["state"] for row in await core.rows("SELECT state FROM charge")] == ["approved"]
    assert len(await core.rows("SELECT id FROM ledger_transaction")) == 1


async def test_fifty_captures_take_the_money_once(core: Core, another_process: Another) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    other = another_process()
    answers = await asyncio.gather(
        *(
            side.payments.capture([(side.call(), intent["id"], CaptureIntent(amount_to_capture=600))])
            for side in [core, other] * 25
        )
    )
    assert kinds([answer for (answer,) in answers]) == {"Reply": 1, "UnexpectedState": 49}
    assert (await core.intent(intent["id"]))["amount_received"] == 600


async def test_confirm_against_cancel_ends_in_one_of_two_ways(core: Core, another_process: Another) -> None:
    other = another_process()
    ends: Counter[str] = Counter()
    for number in range(30):
        intent = await core.create(payment_method="pm_card_visa")
        asked = len(core.bank.asked)
        both = [
            core.payments.confirm([(core.call(), intent["id"], ConfirmIntent())]),
            other.payments.cancel([(other.call(), intent["id"], CancelIntent())]),
        ]
        ((confirmed,), (canceled,)) = await asyncio.gather(*(both if number % 2 else reversed(both)))
        if not number % 2:
            confirmed, canceled = canceled, confirmed
        status = (await core.intent(intent["id"]))["status"]
        ends[status] += 1
        if status == "succeeded":
            assert isinstance(confirmed, Reply)
            assert isinstance(canceled, errors.UnexpectedState)
        else:
            assert status == "canceled"
            assert isinstance(canceled, Reply)
            assert isinstance(confirmed, errors.UnexpectedState)
            assert len(core.bank.asked) == asked, "what is canceled is not charged"
    assert sum(ends.values()) == 30


async def test_capture_against_cancel_ends_in_one_of_two_ways(core: Core, another_process: Another) -> None:
    other = another_process()
    for _ in range(10):
        intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
        answers = await asyncio.gather(
            core.payments.capture([(core.call(), intent["id"], CaptureIntent())]),
            other.payments.cancel([(other.call(), intent["id"], CancelIntent())]),
        )
        assert kinds([answer for (answer,) in answers]) == {"Reply": 1, "UnexpectedState": 1}
        row = await core.intent(intent["id"])
        assert (row["status"], row["amount_received"]) in (("succeeded", 1000), ("canceled", 0))


async def test_a_kill_between_the_commits_leaves_one_charge_and_no_second(core: Core, another_process: Another) -> None:
    """Charge row committed before the acquirer is called; nobody sends another one."""
    intent = await core.create(payment_method="pm_card_visa")
    core.bank.open.clear()
    waiting = asyncio.create_task(core.payments.confirm([(core.call(), intent["id"], ConfirmIntent())]))
    await until(core, "SELECT 1 FROM charge WHERE state = 'sent'")
    await kill(core, waiting)
    other = another_process()
    for command in (other.confirm, other.cancel):
        with pytest.raises(errors.UnexpectedState):
            await command(intent["id"])
    assert [row["state"] for row in await core.rows("SELECT state FROM charge")] == ["sent"]
    assert other.bank.asked == []


async def test_a_retry_after_the_kill_resumes_and_sends_nothing(core: Core, another_process: Another) -> None:
    """kill -9 after the local row: the retry under the same key finds the charge of the first."""
    claim = await core.claim("k")
    sent = CreateIntent(amount=5, currency="eur", confirm=True, payment_method="pm_card_visa")
    core.bank.open.clear()
    waiting = asyncio.create_task(core.payments.create([(core.call(claim), sent)]))
    await until(core, "SELECT 1 FROM charge WHERE state = 'sent'")
    await kill(core, waiting)
    other = another_process()
    other.bank.pending = True
    other.clock.ahead += timedelta(seconds=61)
    taken = await other.claim("k")
    assert isinstance(taken, Claim)
    assert taken.recovery is not None
    (answer,) = await other.payments.create([(other.call(taken), sent)])
    assert isinstance(answer, Reply)
    assert b'"status":"processing"' in answer.body
    assert other.bank.asked == []
    assert [row["state"] for row in await core.rows("SELECT state FROM charge")] == ["unknown"]
    assert len(await core.rows("SELECT id FROM payment_intent")) == 1
    assert await other.claim("k") == Replay(200, answer.body)


@pytest.mark.parametrize("card", ["pm_card_visa", "pm_card_chargeDeclined", "pm_card_authenticationRequired"])
async def test_a_retry_after_the_result_was_recorded_answers_the_same(core: Core, card: str) -> None:
    """Finished but not answered: what is answered then follows from the charge."""
    intent = await core.create()
    claim = await core.claim("k")
    call = (core.call(claim), intent["id"], ConfirmIntent(payment_method=card))
    (first,) = await core.payments.confirm([call])
    asked = len(core.bank.asked)
    (row,) = await core.rows("SELECT recovery FROM idempotency_key")
    resumed = core.call(Claim(claim.scope, claim.generation, row["recovery"]))
    await core.rows("UPDATE idempotency_key SET state = 'running', status = NULL, body = NULL RETURNING 1")
    (again,) = await core.payments.confirm([(resumed, intent["id"], ConfirmIntent(payment_method=card))])
    assert type(again) is type(first)
    replies = [one.reply() if isinstance(one, errors.WireError) else one for one in (first, again)]
    assert replies[0].status == replies[1].status
    assert msgspec.json.decode(replies[0].body) == msgspec.json.decode(replies[1].body)
    assert len(core.bank.asked) == asked
    assert len(await core.rows("SELECT id FROM charge")) == 1


async def test_a_retry_of_what_never_left_executes(core: Core) -> None:
    """acquirer refuses connection | retry | executes, one charge."""
    intent = await core.create()
    keyed = Keyed(core.idempotency, core.database, core.clock)
    request = ClaimRequest(Scope(core.account_id, "test", "k"), b"f")

    async def confirm(claim: Claim) -> Reply:
        sent = ConfirmIntent(payment_method="pm_card_visa")
        (answer,) = await core.payments.confirm([(core.call(claim), intent["id"], sent)])
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Reply)
        return answer

    core.bank.answers += [NotSent("refused"), NotSent("refused")]
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            await keyed.run(request, confirm)
    executed = await keyed.run(request, confirm)
    assert not executed[1]
    assert await keyed.run(request, confirm) == (executed[0], True)
    states = [row["state"] for row in await core.rows("SELECT state FROM charge ORDER BY id")]
    assert states == ["abandoned", "abandoned", "approved"]


@pytest.mark.parametrize("command", ["capture", "cancel"])
async def test_a_retry_of_a_capture_or_void_resumes(core: Core, command: str, another_process: Another) -> None:
    parameters = CaptureIntent() if command == "capture" else CancelIntent()
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    claim = await core.claim("k")
    core.bank.open.clear()
    run = getattr(core.payments, command)
    waiting = asyncio.create_task(run([(core.call(claim), intent["id"], parameters)]))
    await until(core, "SELECT 1 FROM acquirer_request WHERE state = 'sent'")
    await kill(core, waiting)
    other = another_process()
    other.bank.pending = True
    await core.idempotency.suspend([claim], core.clock.now())
    for _ in range(2):
        taken = await other.claim("k")
        (answer,) = await getattr(other.payments, command)([(other.call(taken), intent["id"], parameters)])
        assert isinstance(answer, errors.Unavailable), "not known yet"
        await core.idempotency.suspend([taken], core.clock.now())
    assert other.bank.asked == []
    assert [row["state"] for row in await core.rows("SELECT state FROM acquirer_request")] == ["unknown"]
    other.bank.pending = False
    (answer,) = await getattr(other.payments, command)([(other.call(await other.claim("k")), intent["id"], parameters)])
    assert isinstance(answer, Reply), "looked up under the key that was sent"
    assert other.bank.asked == []


async def test_a_result_is_recorded_even_when_the_key_was_lost(core: Core) -> None:
    """A stale holder's answer is refused, but what the bank did stays known."""
    intent = await core.create()
    claim = await core.claim("k")
    core.bank.open.clear()
    sent = ConfirmIntent(payment_method="pm_card_visa")
    waiting = asyncio.create_task(core.payments.confirm([(core.call(claim), intent["id"], sent)]))
    await until(core, "SELECT 1 FROM charge WHERE state = 'sent'")
    await core.idempotency.suspend([claim], core.clock.now())
    assert isinstance(await core.claim("k"), Claim)
    core.bank.open.set()
    (answer,) = await waiting
    assert isinstance(answer, LeaseLost)
    assert (await core.intent(intent["id"]))["status"] == "succeeded"
    assert len(await core.rows("SELECT id FROM ledger_transaction")) == 1


@pytest.mark.parametrize("trouble", [DatabaseUnavailable("away"), SerializationFailed("again"), QueueFull()])
async def test_a_result_waits_for_a_database_that_is_away(
    core: Core, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """Or has no time: it is known nowhere else."""
    intent = await core.create(payment_method="pm_card_visa")
    core.bank.open.clear()
    waiting = asyncio.create_task(core.confirm(intent["id"]))
    await until(core, "SELECT 1 FROM charge WHERE state = 'sent'")
    commit, failures = core.carrying._commits._work, iter([True] * 2 * SERIALIZATION_TRIES_MAX)

    async def away(works: Any) -> Any:
        if next(failures, False):
            raise trouble
        return await commit(works)

    monkeypatch.setattr(core.carrying._commits, "_work", away)
    monkeypatch.setattr(carrying, "RECORD_RETRY_WAITS_S", (0.0,) * 2 * SERIALIZATION_TRIES_MAX)
    core.bank.open.set()
    assert (await waiting)["status"] == "succeeded"


async def test_a_caller_that_goes_away_stops_nothing(core: Core) -> None:
    intent = await core.create(payment_method="pm_card_visa")
    core.bank.open.clear()
    waiting = asyncio.create_task(core.confirm(intent["id"]))
    await until(core, "SELECT 1 FROM charge WHERE state = 'sent'")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    core.bank.open.set()
    await until(core, "SELECT 1 FROM payment_intent WHERE status = 'succeeded'")


async def test_payments_of_one_batch_see_each_other(core: Core) -> None:
    """Commands on one payment that fall into one commit are decided in turn."""
    intent = await core.create(payment_method="pm_card_visa")
    call = core.call()
    answers = await asyncio.gather(
        core.payments.cancel([(call, intent["id"], CancelIntent())]),
        core.payments.cancel([(call, intent["id"], CancelIntent())]),
        core.payments.confirm([(call, intent["id"], ConfirmIntent())]),
    )
    assert kinds([answer for (answer,) in answers]) == {"Reply": 1, "UnexpectedState": 2}
    assert (await core.events()).count("payment_intent.canceled") == 1


async def test_many_payments_at_once(core: Core) -> None:
    """Batches of mixed works: every one ends as it would alone."""
    cards = ["pm_card_visa", "pm_card_chargeDeclined", "pm_card_authenticationRequired"] * 20
    sent = [CreateIntent(amount=5, currency="eur", confirm=True, payment_method=card) for card in cards]
    answers = await asyncio.gather(*(core.payments.create([(core.call(), one)]) for one in sent))
    assert kinds([answer for (answer,) in answers]) == {"Reply": 40, "CardDeclined": 20}
    statuses = Counter(row["status"] for row in await core.rows("SELECT status FROM payment_intent"))
    assert statuses == {"succeeded": 20, "requires_payment_method": 20, "requires_action": 20}
    assert len(await core.rows("SELECT id FROM ledger_transaction")) == 20
