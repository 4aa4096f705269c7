"""A typed number is kept only while it has to be used once more. RULES §9; docs/cards.md."""

from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.acquirers.port import Authentication, ChargeRequest
from tallystick.gateway.cards.pan import Pan
from tallystick.gateway.cards.typed import TryLater
from tallystick.gateway.checkout.results import Challenge, Declined, Paid
from tallystick.kernel.outcomes import NotSent

VISA = "4242424242424242"
AUTHENTICATED = "4000002760003184"
AUTHENTICATED_THEN_DECLINED = "4000008400001629"


async def numbers(core: Any) -> list[dict[str, Any]]:
    return list(await core.rows("SELECT * FROM vault.card ORDER BY created_at, token"))


async def method(core: Any) -> dict[str, Any]:
    return dict((await core.rows("SELECT * FROM payment_method ORDER BY id DESC LIMIT 1"))[0])


async def meet_challenge(core: Any, session: dict[str, Any], result: str = "succeeded") -> None:
    row = (await core.rows("SELECT id, authentication FROM charge WHERE state = 'authenticating'"))[-1]
    assert row["authentication"] is not None
    await core.bank.answer_challenge(Authentication(core.account_id, row["authentication"]), result)
    await core.checkout.finish_challenge(session["id"])


async def test_a_card_that_is_charged_at_once_is_kept_nowhere(core: Any) -> None:
    session = await core.open_session()
    assert await core.pay(session["id"], VISA) == Paid()
    assert await numbers(core) == []
    made = await method(core)
    assert made["single_use"]
    assert made["vault_token"] is None


async def test_over_the_bank_and_back_the_number_is_in_the_vault_and_then_shredded(core: Any) -> None:
    session = await core.open_session()
    assert isinstance(await core.pay(session["id"], AUTHENTICATED), Challenge)
    (kept,) = await numbers(core)
    assert kept["token"] == (await method(core))["vault_token"]
    core.clock.ahead += timedelta(minutes=16)
    await core.purge.purge()
    assert len(await numbers(core)) == 1, "the shopper is at the bank"
    await meet_challenge(core, session)
    assert core.bank.asked[-1].number == Pan(AUTHENTICATED), "the acquirer was shown the number out of the vault"
    assert (await core.session(session["id"]))["payment_status"] == "paid"
    core.clock.ahead += timedelta(minutes=16)
    assert await core.purge.purge() == 1
    assert await numbers(core) == []


@pytest.mark.parametrize("result", ["failed", "canceled"])
async def test_who_does_not_come_back_with_a_yes_leaves_nothing_behind(core: Any, result: str) -> None:
    session = await core.open_session()
    await core.pay(session["id"], AUTHENTICATED)
    await meet_challenge(core, session, result)
    core.clock.ahead += timedelta(minutes=16)
    await core.purge.purge()
    assert await numbers(core) == []


async def test_a_declined_card_and_one_that_was_given_up_are_shredded(core: Any) -> None:
    session = await core.open_session()
    await core.pay(session["id"], AUTHENTICATED_THEN_DECLINED)
    await meet_challenge(core, session)
    await core.pay(session["id"], AUTHENTICATED)
    await core.pay(session["id"], VISA)
    assert len(await numbers(core)) == 2
    core.clock.ahead += timedelta(minutes=16)
    await core.purge.purge()
    assert await numbers(core) == []


async def test_a_number_whose_payment_never_came_to_name_it_is_shredded(core: Any) -> None:
    session = await core.open_session()
    await core.pay(session["id"], AUTHENTICATED)
    await core.rows("DELETE FROM charge RETURNING id")
    await core.rows("DELETE FROM payment_method RETURNING id")
    core.clock.ahead += timedelta(minutes=16)
    await core.purge.purge()
    assert await numbers(core) == []


async def test_while_the_vault_is_away_plain_payments_go_on_and_nothing_is_lost(core: Any) -> None:
    core.vault_away = True
    plain, session = await core.open_session(), await core.open_session()
    assert await core.pay(plain["id"], VISA) == Paid()
    assert await core.pay(session["id"], AUTHENTICATED) == TryLater()
    assert (await core.session(session["id"]))["status"] == "open"
    core.vault_away = False
    assert isinstance(await core.pay(session["id"], AUTHENTICATED), Challenge)
    core.vault_away = True
    await meet_challenge(core, session)
    intent = await core.intent(session["payment_intent"])
    assert intent["status"] == "requires_confirmation", "nothing was sent; it may be confirmed again"
    core.vault_away = False
    confirmed = await core.confirm(session["payment_intent"])
    assert confirmed["status"] == "requires_action"


async def test_a_number_that_is_gone_is_declined_and_another_card_asked_for(core: Any) -> None:
    session = await core.open_session()
    await core.pay(session["id"], AUTHENTICATED)
    await core.rows("DELETE FROM vault.card RETURNING token")
    await meet_challenge(core, session)
    intent = await core.intent(session["payment_intent"])
    assert intent["status"] == "requires_payment_method"
    assert [one for one in core.bank.asked if isinstance(one, ChargeRequest)] == [], "the acquirer was not asked"
    assert await core.pay(session["id"], VISA) == Paid()


async def test_a_typed_card_that_did_not_reach_the_bank_is_typed_again(core: Any) -> None:
    session = await core.open_session()
    core.bank.answers.append(NotSent("no line"))
    assert isinstance(await core.pay(session["id"], VISA), Declined)
    intent = await core.intent(session["payment_intent"])
    assert intent["status"] == "requires_payment_method", "its number was only in the request that failed"
    assert await core.pay(session["id"], VISA) == Paid()
