"""Every decline is counted, whoever learns of it: at once, after a challenge, by asking later, a person (RULES §12)."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tallystick.gateway.acquirers.port import Authentication, Declined, NotFound
from tallystick.gateway.card_testing.guard import Forgetting
from tallystick.gateway.card_testing.limits import Limits
from tallystick.gateway.checkout import results
from tallystick.gateway.payments.parameters import CreateIntent
from tallystick.gateway.payments.resolving import Resolution
from tallystick.kernel.outcomes import NotSent, Refused, Unknown
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import make_key_file

Core = Any

ADDRESS, ELSEWHERE = "203.0.113.9", "198.51.100.1"
VISA = "4242424242424242"
ASKS_THE_BANK = "4000002500003155"
ASKS_THE_BANK_THEN_DECLINED = "4000008400001629"
NO = Declined("card_declined", "stolen_card", "no")
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def counting(core: Core) -> Core:
    """A gateway that counts cards too, with limits that are far away."""
    core.guard.limits = Limits(cards_of_test_mode=True)
    return core


async def counted(core: Core) -> dict[str, int]:
    """Declines by what they are counted of."""
    rows = await core.rows("SELECT subject, declines FROM payment_tries WHERE declines > 0")
    return {row["subject"].partition(" ")[0]: row["declines"] for row in rows}


async def challenge(core: Core) -> tuple[str, Authentication]:
    """The charge that waits for its shopper, and what the bank knows that by."""
    [row] = await core.rows("SELECT id, authentication FROM charge WHERE state = 'authenticating'")
    return row["id"], Authentication(core.account_id, row["authentication"])


async def unknown(core: Core, session: str) -> str:
    """A charge whose answer was lost."""
    core.bank.answers = [Unknown("timeout")]
    assert await core.pay(session, address=ADDRESS) == results.Processing()
    [row] = await core.rows("SELECT id FROM charge WHERE state = 'unknown'")
    return str(row["id"])


async def at_once(core: Core, session: str) -> None:
    core.bank.answers = [NO]
    assert isinstance(await core.pay(session, address=ADDRESS), results.Declined)


async def after_the_challenge(core: Core, session: str) -> None:
    await core.pay(session, ASKS_THE_BANK, address=ADDRESS)
    charge, _ = await challenge(core)
    core.bank.answers = [NO]
    await core.checkout.answer_challenge(charge, "succeeded")


async def when_the_browser_is_back(core: Core, session: str) -> None:
    await core.pay(session, ASKS_THE_BANK, address=ADDRESS)
    _, asked = await challenge(core)
    await core.bank.answer_challenge(asked, "succeeded")
    core.bank.answers = [NO]
    await core.checkout.finish_challenge(session)


async def who_is_not_the_cardholder(core: Core, session: str) -> None:
    """The bank has asked, and does not know this shopper: nobody who steals cards gets further."""
    await core.pay(session, ASKS_THE_BANK, address=ADDRESS)
    charge, _ = await challenge(core)
    await core.checkout.answer_challenge(charge, "failed")


async def without_asking_the_shopper(core: Core, session: str) -> None:
    core.bank.answers = [Refused("not_enrolled", "No.")]
    assert isinstance(await core.pay(session, ASKS_THE_BANK, address=ADDRESS), results.Declined)


async def by_asking_later(core: Core, session: str) -> None:
    await unknown(core, session)
    core.bank.inquiries = [NO]
    core.clock.ahead += timedelta(seconds=11)
    assert await core.inquirer.look() == 1


async def by_a_person(core: Core, session: str) -> None:
    charge = await unknown(core, session)
    found = {"account": core.account_id, "livemode": False, "id": charge, "outcome": "refused"}
    await core.resolving.resolve(Resolution(**found, evidence="the bank's letter", operator="Ada"))


WAYS = [
    at_once,
    after_the_challenge,
    when_the_browser_is_back,
    who_is_not_the_cardholder,
    without_asking_the_shopper,
    by_asking_later,
    by_a_person,
]


@pytest.mark.parametrize("way", WAYS)
async def test_a_decline_counts_once_for_the_card_and_the_address(
    counting: Core, way: Callable[[Core, str], Awaitable[None]]
) -> None:
    session = await counting.open_session()
    await way(counting, session["id"])
    assert await counted(counting) == {"card": 1, "address": 1}
    await counting.checkout.finish_challenge(session["id"])
    counting.clock.ahead += timedelta(minutes=1)
    await counting.inquirer.look()
    assert await counted(counting) == {"card": 1, "address": 1}, "whoever learns of it again counts nothing"
    [row] = await counting.rows("SELECT tries FROM payment_tries WHERE subject LIKE 'address %'")
    assert row["tries"] == 1


async def test_a_decline_that_the_completer_finds_counts_for_the_card(
    counting: Core, another_process: Callable[[], Core]
) -> None:
    """The process died while the bank thought; the call came from the merchant's server, which is no shopper."""
    claim = await counting.claim("k")
    sent = CreateIntent(amount=5, currency="eur", confirm=True, payment_method="pm_card_visa")
    counting.bank.open.clear()
    waiting = asyncio.create_task(counting.payments.create([(counting.call(claim), sent)]))
    async with asyncio.timeout(60):
        while not counting.bank.asked:  # noqa: ASYNC110 - the bank is a list of what it was asked
            await asyncio.sleep(0)
    for task in (waiting, *counting.carrying._under_way):
        task.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    other = another_process()
    other.guard.limits = counting.guard.limits
    other.bank.inquiries = [NO]
    other.clock.ahead += timedelta(seconds=361)
    await other.completer.run_once()
    assert await counted(other) == {"card": 1}


