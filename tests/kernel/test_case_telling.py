"""People are told of each case once, many in one alert, and again where nobody heard it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.gateway.cases.cases import case_teller, open_cases
from tallystick.gateway.cases.concerns import Concern
from tallystick.kernel.case_telling import AGAIN_S, CaseTeller
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Clock(SystemClock):
    at = AT

    def now(self) -> datetime:
        return self.at


class Pager:
    """Remembers what it told; `hears` says whether anybody does."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.hears = True

    async def tell(self, title: str, text: str) -> bool:
        self.told.append((title, text))
        return self.hears


def concern(number: int, kind: str = "over_refunded") -> Concern:
    return Concern(
        account_id="acct_1",
        livemode=False,
        kind=kind,  # type: ignore[arg-type]
        subject=f"re_{number}",
        payment_intent="pi_1",
        charge="ch_1",
        amount=100,
        currency="EUR",
    )


@pytest.fixture
def pager() -> Pager:
    return Pager()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def teller(gateway_database: Database, pager: Pager, clock: Clock) -> CaseTeller:
    return case_teller(gateway_database, pager, clock)


async def test_cases_are_told_once_each_kind_in_one_alert(
    gateway_database: Database, teller: CaseTeller, pager: Pager
) -> None:
    found = [*(concern(n) for n in range(12)), concern(1, "return_bounced")]
    for _ in range(2):  # found again, it is the same case
        await open_cases(gateway_database, found, AT, SystemEntropy())
    assert await teller.step() == 13
    assert [title for title, _ in pager.told] == [
        "12 cases wait for a person: over_refunded",
        "1 case waits for a person: return_bounced",
    ]
    assert "and more" in pager.told[0][1]
    assert "tallystick gateway cases list" in pager.told[0][1]
    assert await teller.step() == 0


async def test_what_nobody_heard_is_told_again(
    gateway_database: Database, teller: CaseTeller, pager: Pager, clock: Clock
) -> None:
    await open_cases(gateway_database, [concern(1)], AT, SystemEntropy())
    pager.hears = False
    assert [await teller.step(), await teller.step()] == [1, 0]
    clock.at = AT + timedelta(seconds=AGAIN_S + 1)
    pager.hears = True
    assert [await teller.step(), await teller.step()] == [1, 0]
    clock.at += timedelta(seconds=AGAIN_S + 1)
    assert await teller.step() == 0


async def test_of_many_processes_one_tells(gateway_database: Database, pager: Pager, clock: Clock) -> None:
    await open_cases(gateway_database, [concern(n) for n in range(5)], AT, SystemEntropy())
    tellers = [case_teller(gateway_database, pager, clock) for _ in range(4)]
    assert sum(await asyncio.gather(*(teller.step() for teller in tellers))) == 5
    assert len(pager.told) == 1
