"""Failed logins make one wait, by rows, and nobody can keep another out (RULES §12)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.logins import lockout, sessions, totp, users
from tallystick.kernel.logins.backoff import NAME_AT_PLACE, NAME_FROM_ELSEWHERE, PLACE, Failures, counted, wait_s
from tallystick.kernel.logins.sessions import Logins, Wait, Wrong
from tallystick.kernel.operators.roles import Role
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import KeyEncryptionUnavailable

PASSWORD = "correct horse battery"
DESK, ATTACKER = "203.0.113.9", "198.51.100.1"
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


class StandingClock:
    """Stands until the test moves it."""

    def __init__(self) -> None:
        self.at = AT

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def logins(gateway_database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch) -> Logins:
    """With ada, whose password is compared without argon2: how slow that is, other tests know."""
    entropy = SystemEntropy()
    await users.add_user(gateway_database, "ada", PASSWORD, clock, entropy, role=Role.ADMIN)
    monkeypatch.setattr(sessions, "matches", lambda hashed, password: password == PASSWORD and hashed is not None)
    return Logins(gateway_database, clock, entropy)


async def test_after_some_failures_one_waits_longer_and_longer(logins: Logins, clock: StandingClock) -> None:
    for _ in range(NAME_AT_PLACE.free):
        assert await logins.log_in("ada", "wrong", address=DESK) == Wrong()
    waits = []
    for _ in range(6):
        refused = await logins.log_in("ada", "wrong", address=DESK)
        assert isinstance(refused, Wait)
        waits.append(refused.retry_after_s)
        assert await logins.log_in("ada", PASSWORD, address=DESK) == refused, "nothing is looked at meanwhile"
        clock.at += timedelta(seconds=refused.retry_after_s)
        assert await logins.log_in("ada", "wrong", address=DESK) == Wrong()
    assert waits == [2, 4, 8, 16, 32, 64]


async def test_who_waited_gets_in_and_begins_anew(logins: Logins, clock: StandingClock) -> None:
    for _ in range(NAME_AT_PLACE.free):
        await logins.log_in("ada", "wrong", address=DESK)
    clock.at += timedelta(seconds=2)
    assert isinstance(await logins.log_in("ada", PASSWORD, address=DESK), str)
    for _ in range(NAME_AT_PLACE.free):
        assert await logins.log_in("ada", "wrong", address=DESK) == Wrong()


async def test_an_attacker_elsewhere_does_not_keep_out_who_logs_in_from_where_she_always_does(
    logins: Logins, clock: StandingClock
) -> None:
    assert isinstance(await logins.log_in("ada", PASSWORD, address=DESK), str)
    for n in range(200):
        await logins.log_in("ada", "wrong", address=f"198.51.{n}.1")
        clock.at += timedelta(seconds=0.1)
    assert isinstance(await logins.log_in("ada", "wrong", address="198.51.250.1"), Wait)
    assert isinstance(await logins.log_in("ada", PASSWORD, address=DESK), str)


async def test_elsewhere_the_wait_for_a_name_stays_short(logins: Logins, clock: StandingClock) -> None:
    longest = 0
    for n in range(100):
        refused = await logins.log_in("ada", "wrong", address=f"198.51.{n}.1")
        if isinstance(refused, Wait):
            longest = max(longest, refused.retry_after_s)
            clock.at += timedelta(seconds=refused.retry_after_s)
    assert longest == NAME_FROM_ELSEWHERE.wait_s_max


async def test_many_names_from_one_address_wait(logins: Logins, gateway_database: Database) -> None:
    for n in range(PLACE.free):
        assert await logins.log_in(f"name {n}", "wrong", address=ATTACKER) == Wrong()
    refused = [await logins.log_in(f"other {n}", "wrong", address=ATTACKER) for n in range(20)]
    assert all(isinstance(each, Wait) for each in refused)
    count = Statement("count", "SELECT count(*)::int AS n FROM login_failure")
    [row] = await gateway_database.rows(count)
    assert row["n"] == 2 * PLACE.free + 1, "who waits leaves no rows behind"


async def test_an_own_account_does_not_buy_an_attacker_new_tries(logins: Logins) -> None:
    """Success takes back its own try and nothing else of the address."""
    for n in range(PLACE.free - 1):
        await logins.log_in(f"name {n}", "wrong", address=ATTACKER)
        assert isinstance(await logins.log_in("ada", PASSWORD, address=ATTACKER), str)
    assert await logins.log_in("more", "wrong", address=ATTACKER) == Wrong()
    assert isinstance(await logins.log_in("more", "wrong", address=ATTACKER), Wait)


async def test_of_many_at_once_only_the_free_ones_are_tried(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WAITING_MAX", 1000)
    answers = await asyncio.gather(*(logins.log_in("ada", "wrong", address=DESK) for _ in range(50)))
    assert sum(answer == Wrong() for answer in answers) == NAME_AT_PLACE.free


WAITING = Statement(
    "waiting",
    "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
)


async def test_a_right_password_and_a_wrong_one_at_once_do_not_wait_for_each_other(gateway_database: Database) -> None:
    """Both lock the place first and then the name: else one of them would be broken off by the server, and somebody who
    tries a colleague's name would keep her out now and then."""
    counted, right = lockout.Lockout(gateway_database), lockout.Lockout(gateway_database)
    assert await counted.admit("ada", DESK, AT) == 0
    async with gateway_database.transaction() as wrong:
        await lockout._count(wrong, {lockout._hash("place", DESK): PLACE}, AT)

        async def forgive() -> None:
            async with gateway_database.transaction() as tx:
                await right.forgive(tx, "ada", DESK, AT)

        forgiving = asyncio.create_task(forgive())
        async with asyncio.timeout(60):
            while (await gateway_database.rows(WAITING))[0]["n"] == 0:  # noqa: ASYNC110 - the database tells who asks
                await asyncio.sleep(0.01)
        await lockout._count(wrong, {lockout._hash("name at place", "ada", DESK): NAME_AT_PLACE}, AT)
    await forgiving


