"""RULES §3 and §5 on a real PostgreSQL: every command of a payment, one at a time."""

import contextlib
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tallystick.gateway.acquirers.port import Authentication
from tallystick.gateway.monitoring.figures import SQL as MONITORING
from tallystick.gateway.payments.parameters import CancelIntent, ConfirmIntent, CreateIntent
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.outcomes import NotSent, Refused, Unknown
from tallystick.ports.metrics import samples

Core = Any

DECLINED = "pm_card_chargeDeclined"


async def balances(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows}


async def test_create_keeps_what_was_sent(core: Core) -> None:
    intent = await core.create(amount=2500, currency="USD", description="d", metadata={"order_id": "17", "gone": ""})
    assert (intent["amount"], intent["currency"], intent["status"]) == (2500, "usd", "requires_payment_method")
    assert (intent["description"], intent["metadata"]) == ("d", {"order_id": "17"})
    assert intent["client_secret"].startswith(f"{intent['id']}_secret_")
    (row,) = await core.rows("SELECT * FROM payment_intent")
    assert (row["account_id"], row["livemode"], row["currency"], row["version"]) == (core.account_id, False, "USD", 0)
    assert await core.events() == ["payment_intent.created"]
    assert core.woken == 0, "there is no endpoint, so nothing is to be delivered"


async def test_create_refuses_what_the_wire_does_not_know(core: Core) -> None:
    for fields in ({"currency": "xau"}, {"currency": "isk", "amount": 150}, {"currency": "kwd", "amount": 1001}):
        with pytest.raises(errors.InvalidRequest):
            await core.create(**fields)
    for fields in ({"payment_method": "pm_card_unheardOf"}, {"payment_method": "pm_0", "confirm": True}):
        with pytest.raises(errors.InvalidRequest) as refused:
            await core.create(**fields)
        assert (refused.value.code, refused.value.param) == ("resource_missing", "payment_method")
    with pytest.raises(errors.InvalidRequest):
        await core.create(confirm=True)
    assert await core.rows("SELECT id FROM payment_intent") == []


async def test_one_bad_item_does_not_fail_its_neighbours(core: Core) -> None:
    good = CreateIntent(amount=5, currency="eur")
    bad = CreateIntent(amount=5, currency="eur", confirm=True)
    missing = CreateIntent(amount=5, currency="eur", payment_method="pm_none")
    answers = await core.payments.create([(core.call(), sent) for sent in (good, bad, missing, good)])
    assert [type(answer).__name__ for answer in answers] == ["Reply", "InvalidRequest", "InvalidRequest", "Reply"]
    assert len(await core.rows("SELECT id FROM payment_intent")) == 2


async def test_create_with_a_card_waits_for_confirmation(core: Core) -> None:
    intent = await core.create(payment_method="pm_card_visa")
    assert intent["status"] == "requires_confirmation"
    assert intent["payment_method"].startswith("pm_")
    again = await core.create(payment_method=intent["payment_method"])
    assert again["payment_method"] == intent["payment_method"], "a stored card may be named again"
    (method,) = await core.rows("SELECT * FROM payment_method")
    assert (method["brand"], method["first6"], method["last4"]) == ("visa", "424242", "4242")
    assert method["card_reference"] == "sim_visa"


async def test_pay_in_one_call(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa")
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 1000)
    (charge,) = await core.rows("SELECT * FROM charge")
    assert (charge["state"], charge["amount_captured"], charge["id"]) == ("approved", 1000, intent["latest_charge"])
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}
    assert await core.events() == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
    assert len(core.bank.asked) == 1


async def test_create_then_confirm(core: Core) -> None:
    intent = await core.create(capture_method="automatic_async")
    confirmed = await core.confirm(intent["id"], payment_method="tok_visa", amount_to_confirm=1000)
    assert (confirmed["status"], confirmed["capture_method"]) == ("succeeded", "automatic")
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.confirm(intent["id"], payment_method="pm_card_visa")
    assert refused.value.code == "payment_intent_unexpected_state"
    assert refused.value.extra["payment_intent"]["status"] == "succeeded"
    assert refused.value.final


async def test_confirm_refuses_another_amount_and_another_accounts_card(core: Core) -> None:
    intent = await core.create(payment_method="pm_card_visa")
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.confirm(intent["id"], amount_to_confirm=999)
    assert refused.value.param == "amount_to_confirm"
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.confirm("pi_nobody", payment_method="pm_card_visa")
    assert refused.value.status == 404
    assert core.bank.asked == []
    assert (await core.confirm(intent["id"]))["status"] == "succeeded", "none of it had an effect"


