"""RULES §9, §14: test cards that answer late, not at all, or take it back; each request once under its key."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.gateway.acquirers.port import (
    Approved,
    CaptureRequest,
    ChargeRequest,
    Declined,
    NotFound,
    Pending,
    RefundRequest,
    Reversal,
    VoidRequest,
)
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.acquirers.simulated_cards import BY_TOKEN
from tallystick.kernel.outcomes import Done, Unknown
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement

ACCOUNT = "acct_0000000000000001"
START = datetime(2026, 11, 23, 12, tzinfo=UTC)


class StandingClock(SystemClock):
    """A clock that a test moves; nobody waits on it."""

    def __init__(self) -> None:
        self.at = START
        self.slept_s: list[float] = []

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def bank(gateway_database: Database, clock: StandingClock) -> SimulatedAcquirer:
    return SimulatedAcquirer(gateway_database, clock, pages_url="http://127.0.0.1:1", fingerprint_key=bytes(32))


@pytest.fixture
def all_knowing(gateway_database: Database, clock: StandingClock) -> SimulatedAcquirer:
    return SimulatedAcquirer(
        gateway_database, clock, pages_url="http://127.0.0.1:1", fingerprint_key=bytes(32), remembers=True
    )


def charge(token: str, key: str = "ch_1") -> ChargeRequest:
    return ChargeRequest(
        account_id=ACCOUNT,
        key=key,
        card_reference=f"sim_{BY_TOKEN[token].alias}",
        code=None,
        amount=1000,
        currency="EUR",
        capture=True,
    )


def refund(key: str = "acr_1", token: str = "pm_card_refundFail") -> RefundRequest:
    return RefundRequest(
        account_id=ACCOUNT,
        key=key,
        charge_reference="simch_ch_1",
        card_reference=f"sim_{BY_TOKEN[token].alias}",
        amount=1000,
        currency="EUR",
    )


async def one(call: Any, request: Any) -> Any:
    (outcome,) = await call([request])
    return outcome


async def test_approves_after_30_s(bank: SimulatedAcquirer, clock: StandingClock) -> None:
    request = charge("pm_card_approvedLate")
    assert isinstance(await one(bank.charge, request), Unknown)
    assert clock.slept_s == [0.05, 2.0], "it lets the caller wait, but not for long"
    clock.at += timedelta(seconds=29)
    assert await one(bank.inquire_charges, request) == Pending()
    clock.at += timedelta(seconds=1)
    assert await one(bank.inquire_charges, request) == Approved("simch_ch_1")
    assert await one(bank.charge, request) == Approved("simch_ch_1"), "the same key is the same charge"


@pytest.mark.parametrize(
    ("token", "answer"), [("pm_card_timeoutApproved", Approved), ("pm_card_timeoutDeclined", Declined)]
)
async def test_times_out_and_had_decided(bank: SimulatedAcquirer, token: str, answer: type) -> None:
    assert isinstance(await one(bank.charge, charge(token)), Unknown)
    assert isinstance(await one(bank.inquire_charges, charge(token)), answer)


async def test_approves_although_it_was_reversed(bank: SimulatedAcquirer, clock: StandingClock) -> None:
    request = charge("pm_card_approvedAfterCancel")
    assert isinstance(await one(bank.charge, request), Unknown)
    assert await one(bank.inquire_charges, request) == NotFound()
    clock.at += timedelta(days=1)
    assert await one(bank.inquire_charges, request) == NotFound(), "it does not come by itself"
    assert isinstance(await one(bank.reverse, Reversal(ACCOUNT, "ch_1")), Done)
    assert await bank.notices(clock.at, 10) == []
    clock.at += timedelta(seconds=30)
    (notice,) = await bank.notices(clock.at, 10)
    assert (notice.account_id, notice.key, notice.kind, notice.reference) == (
        ACCOUNT,
        "ch_1",
        "approved",
        "simch_ch_1",
    )
    assert await one(bank.inquire_charges, request) == Approved("simch_ch_1")
    await bank.acknowledge([notice], clock.at)
    assert await bank.notices(clock.at, 10) == []


async def test_a_refund_bounces(bank: SimulatedAcquirer, clock: StandingClock) -> None:
    assert await one(bank.refund, refund()) == Done("simre_acr_1")
    assert await bank.notices(clock.at, 10) == []
    clock.at += timedelta(seconds=30)
    (notice,) = await bank.notices(clock.at, 10)
    assert (notice.key, notice.kind, notice.reason) == ("acr_1", "refund_failed", "expired_or_canceled_card")
    assert await one(bank.refund, refund("acr_2", "pm_card_visa")) == Done("simre_acr_2")
    clock.at += timedelta(days=1)
    assert [notice.key for notice in await bank.notices(clock.at, 10)] == ["acr_1"]


async def test_a_plain_card_needs_no_memory(bank: SimulatedAcquirer, gateway_database: Database) -> None:
    """The hot path makes no round trip. What nothing is known of has arrived."""
    await one(bank.charge, charge("pm_card_visa"))
    assert await one(bank.inquire_charges, charge("pm_card_visa")) == Approved("simch_ch_1")
    assert isinstance(await one(bank.inquire_charges, charge("pm_card_chargeDeclined")), Declined)
    capture = CaptureRequest(
        account_id=ACCOUNT, key="acr_9", charge_reference="c", amount=5, currency="EUR", final=True
    )
    assert await one(bank.inquire_requests, capture) == Done("simcap_acr_9")
    assert await gateway_database.rows(Statement("of_a_test", "SELECT key FROM simulated_operation")) == []


async def test_a_reversed_charge_is_gone(bank: SimulatedAcquirer) -> None:
    await one(bank.charge, charge("pm_card_timeoutApproved"))
    await one(bank.reverse, Reversal(ACCOUNT, "ch_1"))
    assert isinstance(await one(bank.inquire_charges, charge("pm_card_timeoutApproved")), Declined)


async def test_one_that_remembers_everything_knows_what_never_arrived(all_knowing: SimulatedAcquirer) -> None:
    """RULES §3: `not found` is an answer, and a key that was reversed takes no charge any more."""
    assert await one(all_knowing.inquire_charges, charge("pm_card_visa")) == NotFound()
    assert isinstance(await one(all_knowing.reverse, Reversal(ACCOUNT, "ch_1")), Done)
    assert isinstance(await one(all_knowing.charge, charge("pm_card_visa")), Declined)
    assert await one(all_knowing.inquire_charges, charge("pm_card_visa")) == NotFound()

    assert await one(all_knowing.charge, charge("pm_card_visa", "ch_2")) == Approved("simch_ch_2")
    assert await one(all_knowing.inquire_charges, charge("pm_card_visa", "ch_2")) == Approved("simch_ch_2")

    void = VoidRequest(account_id=ACCOUNT, key="acr_9", charge_reference="c", amount=5, currency="EUR")
    assert await one(all_knowing.inquire_requests, void) == NotFound()
    assert await one(all_knowing.void, void) == Done("simvoid_acr_9")
    assert await one(all_knowing.inquire_requests, void) == Done("simvoid_acr_9")
