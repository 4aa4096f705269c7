"""RULES §5: kill -9 anywhere, nobody retries for 5 min: the call is ended; one charge; nothing is stuck half-way."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tallystick.gateway.acquirers import port
from tallystick.gateway.payments.parameters import CancelIntent, CaptureIntent, ConfirmIntent, CreateIntent
from tallystick.gateway.refunds.parameters import CreateRefund
from tallystick.kernel.idempotency import Claim, Replay
from tallystick.kernel.outcomes import NotSent, Unknown

Core = Any
Another = Callable[[], Core]


async def kill(core: Core, waiting: "asyncio.Task[Any]", sql: str) -> None:
    """End the process, as far as there is one, once it has come to the point that `sql` finds."""
    for _ in range(500):
        if await core.rows(sql):
            break
        await asyncio.sleep(0.01)
    for task in (waiting, *core.carrying._under_way):
        task.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def completed(core: Core) -> Any:
    """Nobody comes for more than five minutes; then the kept answer of key `k`."""
    core.clock.ahead += timedelta(seconds=361)
    await core.completer.run_once()
    outcome = await core.claim("k")
    if isinstance(outcome, Replay):
        return outcome.status, msgspec.json.decode(outcome.body)
    return outcome


async def states(core: Core) -> list[str]:
    return [row["state"] for row in await core.rows("SELECT state FROM charge ORDER BY id")]


async def test_killed_after_the_claim(core: Core) -> None:
    """Nothing was done: the key is free."""
    await core.claim("k")
    outcome = await completed(core)
    assert isinstance(outcome, Claim)
    assert outcome.recovery is None
    assert await core.rows("SELECT id FROM payment_intent") == []


async def test_killed_after_the_local_row_and_the_bank_had_charged(core: Core, another_process: Another) -> None:
    claim = await core.claim("k")
    sent = CreateIntent(amount=5, currency="eur", confirm=True, payment_method="pm_card_visa")
    core.bank.open.clear()
    waiting = asyncio.create_task(core.payments.create([(core.call(claim), sent)]))
    await kill(core, waiting, "SELECT 1 FROM charge WHERE state = 'sent'")
    other = another_process()
    status, intent = await completed(other)
    assert (status, intent["status"]) == (200, "succeeded")
    assert await states(core) == ["approved"]
    assert other.bank.asked == [], "looked up, never sent again"


async def test_killed_after_the_local_row_and_the_bank_never_heard_of_it(core: Core, another_process: Another) -> None:
    """It inquires, reverses, and ends it `processing_error`: the card's code is gone with the process."""
    claim = await core.claim("k")
    intent = await core.create()
    core.bank.open.clear()
    sent = ConfirmIntent(payment_method="pm_card_visa")
    waiting = asyncio.create_task(core.payments.confirm([(core.call(claim), intent["id"], sent)]))
    await kill(core, waiting, "SELECT 1 FROM charge WHERE state = 'sent'")
    other = another_process()
    other.bank.inquiries = [port.NotFound()] * 4
    status, answered = await completed(other)
    assert (status, answered["status"]) == (200, "processing"), "the bank may still come to know it"
    for seconds in (11, 61, 241):
        other.clock.ahead += timedelta(seconds=seconds)
        await other.inquirer.look()
    assert await states(core) == ["declined"]
    row = await core.intent(intent["id"])
    assert row["status"] == "requires_payment_method"
    assert msgspec.json.decode(row["last_payment_error"])["code"] == "processing_error"
    assert other.bank.asked == []
    assert (await other.confirm(intent["id"], payment_method="pm_card_visa"))["status"] == "succeeded"


async def test_killed_before_the_challenge_was_begun(core: Core, another_process: Another) -> None:
    """The 3DS server may or may not know it; no money moves by that, so it is given up."""
    claim = await core.claim("k")
    core.bank.open.clear()
    sent = CreateIntent(amount=5, currency="eur", confirm=True, payment_method="pm_card_authenticationRequired")
    waiting = asyncio.create_task(core.payments.create([(core.call(claim), sent)]))
    await kill(core, waiting, "SELECT 1 FROM charge WHERE state = 'authenticating'")
    status, error = await completed(another_process())
    assert (status, error["error"]["code"]) == (402, "processing_error")
    assert error["error"]["payment_intent"]["status"] == "requires_confirmation"
    assert await states(core) == ["abandoned"]