async def test_a_decline_is_an_error_with_the_intent_inside(core: Core) -> None:
    intent = await core.create()
    with pytest.raises(errors.CardDeclined) as declined:
        await core.confirm(intent["id"], payment_method="pm_card_chargeDeclinedInsufficientFunds")
    error = declined.value
    assert (error.status, error.code, error.extra["decline_code"]) == (402, "card_declined", "insufficient_funds")
    assert error.extra["payment_intent"]["status"] == "requires_payment_method"
    last = msgspec.json.decode(error.reply().body)["error"]["payment_intent"]["last_payment_error"]
    assert (last["charge"], last["code"]) == (error.extra["charge"], "card_declined")
    assert error.extra["payment_method"]["card"]["last4"] == "9995"
    assert (await core.events())[1:] == ["charge.failed", "payment_intent.payment_failed"]
    assert (await core.confirm(intent["id"], payment_method="pm_card_visa"))["status"] == "succeeded"
    assert await balances(core) == {"acquirer_receivable": 1000, "merchant_pending": -1000}


async def test_an_expired_card_names_the_parameter(core: Core) -> None:
    with pytest.raises(errors.CardDeclined) as declined:
        await core.create(confirm=True, payment_method="pm_card_chargeDeclinedExpiredCard")
    assert (declined.value.code, declined.value.param) == ("expired_card", "exp_month")


