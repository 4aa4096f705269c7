"""RULES §3, §8 and §9: checkout sessions on a real PostgreSQL, from opening to the clock that ends them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.acquirers.port import CardRefused
from tallystick.gateway.checkout.opening import TTL_MAX_S, TTL_MIN_S
from tallystick.gateway.checkout.parameters import (
    CreateSession,
    ExpireSession,
    LineItem,
    PaymentIntentData,
    PriceData,
    ProductData,
)
from tallystick.gateway.checkout.results import Challenge, Declined, NotOpen, Paid, Processing
from tallystick.gateway.payments.resolving import Resolution
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.outcomes import NotSent, Refused, Unknown

Core = Any
Another = Callable[[], Core]

DECLINING = "4000000000000002"
NEEDS_3DS = "4000002760003184"


def an_item(amount: int = 400, quantity: int = 2, currency: str = "eur") -> LineItem:
    price = PriceData(currency=currency, product_data=ProductData(name="Mug"), unit_amount=amount)
    return LineItem(price_data=price, quantity=quantity)


def unix(core: Core, seconds: float) -> int:
    return int(core.clock.now().timestamp() + seconds)


async def test_a_session_opens_with_its_intent_in_one_commit(core: Core) -> None:
    session = await core.open_session(
        amount_total=None,
        currency=None,
        line_items=[an_item(), an_item(200, 1)],
        client_reference_id="ord_1",
        metadata={"order_id": "1"},
        payment_intent_data=PaymentIntentData(capture_method="manual", description="d", metadata={"attempt": "1"}),
        expand=["payment_intent", "line_items"],
    )
    assert (session["amount_total"], session["currency"], session["status"]) == (1000, "eur", "open")
    assert session["id"].startswith("cs_test_")
    assert session["url"] == f"https://pay.example/pay/{session['id']}"
    assert (session["client_reference_id"], session["metadata"]) == ("ord_1", {"order_id": "1"})
    intent = session["payment_intent"]
    assert (intent["amount"], intent["capture_method"], intent["description"]) == (1000, "manual", "d")
    assert intent["metadata"] == {"attempt": "1"}
    assert [item["amount_total"] for item in session["line_items"]["data"]] == [800, 200]
    assert (await core.intent(intent["id"]))["checkout_session"] == session["id"]
    assert (await core.session(session["id"]))["expires_at"] - core.clock.now() > timedelta(hours=23, minutes=59)
    assert await core.events() == ["payment_intent.created"]


async def test_an_embedded_session_has_a_client_secret_and_no_url(core: Core) -> None:
    session = await core.open_session(
        ui_mode="embedded", success_url=None, return_url="https://shop.example/r?s={CHECKOUT_SESSION_ID}"
    )
    assert session["client_secret"].startswith(f"{session['id']}_secret_")
    assert (session["url"], session["ui_mode"]) == (None, "embedded_page")


@pytest.mark.parametrize("ahead_s", [-5, 0, 45, 24 * 3600 + 60])
async def test_expires_at_must_lie_within_the_limits(core: Core, ahead_s: int) -> None:
    """30 min to 24 h ahead; a development setting (here 60 s) allows less."""
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.open_session(expires_at=unix(core, ahead_s))
    assert refused.value.param == "expires_at"
    assert refused.value.final, "a request delayed on its way must not be executed after its repetition was refused"


async def test_the_default_is_stripes_limit(core: Core) -> None:
    assert (TTL_MIN_S, TTL_MAX_S) == (1800, 86400)
    opened = await core.open_session(expires_at=unix(core, 60))
    assert opened["expires_at"] == pytest.approx(unix(core, 60), abs=2)


async def test_urls_must_be_registered_where_any_is(core: Core) -> None:
    sent = CreateSession(
        amount_total=5, currency="eur", success_url="https://shop.example/a", cancel_url="https://evil.example/"
    )
    registered = core.call(origins=["https://shop.example"])
    (refused,) = await core.checkout.create([(registered, sent)])
    assert isinstance(refused, errors.InvalidRequest)
    assert refused.param == "cancel_url"
    (accepted,) = await core.checkout.create([(core.call(), sent)])
    assert accepted.status == 200


async def test_a_currency_of_line_items_must_be_known(core: Core) -> None:
    with pytest.raises(errors.InvalidRequest):
        await core.open_session(amount_total=None, currency=None, line_items=[an_item(150, 1, "isk")])


async def test_paying_completes_the_session(core: Core) -> None:
    session = await core.open_session()
    assert await core.pay(session["id"]) == Paid()
    row = await core.session(session["id"])
    assert (row["status"], row["payment_status"]) == ("complete", "paid")
    assert row["completed_at"] is not None
    assert (await core.events())[1:] == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    assert await core.pay(session["id"]) == NotOpen("complete"), "sent twice it pays once"
    assert len(core.bank.asked) == 1


async def test_the_code_reaches_the_bank_and_nothing_else(core: Core) -> None:
    session = await core.open_session()
    await core.pay(session["id"], code="987")
    (asked,) = core.bank.asked
    assert asked.code.reveal() == "987"
    for table in ("payment_method", "charge", "payment_intent", "checkout_session", "event"):
        for row in await core.rows(f"SELECT * FROM {table}"):
            values = [value for value in row.values() if isinstance(value, str)]
            assert "987" not in values
            assert not any("4242424242424242" in value for value in values)


async def test_a_number_that_the_bank_does_not_take_leaves_no_trace(core: Core) -> None:
    session = await core.open_session()
    refused = await core.pay(session["id"], "4111111111111111")
    assert isinstance(refused, CardRefused)
    assert refused.field == "cc-number"
    assert await core.rows("SELECT id FROM payment_method") == []
    assert await core.rows("SELECT id FROM charge") == []


async def test_declined_then_another_card(core: Core) -> None:
    session = await core.open_session()
    assert await core.pay(session["id"], DECLINING) == Declined("generic_decline", "Your card was declined.")
    assert (await core.session(session["id"]))["decline_count"] == 1
    assert await core.pay(session["id"]) == Paid()


async def test_ten_declines_end_the_session(core: Core) -> None:
    session = await core.open_session()
    for _ in range(10):
        assert isinstance(await core.pay(session["id"], DECLINING), Declined)
    assert await core.pay(session["id"]) == NotOpen("expired")
    row = await core.intent((await core.session(session["id"]))["payment_intent"])
    assert (row["status"], row["cancellation_reason"]) == ("canceled", "automatic")
    assert (await core.events())[-2:] == ["payment_intent.canceled", "checkout.session.expired"]


async def test_a_bank_that_does_not_answer(core: Core) -> None:
    session = await core.open_session()
    core.bank.answers.append(Unknown("timeout"))
    assert await core.pay(session["id"]) == Processing()
    assert await core.pay(session["id"]) == Processing(), "nothing is sent while one is unknown"
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.expire_session(session["id"])
    assert refused.value.code == "payment_intent_unexpected_state"
    assert len(core.bank.asked) == 1


async def test_a_bank_that_cannot_be_reached(core: Core) -> None:
    session = await core.open_session()
    core.bank.answers.append(NotSent("down"))
    assert isinstance(await core.pay(session["id"]), Declined)
    assert (await core.session(session["id"]))["decline_count"] == 0
    assert await core.pay(session["id"]) == Paid()


@pytest.mark.parametrize(("result", "status"), [("succeeded", "succeeded"), ("failed", "requires_payment_method")])
async def test_3ds_on_the_page(core: Core, result: str, status: str) -> None:
    session = await core.open_session()
    challenge = await core.pay(session["id"], NEEDS_3DS)
    assert isinstance(challenge, Challenge)
    charge_id = challenge.url.rpartition("/")[2]
    page = await core.checkout.challenge(charge_id)
    assert page.return_url == f"https://pay.example/pay/{session['id']}/authenticated"
    await core.checkout.finish_challenge(session["id"])
    found = await core.checkout.page(session["id"])
    assert found.intent.status == "requires_action", "the browser's return alone decides nothing"
    await core.checkout.answer_challenge(charge_id, result)
    await core.checkout.finish_challenge(session["id"])
    await core.checkout.finish_challenge(session["id"])
    found = await core.checkout.page(session["id"])
    assert found.intent.status == status
    assert (await core.checkout.challenge(charge_id)).state == result
    assert len([asked for asked in core.bank.asked if type(asked).__name__ == "ChargeRequest"]) == (
        1 if result == "succeeded" else 0
    )


async def test_a_shopper_who_never_returns_is_found_by_the_bank(core: Core) -> None:
    """never return: the bank tells the gateway, the browser is not needed."""
    session = await core.open_session()
    challenge = await core.pay(session["id"], NEEDS_3DS)
    await core.checkout.answer_challenge(challenge.url.rpartition("/")[2], "succeeded")
    assert (await core.session(session["id"]))["status"] == "complete"


async def test_another_card_ends_a_challenge(core: Core) -> None:
    session = await core.open_session()
    challenge = await core.pay(session["id"], NEEDS_3DS)
    assert await core.pay(session["id"]) == Paid()
    await core.checkout.answer_challenge(challenge.url.rpartition("/")[2], "succeeded")
    states = Counter(row["state"] for row in await core.rows("SELECT state FROM charge"))
    assert states == {"abandoned": 1, "approved": 1}


async def test_pages_of_sessions_that_do_not_exist(core: Core) -> None:
    for id in ("", "cs_test_1", "cs_live_" + "0" * 41, f"cs_test_{core.account_id[5:]}{'0' * 25}", "ch_1"):
        assert await core.checkout.page(id) is None
        assert await core.pay(id) == NotOpen("expired")
        assert await core.checkout.challenge(id) is None
        await core.checkout.finish_challenge(id)
        await core.checkout.answer_challenge(id, "succeeded")


async def test_expire(core: Core) -> None:
    session = await core.open_session()
    expired = await core.expire_session(session["id"])
    assert (expired["status"], expired["url"]) == ("expired", None)
    row = await core.intent(session["payment_intent"])
    assert (row["status"], row["cancellation_reason"]) == ("canceled", "abandoned")
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.expire_session(session["id"])
    assert "`expired`" in refused.value.message
    with pytest.raises(errors.InvalidRequest) as missing:
        await core.expire_session("cs_test_none")
    assert missing.value.status == 404
    assert await core.pay(session["id"]) == NotOpen("expired")


async def test_canceling_the_intent_expires_the_session(core: Core) -> None:
    session = await core.open_session()
    await core.cancel(session["payment_intent"])
    assert (await core.session(session["id"]))["status"] == "expired"
    assert (await core.events())[1:] == ["payment_intent.canceled", "checkout.session.expired"]


async def test_manual_capture_is_paid_when_captured(core: Core) -> None:
    session = await core.open_session(payment_intent_data=PaymentIntentData(capture_method="manual"))
    assert await core.pay(session["id"]) == Paid()
    row = await core.session(session["id"])
    assert (row["status"], row["payment_status"]) == ("complete", "unpaid")
    await core.capture(session["payment_intent"])
    assert (await core.session(session["id"]))["payment_status"] == "paid"


async def test_the_worker_expires_what_is_due_and_nothing_else(core: Core, another_process: Another) -> None:
    due = [await core.open_session(expires_at=unix(core, 60)) for _ in range(3)]
    later = await core.open_session(expires_at=unix(core, 3600))
    processing = await core.open_session(expires_at=unix(core, 60))
    paid = await core.open_session(expires_at=unix(core, 60))
    waiting = await core.open_session(expires_at=unix(core, 60))
    core.bank.answers.append(Unknown("timeout"))
    await core.pay(processing["id"])
    await core.pay(paid["id"])
    await core.pay(waiting["id"], NEEDS_3DS)
    assert await core.expiry.expire_sessions() == 0
    core.clock.ahead += timedelta(seconds=61)
    await asyncio.gather(core.expiry.expire_sessions(), another_process().expiry.expire_sessions())
    states = {row["id"]: row["status"] for row in await core.rows("SELECT id, status FROM checkout_session")}
    assert {states[session["id"]] for session in (*due, waiting)} == {"expired"}
    assert (states[later["id"]], states[processing["id"]], states[paid["id"]]) == ("open", "open", "complete")
    assert (await core.events()).count("checkout.session.expired") == 4
    assert await core.expiry.expire_sessions() == 0
    assert (await core.pay(due[0]["id"])) == NotOpen("expired")


async def test_a_session_past_its_time_takes_no_card_even_before_the_worker(core: Core) -> None:
    session = await core.open_session(expires_at=unix(core, 60))
    core.clock.ahead += timedelta(seconds=61)
    assert await core.pay(session["id"]) == NotOpen("expired")
    assert core.bank.asked == []


async def test_expiry_and_payment_in_the_same_instant(core: Core, another_process: Another) -> None:
    """Either paid and complete, or expired and never charged."""
    other = another_process()
    ends: Counter[str] = Counter()
    for _ in range(20):
        session = await core.open_session()
        await asyncio.gather(
            core.pay(session["id"]), other.checkout.expire([(other.call(), session["id"], ExpireSession())])
        )
        row = await core.session(session["id"])
        charges = await core.rows(f"SELECT state FROM charge WHERE payment_intent = '{session['payment_intent']}'")
        ends[row["status"]] += 1
        if row["status"] == "complete":
            assert [charge["state"] for charge in charges] == ["approved"]
        else:
            assert row["status"] == "expired"
            assert charges == []
    assert sum(ends.values()) == 20


async def test_fifty_tabs_pay_once(core: Core) -> None:
    session = await core.open_session()
    results = await asyncio.gather(*(core.pay(session["id"]) for _ in range(50)))
    assert len(core.bank.asked) == 1
    assert Counter(type(result).__name__ for result in results)["Paid"] == 1
    assert len(await core.rows("SELECT id FROM charge")) == 1


async def test_authorisations_that_nobody_captured_are_voided(core: Core) -> None:
    """requires_capture | capture_before passed (default 7 days) | canceled, reason `automatic`."""
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    unreachable = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    assert await core.expiry.void_uncaptured() == 0
    core.clock.ahead += timedelta(days=7, seconds=1)
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.capture(intent["id"])
    assert refused.value.code == "charge_expired_for_capture"
    core.bank.answers += [NotSent("down")]
    assert await core.expiry.void_uncaptured() == 2
    assert await core.expiry.void_uncaptured() == 0, "it is under way"
    core.clock.ahead += timedelta(seconds=11)
    assert await core.inquirer.look() == 1, "what never left is sent again"
    for one in (intent, unreachable):
        row = await core.intent(one["id"])
        assert (row["status"], row["cancellation_reason"]) == ("canceled", "automatic")
    assert (await core.events()).count("charge.expired") == 2
    assert await core.rows("SELECT id FROM ledger_transaction") == []


async def test_an_authorisation_that_the_bank_will_not_void_becomes_a_case(core: Core) -> None:
    """Nobody waits for that void: it stays open, once, until a person has looked at it."""
    session = await core.open_session(payment_intent_data=PaymentIntentData(capture_method="manual"))
    await core.pay(session["id"])
    intent = (await core.session(session["id"]))["payment_intent"]
    core.clock.ahead += timedelta(days=7, seconds=1)
    core.bank.answers += [Refused("gone", "There is no such authorisation.")]
    core.bank.inquiries = [Refused("gone", "There is no such authorisation.")] * 8
    await core.expiry.void_uncaptured()
    for seconds in (11, 61, 241, 1501, 5401, 14_401, 64_801, 86_401):
        assert await core.expiry.void_uncaptured() == 0
        core.clock.ahead += timedelta(seconds=seconds)
        await core.inquirer.look()
    (row,) = await core.rows("SELECT * FROM acquirer_request")
    assert (row["state"], row["refusal"], row["case_at"] is not None) == ("unknown", "gone", True)
    found = Resolution(
        account=core.account_id,
        livemode=False,
        id=row["id"],
        outcome="done",
        reference="by letter",
        evidence="the bank says that it lapsed",
        operator="Ada",
    )
    await core.resolving.resolve(found)
    assert (await core.intent(intent))["status"] == "canceled"
    shown = await core.session(session["id"])
    assert (shown["status"], shown["payment_status"]) == ("complete", "unpaid"), "the shopper had done his part"


async def test_the_worker_runs_until_it_is_cancelled(core: Core) -> None:
    session = await core.open_session(expires_at=unix(core, 60))
    core.clock.ahead += timedelta(seconds=61)
    running = asyncio.create_task(core.expiry.run())
    async with asyncio.timeout(10):
        while (await core.session(session["id"]))["status"] != "expired":  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
