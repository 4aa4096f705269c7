"""RULES §5: a key whose caller never came back is ended by one completer, and by none while somebody is at it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.kernel.idempotency import Claim, ClaimRequest, Idempotency, LeaseLost, Replay, Scope, completer
from tallystick.kernel.idempotency.completer import Completer
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, DatabaseUnavailable

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class StandingClock(SystemClock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = AT

    def now(self) -> datetime:
        return self.at


class Service:
    """A service that ends every call it is given, and remembers which."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.engine = Idempotency(database)
        self.clock = StandingClock()
        self.resumed: list[str] = []
        self.broken = False
        self.completer = Completer(self.engine, self.resume, self.clock)

    async def resume(self, claims: Sequence[Claim]) -> None:
        self.resumed += [f"{claim.scope.key}:{claim.recovery}" for claim in claims]
        if self.broken:
            raise ValueError("cannot be ended")
        async with self.database.transaction() as tx:
            await self.engine.finish(tx, [(claim, 200, b"completed") for claim in claims])

    async def begin(self, key: str, recovery: str | None = None) -> Claim:
        [claim] = await self.engine.claim([ClaimRequest(Scope("acct_a", "test", key), b"f")], self.clock.at)
        assert isinstance(claim, Claim)
        if recovery is not None:
            async with self.database.transaction() as tx:
                await self.engine.record(tx, [(claim, recovery)])
        return claim

    async def later(self, seconds: float) -> int:
        self.clock.at += timedelta(seconds=seconds)
        return await self.completer.run_once()


@pytest.fixture
def service(gateway_database: Database) -> Service:
    return Service(gateway_database)


async def test_what_was_begun_is_ended_and_its_answer_is_kept(service: Service) -> None:
    stale = await service.begin("k", "pi_1")
    assert await service.later(359) == 0, "the lease, and five minutes more"
    assert await service.later(2) == 1
    assert service.resumed == ["k:pi_1"]
    [outcome] = await service.engine.claim([ClaimRequest(stale.scope, b"f")], service.clock.at)
    assert outcome == Replay(200, b"completed")
    with pytest.raises(LeaseLost):
        async with service.database.transaction() as tx:
            await service.engine.finish(tx, [(stale, 200, b"too late")])
    assert await service.later(3600) == 0


async def test_what_did_nothing_is_forgotten(service: Service) -> None:
    """kill -9 after the claim: the key is free, and the next call executes."""
    stale = await service.begin("k")
    assert await service.later(361) == 1
    assert service.resumed == []
    assert isinstance(await service.begin("k"), Claim)
    with pytest.raises(LeaseLost):
        async with service.database.transaction() as tx:
            await service.engine.finish(tx, [(stale, 200, b"too late")])


async def test_a_call_that_was_resumed_meanwhile_is_left_alone(service: Service) -> None:
    first = await service.begin("k", "pi_1")
    service.clock.at += timedelta(seconds=355)
    [taken] = await service.engine.claim([ClaimRequest(first.scope, b"f")], service.clock.at)
    assert isinstance(taken, Claim)
    assert await service.later(30) == 0
    assert await service.later(331) == 1, "the retry died too; it was not lost out of sight"
    assert service.resumed == ["k:pi_1"]


async def test_one_of_two_completers_wins(service: Service) -> None:
    await service.begin("k", "pi_1")
    service.clock.at += timedelta(seconds=361)
    seen, _ = await service.engine.running(AT, service.clock.at, 10)
    assert len(await service.engine.take_over(seen, service.clock.at)) == 1
    assert await service.engine.take_over(seen, service.clock.at) == []
    assert await service.completer.run_once() == 0


async def test_what_breaks_is_tried_again_and_holds_up_nothing(service: Service) -> None:
    await service.begin("poison", "pi_1")
    service.broken = True
    assert await service.later(361) == 1
    service.broken = False
    await service.begin("k", "pi_2")
    assert await service.later(361) == 2
    assert sorted(service.resumed) == ["k:pi_2", "poison:pi_1", "poison:pi_1"]


async def test_a_whole_backlog_is_ended_page_by_page(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also keys of the very same instant, as a batch of claims makes them."""
    monkeypatch.setattr(completer, "KEYS_MAX", 3)
    monkeypatch.setattr(completer, "LOOKED_MAX", 4)
    requests = [ClaimRequest(Scope("acct_a", "test", f"k{number:02}"), b"f") for number in range(10)]
    claims = [claim for claim in await service.engine.claim(requests, AT) if isinstance(claim, Claim)]
    async with service.database.transaction() as tx:
        await service.engine.record(tx, [(claim, "r") for claim in claims])
    await service.begin("a day later", "r")
    assert await service.later(86_400) == 11
    assert len(set(service.resumed)) == 11


async def test_a_new_process_looks_through_three_days_of_ended_calls_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the simulation: it took a statement for every ten minutes of them, and began anew where one failed."""
    for day in range(3):
        service.clock.at = AT + timedelta(days=day)
        claim = await service.begin(f"k{day}", "r")
        async with service.database.transaction() as tx:
            await service.engine.finish(tx, [(claim, 200, b"")])
    await service.begin("left", "r")
    looks, running = [], service.engine.running

    async def counted(since: datetime, until: datetime, keys_max: int, *, after: Scope | None = None) -> Any:
        looks.append(since)
        return await running(since, until, keys_max, after=after)

    monkeypatch.setattr(service.engine, "running", counted)
    assert await service.later(361) == 1
    assert service.resumed == ["left:r"]
    assert len(looks) == 1


async def test_a_database_that_is_away_is_waited_for(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await service.begin("k", "pi_1")

    async def away(*_: object, **__: object) -> list[object]:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(service.engine, "running", away)
        with pytest.raises(DatabaseUnavailable):
            await service.later(361)
    assert await service.completer.run_once() == 1
