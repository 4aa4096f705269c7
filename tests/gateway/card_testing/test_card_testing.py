"""Whoever tries stolen cards is slowed down, across processes; honest shoppers are not (RULES §12)."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tallystick.gateway.card_testing.guard import CardTesting, Decline, Forgetting, Try
from tallystick.gateway.card_testing.limits import Limits
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement

ACCOUNT, OTHER = "acct_1", "acct_2"
ADDRESS, ELSEWHERE = "203.0.113.9", "198.51.100.1"
DECLINED = "4000000000000002"
VISA = "4242424242424242"
FORM = "application/x-www-form-urlencoded"


class StandingClock(SystemClock):
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 28, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def guard(gateway_database: Database, clock: StandingClock) -> CardTesting:
    limits = Limits(card_tries=5, card_declines=2, address_tries=10, address_declines=3)
    return CardTesting(gateway_database, clock, limits)


async def test_an_address_may_try_so_often_within_an_hour(guard: CardTesting, clock: StandingClock) -> None:
    tried = Try(ACCOUNT, True, address=ADDRESS)
    assert [await guard.admit(tried) for _ in range(10)] == [0] * 10
    assert await guard.admit(tried) == 3601
    assert await guard.admit(Try(ACCOUNT, True, address=ELSEWHERE)) == 0
    assert await guard.admit(Try(OTHER, True, address=ADDRESS)) == 0, "another shop is another matter"
    clock.at += timedelta(hours=2)
    assert await guard.admit(tried) == 0


async def test_it_holds_across_processes_and_for_many_at_once(
    guard: CardTesting, gateway_database: Database, clock: StandingClock
) -> None:
    other = CardTesting(gateway_database, clock, guard.limits)
    tried = Try(ACCOUNT, True, address=ADDRESS)
    waits = await asyncio.gather(*(each.admit(tried) for _ in range(20) for each in (guard, other)))
    assert sum(wait == 0 for wait in waits) == 10


async def decline(guard: CardTesting, charge: str, fingerprint: str = "") -> None:
    """The bank says no to a charge."""
    async with guard._database.transaction() as tx:
        await guard.count_declines(tx, [Decline(ACCOUNT, True, charge, fingerprint)], guard._clock.now())


async def test_declines_count_more_than_tries(guard: CardTesting) -> None:
    for number in range(3):
        assert await guard.admit(Try(ACCOUNT, True, address=ADDRESS, charge=f"ch_{number}")) == 0
        await decline(guard, f"ch_{number}")
    assert await guard.admit(Try(ACCOUNT, True, address=ADDRESS)) > 0


async def test_a_card_is_counted_wherever_it_comes_from(guard: CardTesting) -> None:
    for address in ("192.0.2.1", "192.0.2.2"):
        assert await guard.admit(Try(ACCOUNT, True, "fingerprint", address, f"ch_{address}")) == 0
        await decline(guard, f"ch_{address}", "fingerprint")
    assert await guard.admit(Try(ACCOUNT, True, "fingerprint", "192.0.2.3")) > 0
    assert await guard.admit(Try(ACCOUNT, True, "another", "192.0.2.3")) == 0


async def test_in_test_mode_the_few_cards_that_everybody_has_are_not_counted(guard: CardTesting) -> None:
    assert [await guard.admit(Try(ACCOUNT, False, "fingerprint")) for _ in range(50)] == [0] * 50


async def test_this_machine_is_not_counted(guard: CardTesting) -> None:
    """A proxy that nobody declared: everybody would share one limit."""
    assert [await guard.admit(Try(ACCOUNT, True, address="127.0.0.1")) for _ in range(50)] == [0] * 50


async def test_addresses_are_forgotten(guard: CardTesting, gateway_database: Database, clock: StandingClock) -> None:
    await guard.admit(Try(ACCOUNT, True, address=ADDRESS, charge="ch_1"))
    clock.at += timedelta(hours=1)
    await Forgetting(gateway_database, clock).forget()
    kept = Statement("kept", "SELECT subject FROM payment_tries UNION ALL SELECT subject FROM charge_address")
    of_the_hour_before = [row["subject"] for row in await gateway_database.rows(kept)]
    assert of_the_hour_before == [f"address {ADDRESS}"] * 2, "something of it counts yet"
    clock.at += timedelta(hours=1)
    await Forgetting(gateway_database, clock).forget()
    assert await gateway_database.rows(kept) == []


# The whole gateway


def a_session(gateway: Any, client: Any) -> str:
    api = client(gateway.url, gateway.test.secret_key)
    sent = {"mode": "payment", "amount_total": "500", "currency": "eur", "success_url": "https://shop.example/"}
    made: str = api.post("/v1/checkout/sessions", sent).json["url"]
    return made.removeprefix(gateway.url)


def pay(gateway: Any, client: Any, path: str, number: str, address: str) -> Any:
    fields = {"cc-number": number, "cc-exp": "12 / 34", "cc-csc": "123", "cc-name": "A"}
    headers = [("Content-Type", FORM), ("X-Forwarded-For", address)]
    return client(gateway.url).send("POST", path, urlencode(fields).encode(), headers)


def test_many_declines_from_an_address_end_in_a_kind_page(run_gateway: Any, client: Any) -> None:
    """429 with Retry-After; the bank is not asked any more, and others pay on."""
    with run_gateway(trusted_proxies="127.0.0.1", address_declines_max=3) as gateway:
        for _ in range(3):
            assert pay(gateway, client, a_session(gateway, client), DECLINED, ADDRESS).status == 303
        path = a_session(gateway, client)
        refused = pay(gateway, client, path, VISA, ADDRESS)
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 3601
        assert b"There were too many tries" in refused.body
        assert b"Nothing was charged" in refused.body
        assert "frame-ancestors" in refused.headers["content-security-policy"]
        assert VISA.encode() not in refused.body
        charges = client(gateway.url, gateway.test.secret_key).get("/v1/charges").json["data"]
        assert len(charges) == 3
        assert pay(gateway, client, path, VISA, ELSEWHERE).status == 303
        assert re.search(rb"Payment received|received", client(gateway.url).get(path).body)


def test_on_the_wire_a_card_that_was_declined_too_often_is_answered_429(run_gateway: Any, client: Any) -> None:
    """In Stripe's envelope, and the same call may be sent again under its key later."""
    with run_gateway(card_limits_in_test_mode=True, card_declines_max=2) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        sent = {"amount": "500", "currency": "eur", "confirm": "true"}
        for _ in range(2):
            declined = api.post("/v1/payment_intents", {**sent, "payment_method": "pm_card_chargeDeclined"})
            assert declined.status == 402
        refused = api.post("/v1/payment_intents", {**sent, "payment_method": "pm_card_chargeDeclined"}, key="again")
        assert (refused.status, refused.error["code"]) == (429, "card_decline_rate_limit_exceeded")
        assert 1 <= int(refused.headers["retry-after"]) <= 3601
        assert api.post("/v1/payment_intents", {**sent, "payment_method": "pm_card_visa"}).status == 200

        method = api.post("/v1/payment_methods", {"type": "card", "card[token]": "tok_chargeDeclined"}).json["id"]
        asked = {"amount": "500", "currency": "eur", "payment_method": method}
        intent = api.post("/v1/payment_intents", asked).json["id"]
        assert api.post(f"/v1/payment_intents/{intent}/confirm", {}).status == 429, "the intent's own card"
        assert api.post(f"/v1/payment_intents/{intent}/confirm", {"payment_method": method}).status == 429


async def test_a_decline_counts_in_the_hour_in_which_it_came(guard: CardTesting, clock: StandingClock) -> None:
    """The bank may take until after the full hour to say no."""
    tried = Try(ACCOUNT, True, "fp_1")
    clock.at = datetime(2026, 11, 28, 12, 59, 59, tzinfo=UTC)
    assert await guard.admit(tried) == 0
    clock.at += timedelta(seconds=2)
    await decline(guard, "ch_1", "fp_1")
    await decline(guard, "ch_2", "fp_1")
    assert await guard.admit(tried) > 0