async def test_never_left_and_never_retried(core: Core) -> None:
    """acquirer refuses connection, nobody retries: what certainly did not happen ends as an error."""
    claim = await core.claim("k")
    core.bank.answers = [NotSent("refused")]
    sent = CreateIntent(amount=5, currency="eur", confirm=True, payment_method="pm_card_visa")
    await core.payments.create([(core.call(claim), sent)])
    status, error = await completed(core)
    assert (status, error["error"]["code"]) == (402, "processing_error")
    assert await states(core) == ["abandoned"]


@pytest.mark.parametrize(("command", "status"), [("capture", "succeeded"), ("cancel", "canceled")])
async def test_a_capture_or_void_is_looked_up(core: Core, another_process: Another, command: str, status: str) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    claim = await core.claim("k")
    core.bank.open.clear()
    sent = CaptureIntent() if command == "capture" else CancelIntent()
    waiting = asyncio.create_task(getattr(core.payments, command)([(core.call(claim), intent["id"], sent)]))
    await kill(core, waiting, "SELECT 1 FROM acquirer_request WHERE state = 'sent'")
    assert (await completed(another_process()))[1]["status"] == status


async def test_a_capture_that_nobody_can_tell_of_ends_with_the_intent_as_it_is(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    claim = await core.claim("k")
    core.bank.answers = [Unknown("cut")]
    await core.payments.capture([(core.call(claim), intent["id"], CaptureIntent())])
    core.bank.pending = True
    status, answered = await completed(core)
    assert (status, answered["status"]) == (200, "requires_capture")
    core.bank.pending = False
    core.clock.ahead += timedelta(seconds=61)
    await core.inquirer.look()
    assert (await core.intent(intent["id"]))["status"] == "succeeded"


async def test_a_capture_that_never_left_ends_refused(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    claim = await core.claim("k")
    core.bank.answers = [NotSent("no connection")]
    await core.payments.capture([(core.call(claim), intent["id"], CaptureIntent())])
    status, error = await completed(core)
    assert status == 400
    assert error["error"]["payment_intent"]["status"] == "requires_capture"
    assert (await core.capture(intent["id"]))["status"] == "succeeded", "under another key it is another try"


async def test_a_refund_is_looked_up(core: Core, another_process: Another) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa")
    claim = await core.claim("k")
    core.bank.open.clear()
    sent = CreateRefund(payment_intent=intent["id"], amount=300)
    waiting = asyncio.create_task(core.refunds.create([(core.call(claim), sent)]))
    await kill(core, waiting, "SELECT 1 FROM acquirer_request WHERE state = 'sent'")
    status, refund = await completed(another_process())
    assert (status, refund["object"], refund["status"], refund["amount"]) == (200, "refund", "succeeded", 300)


async def test_a_retry_and_the_completer_at_once(core: Core, another_process: Another) -> None:
    """One wins; there is one charge either way."""
    claim = await core.claim("k")
    sent = CreateIntent(amount=5, currency="eur", confirm=True, payment_method="pm_card_visa")
    core.bank.open.clear()
    waiting = asyncio.create_task(core.payments.create([(core.call(claim), sent)]))
    await kill(core, waiting, "SELECT 1 FROM charge WHERE state = 'sent'")
    other, third = another_process(), another_process()
    core.clock.ahead += timedelta(seconds=361)

    async def retry() -> None:
        outcome = await other.claim("k")
        if isinstance(outcome, Claim):
            await other.payments.create([(other.call(outcome), sent)])

    await asyncio.gather(retry(), third.completer.run_once())
    assert await states(core) == ["approved"]
    assert len(await core.rows("SELECT 1 FROM payment_intent")) == 1
    assert isinstance(await core.claim("k"), Replay)