async def test_a_bank_that_was_not_reached_declined_nothing(counting: Core) -> None:
    """Honest shoppers do not wait for what is no fault of theirs."""
    session = await counting.open_session()
    counting.bank.answers = [NotSent("away")]
    await counting.pay(session["id"], address=ADDRESS)
    assert await counted(counting) == {}


async def test_a_charge_that_never_arrived_was_not_declined(counting: Core) -> None:
    """It is given up and reversed; the bank never saw the card."""
    session = await counting.open_session()
    await unknown(counting, session["id"])
    for seconds in (11, 61, 241):
        counting.bank.inquiries = [NotFound()]
        counting.clock.ahead += timedelta(seconds=seconds)
        assert await counting.inquirer.look() == 1
    [charge] = await counting.rows("SELECT state, failure_code FROM charge")
    assert (charge["state"], charge["failure_code"]) == ("declined", "processing_error")
    assert await counted(counting) == {}
    assert (await counting.session(session["id"]))["decline_count"] == 0


async def test_declines_of_one_batch_count_each(counting: Core) -> None:
    sessions = [await counting.open_session() for _ in range(5)]
    counting.bank.answers = [NO] * 5
    await asyncio.gather(*(counting.pay(session["id"], address=ADDRESS) for session in sessions))
    assert await counted(counting) == {"card": 5, "address": 5}


async def test_a_decline_after_hours_counts_for_the_card_alone(counting: Core) -> None:
    """Addresses are forgotten sooner than banks answer."""
    session = await counting.open_session()
    await unknown(counting, session["id"])
    counting.clock.ahead += timedelta(hours=2)
    await Forgetting(counting.database, counting.clock).forget()
    assert await counting.rows("SELECT subject FROM charge_address") == []
    counting.bank.inquiries = [NO]
    await counting.inquirer.look()
    assert await counted(counting) == {"card": 1}


async def test_declines_after_challenges_end_in_waiting(counting: Core) -> None:
    counting.guard.limits = Limits(address_declines=2)
    for _ in range(2):
        await after_the_challenge(counting, (await counting.open_session())["id"])
    session = await counting.open_session()
    assert isinstance(await counting.pay(session["id"], address=ADDRESS), results.TooMany)
    assert await counting.pay(session["id"], address=ELSEWHERE) == results.Paid()


# The whole gateway


def pay(gateway: Any, client: Any, number: str, address: str) -> Any:
    """A shopper at an address opens a session, types a card and says yes where the bank asks."""
    api, browser = client(gateway.url, gateway.test.secret_key), client(gateway.url)
    sent = {"mode": "payment", "amount_total": "500", "currency": "eur", "success_url": "https://shop.example/"}
    path = api.post("/v1/checkout/sessions", sent).json["url"].removeprefix(gateway.url)
    fields = {"cc-number": number, "cc-exp": "12 / 34", "cc-csc": "123", "cc-name": "A"}
    headers = [("Content-Type", FORM), ("X-Forwarded-For", address)]
    answer = browser.send("POST", path, urlencode(fields).encode(), headers)
    if answer.headers.get("location", "").endswith("/challenge"):
        [asked] = set(re.findall(rb"/acs/ch_\w+", browser.get(answer.headers["location"]).body))
        say_yes(browser, asked.decode())
        browser.get(f"{path}/authenticated")
    return answer


def say_yes(browser: Any, path: str) -> None:
    answered = browser.send("POST", path, b"result=succeeded", [("Content-Type", FORM)])
    assert answered.status == 303, answered


def test_declines_after_a_challenge_count_for_the_shoppers_address(
    run_gateway: Any, client: Any, tmp_path: Path
) -> None:
    """The number waits in the vault while the bank asks."""
    vault = tmp_path / "vault.keys"
    make_key_file(vault, SystemEntropy())
    settings = {"trusted_proxies": "127.0.0.1", "address_declines_max": 2, "vault_key_file": str(vault)}
    with run_gateway(**settings) as gateway:
        for _ in range(2):
            assert pay(gateway, client, ASKS_THE_BANK_THEN_DECLINED, ADDRESS).status == 303
        assert pay(gateway, client, VISA, ADDRESS).status == 429
        assert pay(gateway, client, VISA, ELSEWHERE).status == 303
        charges = client(gateway.url, gateway.test.secret_key).get("/v1/charges").json["data"]
        assert [charge["status"] for charge in charges] == ["succeeded", "failed", "failed"]


def test_declines_after_a_challenge_count_for_the_card_on_the_wire(run_gateway: Any, client: Any) -> None:
    with run_gateway(card_limits_in_test_mode=True, card_declines_max=2) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        sent = {"amount": "500", "currency": "eur", "confirm": "true", "return_url": "https://shop.example/"}
        sent = {**sent, "payment_method": "pm_card_threeDSecureRequiredChargeDeclined"}
        for _ in range(2):
            asked = api.post("/v1/payment_intents", sent).json["next_action"]["redirect_to_url"]["url"]
            say_yes(client(gateway.url), asked.removeprefix(gateway.url))
        refused = api.post("/v1/payment_intents", sent)
        assert (refused.status, refused.error["code"]) == (429, "card_decline_rate_limit_exceeded")
        assert api.post("/v1/payment_intents", {**sent, "payment_method": "pm_card_visa"}).status == 200