async def test_the_answer_can_be_expanded(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", expand=["latest_charge", "payment_method"])
    assert intent["latest_charge"]["object"] == "charge"
    assert intent["latest_charge"]["captured"] is True
    assert intent["payment_method"]["card"]["brand"] == "visa"


async def test_update(core: Core) -> None:
    intent = await core.create(metadata={"a": "1", "b": "2"}, description="old")
    updated = await core.update(intent["id"], metadata={"a": "", "c": "3"}, description="")
    assert (updated["metadata"], updated["description"]) == ({"b": "2", "c": "3"}, None)
    updated = await core.update(intent["id"], payment_method="pm_card_visa")
    assert (updated["status"], updated["metadata"]) == ("requires_confirmation", {"b": "2", "c": "3"})
    assert (await core.update(intent["id"], metadata=""))["metadata"] == {}
    assert (await core.intent(intent["id"]))["version"] == 3


async def test_manual_capture_of_all_of_a_part_and_never_of_more(core: Core) -> None:
    whole = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    assert (whole["status"], whole["amount_capturable"], whole["amount_received"]) == ("requires_capture", 1000, 0)
    assert await balances(core) == {}
    assert (await core.capture(whole["id"]))["amount_received"] == 1000
    part = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.capture(part["id"], amount_to_capture=1001)
    assert (refused.value.code, refused.value.param) == ("amount_too_large", "amount_to_capture")
    captured = await core.capture(part["id"], amount_to_capture=400, metadata={"why": "part"})
    assert (captured["status"], captured["amount_received"]) == ("succeeded", 400)
    assert captured["metadata"] == {"why": "part"}
    assert await balances(core) == {"acquirer_receivable": 1400, "merchant_pending": -1400}
    assert [row["state"] for row in await core.rows("SELECT state FROM acquirer_request")] == ["done", "done"]


async def test_several_captures_where_the_account_allows_them(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    with pytest.raises(errors.UnexpectedState) as refused:
        await core.capture(intent["id"], amount_to_capture=300, final_capture=False)
    assert refused.value.param == "final_capture"
    await core.rows("UPDATE account SET several_captures = true RETURNING 1")
    first = await core.capture(intent["id"], amount_to_capture=300, final_capture=False)
    assert (first["status"], first["amount_received"], first["amount_capturable"]) == ("requires_capture", 300, 700)
    ended = await core.cancel(intent["id"])
    assert (ended["status"], ended["amount_received"], ended["amount_capturable"]) == ("succeeded", 300, 0)
    assert await balances(core) == {"acquirer_receivable": 300, "merchant_pending": -300}


async def test_cancel(core: Core) -> None:
    intent = await core.create()
    canceled = await core.cancel(intent["id"], cancellation_reason="requested_by_customer")
    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "requested_by_customer")
    assert canceled["canceled_at"] is not None
    assert core.bank.asked == [], "there was nothing to void"
    held = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    assert (await core.cancel(held["id"]))["status"] == "canceled"
    assert [type(asked).__name__ for asked in core.bank.asked] == ["ChargeRequest", "VoidRequest"]
    assert await balances(core) == {}
    for ended in (intent, held):
        with pytest.raises(errors.UnexpectedState):
            await core.cancel(ended["id"])
        with pytest.raises(errors.UnexpectedState):
            await core.confirm(ended["id"], payment_method="pm_card_visa")


async def test_an_unknown_outcome_stays_processing_and_refuses_everything_else(core: Core) -> None:
    core.bank.answers.append(Unknown("timeout"))
    intent = await core.create(confirm=True, payment_method="pm_card_visa")
    assert intent["status"] == "processing"
    for refused in (core.confirm, core.cancel, core.capture):
        with pytest.raises(errors.UnexpectedState) as error:
            await refused(intent["id"])
        assert error.value.status == 400
        assert error.value.code == "payment_intent_unexpected_state"
    (charge,) = await core.rows("SELECT state FROM charge")
    assert charge["state"] == "unknown"
    assert len(core.bank.asked) == 1
    assert (await core.events())[-1] == "payment_intent.processing"


async def test_what_never_left_is_an_error_to_try_again(core: Core) -> None:
    core.bank.answers.append(NotSent("refused"))
    intent = await core.create()
    with pytest.raises(errors.Unavailable) as unavailable:
        await core.confirm(intent["id"], payment_method="pm_card_visa")
    assert not unavailable.value.final
    assert (await core.confirm(intent["id"]))["status"] == "succeeded", "the card stayed attached"
    assert sorted(row["state"] for row in await core.rows("SELECT state FROM charge")) == ["abandoned", "approved"]


@pytest.mark.parametrize("command", ["capture", "cancel"])
async def test_captures_and_voids_may_be_refused_unknown_or_never_leave(core: Core, command: str) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    core.bank.answers.append(NotSent("refused"))
    with pytest.raises(errors.Unavailable):
        await getattr(core, command)(intent["id"])
    core.bank.answers.append(Refused("no_such_authorisation", "No."))
    with pytest.raises(errors.UnexpectedState) as refused:
        await getattr(core, command)(intent["id"])
    assert "no_such_authorisation" in refused.value.message
    core.bank.answers.append(Unknown("timeout"))
    with pytest.raises(errors.Unavailable):
        await getattr(core, command)(intent["id"])
    for other in (core.capture, core.cancel):
        with pytest.raises(errors.UnexpectedState) as refused:
            await other(intent["id"])
        assert "under way" in refused.value.message
    assert (await core.intent(intent["id"]))["status"] == "requires_capture"
    assert [row["state"] for row in await core.rows("SELECT state FROM acquirer_request ORDER BY id")] == [
        "refused",
        "refused",
        "unknown",
    ]


async def test_3ds_by_api(core: Core) -> None:
    intent = await core.create(
        confirm=True, payment_method="pm_card_authenticationRequired", return_url="https://shop.example/back"
    )
    assert (intent["status"], intent["latest_charge"]) == ("requires_action", None)
    redirect = intent["next_action"]["redirect_to_url"]
    assert redirect["return_url"] == "https://shop.example/back"
    charge_id = redirect["url"].rpartition("/")[2]
    page = await core.checkout.challenge(charge_id)
    assert (page.state, page.merchant, page.amount, page.last4) == ("pending", "Shop", 1000, "3184")
    assert page.return_url == "https://shop.example/back"
    await core.checkout.answer_challenge(charge_id, "succeeded")
    await core.checkout.answer_challenge(charge_id, "failed")
    row = await core.intent(intent["id"])
    assert (row["status"], row["latest_charge"], row["next_action"]) == ("succeeded", charge_id, None)
    assert (await core.events())[1:] == [
        "payment_intent.requires_action",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    assert len(await core.rows("SELECT id FROM charge")) == 1


@pytest.mark.parametrize(
    ("card", "result", "code"),
    [
        ("pm_card_authenticationRequired", "failed", "payment_intent_authentication_failure"),
        ("pm_card_authenticationRequired", "canceled", "payment_intent_authentication_failure"),
        ("pm_card_threeDSecureRequiredChargeDeclined", "succeeded", "card_declined"),
    ],
)
async def test_3ds_that_does_not_end_well(core: Core, card: str, result: str, code: str) -> None:
    intent = await core.create(confirm=True, payment_method=card)
    charge_id = intent["next_action"]["redirect_to_url"]["url"].rpartition("/")[2]
    await core.checkout.answer_challenge(charge_id, result)
    row = await core.intent(intent["id"])
    assert row["status"] == "requires_payment_method"
    assert f'"{code}"' in row["last_payment_error"]
    assert (await core.confirm(intent["id"], payment_method="pm_card_visa"))["status"] == "succeeded"


async def test_the_browsers_word_counts_for_nothing(core: Core) -> None:
    """The ACS result is taken server to server: without the bank's word nothing moves."""
    intent = await core.create(confirm=True, payment_method="pm_card_authenticationRequired")
    charge_id = intent["next_action"]["redirect_to_url"]["url"].rpartition("/")[2]
    (row,) = await core.rows("SELECT account_id, livemode, payment_intent, authentication FROM charge")
    key = (row["account_id"], row["livemode"], row["payment_intent"])
    await core.carrying.conclude_challenge(key, charge_id, Authentication(key[0], row["authentication"]))
    assert (await core.intent(intent["id"]))["status"] == "requires_action"


async def test_a_bank_without_3ds_server_is_an_error_to_try_again(core: Core) -> None:
    intent = await core.create()
    for answer in (NotSent("down"), Unknown("timeout")):
        core.bank.answers.append(answer)
        with pytest.raises(errors.Unavailable):
            await core.confirm(intent["id"], payment_method="pm_card_authenticationRequired")
        assert (await core.intent(intent["id"]))["status"] == "requires_confirmation"
    core.bank.answers.append(Refused("not_enrolled", "No."))
    with pytest.raises(errors.CardDeclined) as failed:
        await core.confirm(intent["id"])
    assert failed.value.code == "payment_intent_authentication_failure"


async def test_a_caller_may_ask_to_fail_instead_of_3ds(core: Core) -> None:
    with pytest.raises(errors.CardDeclined) as declined:
        await core.create(confirm=True, payment_method="pm_card_authenticationRequired", error_on_requires_action=True)
    assert declined.value.code == "authentication_required"
    assert core.bank.asked == []


async def test_live_mode_takes_neither_test_cards_nor_the_simulated_bank(core: Core) -> None:
    live = core.call(livemode=True)
    plain, named, confirmed = await core.payments.create(
        [
            (live, CreateIntent(amount=5, currency="eur")),
            (live, CreateIntent(amount=5, currency="eur", payment_method="pm_card_visa")),
            (live, CreateIntent(amount=5, currency="eur", payment_method="pm_card_visa", confirm=True)),
        ]
    )
    assert plain.status == 200
    assert named.code == "resource_missing"
    assert isinstance(confirmed, errors.NotPermitted)
    test = await core.create()
    (other_mode,) = await core.payments.confirm([(live, test["id"], ConfirmIntent(payment_method="pm_card_visa"))])
    assert isinstance(other_mode, errors.NotPermitted)
    (canceled,) = await core.payments.cancel([(live, test["id"], CancelIntent())])
    assert canceled.status == 404, "the other mode's payment does not exist"


async def test_a_return_url_must_be_registered_where_any_is(core: Core) -> None:
    sent = CreateIntent(
        amount=5, currency="eur", confirm=True, payment_method="pm_card_visa", return_url="https://evil.example/"
    )
    (refused,) = await core.payments.create([(core.call(origins=["https://shop.example"]), sent)])
    assert isinstance(refused, errors.InvalidRequest)
    assert refused.param == "return_url"


async def test_a_charge_is_counted_by_what_the_acquirer_answered(core: Core) -> None:
    """attempt_authorization = approved / those that reached it (RULES §13): what was not sent is none of them."""

    def counted() -> dict[str, float]:
        return {each.labels["outcome"]: each.value for each in samples(["charges_total"])}

    before = counted()
    for card in ("pm_card_visa", "pm_card_visa", DECLINED):
        with contextlib.suppress(errors.CardDeclined):
            await core.create(payment_method=card, confirm=True)
    core.bank.answers.append(Unknown("timeout"))
    await core.create(payment_method="pm_card_visa", confirm=True)
    core.bank.answers.append(NotSent("refused"))
    with pytest.raises(errors.Unavailable):
        await core.create(payment_method="pm_card_visa", confirm=True)
    after = counted()
    assert {outcome: after[outcome] - before[outcome] for outcome in after} == {
        "approved": 2,
        "declined": 1,
        "unknown": 1,
        "not_sent": 1,
    }
    at = core.clock.now() + timedelta(seconds=1)
    rows = await core.database.rows(MONITORING.charges_made, at - timedelta(minutes=5), at)
    assert {(row["state"], row["value"]) for row in rows} >= {("approved", 2), ("declined", 1), ("unknown", 1)}
    assert await core.database.rows(MONITORING.charges_made, at, at + timedelta(minutes=5)) == []