async def test_another_process_knows_it_too(logins: Logins, gateway_database: Database, clock: StandingClock) -> None:
    for _ in range(NAME_AT_PLACE.free):
        await logins.log_in("ada", "wrong", address=DESK)
    assert isinstance(
        await Logins(gateway_database, clock, SystemEntropy()).log_in("ada", PASSWORD, address=DESK), Wait
    )


async def test_names_and_addresses_are_not_stored(logins: Logins, gateway_database: Database) -> None:
    """People type their password into the field for the name."""
    await logins.log_in("my secret password", "ada", address=DESK)
    dump = Statement("dump", "SELECT string_agg(l::text, ' ') AS text FROM login_failure l")
    [row] = await gateway_database.rows(dump)
    assert "secret" not in row["text"]
    assert DESK not in row["text"]


async def test_old_failures_are_forgotten(logins: Logins, gateway_database: Database, clock: StandingClock) -> None:
    await logins.log_in("bob", "wrong", address=DESK)
    clock.at += timedelta(days=2)
    await logins.log_in("ada", PASSWORD, address=DESK)
    count = Statement("count", "SELECT count(*)::int AS n FROM login_failure WHERE failures > 0")
    [row] = await gateway_database.rows(count)
    assert row["n"] == 0


async def test_too_many_that_wait_for_the_core_are_told_to_come_again(
    logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "WAITING_MAX", 0)
    assert isinstance(await logins.log_in("ada", PASSWORD, address=DESK), Wait)


async def test_of_a_burst_from_everywhere_no_more_wait_for_the_core_than_may(logins: Logins) -> None:
    """They come in one moment, before the first of them has got to its password."""
    burst = [logins.log_in(f"name {n}", "wrong", address=f"203.0.113.{n}") for n in range(50)]
    answers = await asyncio.gather(*burst)
    assert sum(answer == Wrong() for answer in answers) == sessions.WAITING_MAX


async def test_a_second_factor_whose_key_is_away_is_not_called_too_many_tries(
    gateway_database: Database, clock: StandingClock, logins: Logins, key_encryption: Any
) -> None:
    sealed = Logins(gateway_database, clock, SystemEntropy(), key_encryption)
    secret = await sealed.propose_second_factor("ada")
    assert secret is not None
    code = totp.code_at(secret, int(AT.timestamp()) // totp.STEP_S)
    assert await sealed.confirm_second_factor("ada", code) is not None
    key_encryption.away = True
    with pytest.raises(KeyEncryptionUnavailable):
        await sealed.log_in("ada", PASSWORD, code, address=DESK)


async def test_a_name_that_nobody_has_costs_as_much_as_a_wrong_password(
    gateway_database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same statements and one argon2 hash, whether there is such a person or not: time does not tell."""
    await users.add_user(gateway_database, "ada", PASSWORD, clock, SystemEntropy(), role=Role.ADMIN)
    hasher = NotingHasher()
    monkeypatch.setattr(users, "HASHER", hasher)
    seen: list[list[str]] = []
    for name in ("ada", "nobody"):
        watched = Watched(gateway_database)
        assert await Logins(watched, clock, SystemEntropy()).log_in(name, "wrong password", address=DESK) == Wrong()
        seen.append(watched.statements)
    assert seen[0] == seen[1]
    assert hasher.costs == [["argon2id", "v=19", "m=8,t=1,p=1"]] * 2


def test_a_password_costs_what_the_rfc_recommends(argon2_at_its_cost: PasswordHasher) -> None:
    """RFC 9106 §4, the second recommended option, with a salt of 128 bits and a tag of 256."""
    assert argon2_at_its_cost.hash(PASSWORD).split("$")[1:4] == ["argon2id", "v=19", "m=65536,t=3,p=4"]
    assert (argon2_at_its_cost.salt_len, argon2_at_its_cost.hash_len) == (16, 32)


class NotingHasher(PasswordHasher):
    """Notes what the hashes cost that passwords are compared with."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.costs: list[list[str]] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.costs.append(str(hash).split("$")[1:4])
        return super().verify(hash, password)


class Watched:
    """A database that notes which statements run by themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements: list[str] = []

    def transaction(self, *, bulk: bool = False) -> Any:
        self.statements.append("transaction")
        return self._database.transaction(bulk=bulk)

    async def rows(self, statement: Statement, *parameters: Any) -> Any:
        self.statements.append(statement.name)
        return await self._database.rows(statement, *parameters)

    async def execute(self, statement: Statement, *parameters: Any) -> int:
        self.statements.append(statement.name)
        return await self._database.execute(statement, *parameters)

    async def close(self) -> None:
        pass


@given(st.lists(st.floats(0, 200_000), max_size=40), st.sampled_from([NAME_AT_PLACE, PLACE, NAME_FROM_ELSEWHERE]))
def test_a_wait_never_exceeds_its_most(pauses: list[float], patience: Any) -> None:
    at, failures = AT, Failures(0, AT, AT)
    for pause in pauses:
        at += timedelta(seconds=pause)
        failures = counted(failures, at, patience)
        assert 0 <= wait_s(failures, at) <= patience.wait_s_max
        assert failures.count > patience.free - 1 or wait_s(failures, at) == 0
