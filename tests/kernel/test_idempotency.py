"""The idempotency engine on real PostgreSQL (RULES §5). The wire and the orders API have the table's rows as tests
over HTTP."""

import asyncio
import importlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.idempotency import (
    Claim,
    ClaimRequest,
    Idempotency,
    InUse,
    KeyInvalid,
    LeaseLost,
    Mismatch,
    Replay,
    Scope,
    fingerprint,
    parse_key,
)
from tallystick.kernel.idempotency.engine import LEASE_S, first_generation
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import Database, Statement

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(seconds=61)
FIRST = first_generation(AT)


def a_call(key: str = "basket-17", owner: str = "acct_a", mode: str = "test", fields: object = 1) -> ClaimRequest:
    return ClaimRequest(Scope(owner, mode, key), fingerprint("POST", "/v1/orders", fields))


async def claim_one(engine: Idempotency, request: ClaimRequest, at: datetime = AT) -> object:
    [outcome] = await engine.claim([request], at)
    return outcome


async def finish(engine: Idempotency, database: Database, claim: object, body: bytes = b"{}") -> None:
    assert isinstance(claim, Claim)
    async with database.transaction() as tx:
        await engine.finish(tx, [(claim, 201, body)])


@pytest.fixture
def engine(gateway_database: Database) -> Idempotency:
    return Idempotency(gateway_database)


async def test_a_new_key_executes(engine: Idempotency) -> None:
    assert await claim_one(engine, a_call()) == Claim(Scope("acct_a", "test", "basket-17"), FIRST)


async def test_a_finished_key_replays_the_same_status_and_bytes(
    engine: Idempotency, gateway_database: Database
) -> None:
    await finish(engine, gateway_database, await claim_one(engine, a_call()), b'{"id":"ord_1"}')
    assert await claim_one(engine, a_call()) == Replay(201, b'{"id":"ord_1"}')


async def test_another_amount_under_the_same_key_is_a_mismatch(engine: Idempotency, gateway_database: Database) -> None:
    claim = await claim_one(engine, a_call(fields={"amount": 1}))
    assert await claim_one(engine, a_call(fields={"amount": 2})) == Mismatch()
    await finish(engine, gateway_database, claim)
    assert await claim_one(engine, a_call(fields={"amount": 2})) == Mismatch()
    assert isinstance(await claim_one(engine, a_call(fields={"amount": 1})), Replay)


async def test_another_account_or_mode_is_independent(engine: Idempotency) -> None:
    for request in (a_call(), a_call(owner="acct_b"), a_call(mode="live")):
        assert isinstance(await claim_one(engine, request), Claim)


async def test_a_running_key_is_in_use_and_answers_without_waiting(
    engine: Idempotency, gateway_database: Database
) -> None:
    claim = await claim_one(engine, a_call())
    assert isinstance(claim, Claim)
    async with gateway_database.transaction() as tx:  # the holder's own transaction is open all the while
        await engine.finish(tx, [(claim, 201, b"{}")])
        outcome = await asyncio.wait_for(claim_one(engine, a_call()), timeout=5)
        assert isinstance(outcome, InUse)


async def test_of_100_at_once_exactly_one_executes(engine: Idempotency) -> None:
    outcomes = await asyncio.gather(*(claim_one(engine, a_call()) for _ in range(100)))
    assert sum(isinstance(outcome, Claim) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, InUse) for outcome in outcomes) == 99


async def test_of_equal_keys_in_one_batch_the_first_executes(engine: Idempotency) -> None:
    calls = [a_call(), a_call(), a_call(fields=2), a_call("other")]
    outcomes = await engine.claim(calls, AT)
    assert [type(outcome) for outcome in outcomes] == [Claim, InUse, Mismatch, Claim]


async def test_a_released_key_is_free_for_the_corrected_call(engine: Idempotency) -> None:
    claim = await claim_one(engine, a_call(fields="bad"))
    assert isinstance(claim, Claim)
    await engine.release([claim])
    assert isinstance(await claim_one(engine, a_call(fields="good")), Claim)


async def test_a_recorded_key_cannot_be_released(engine: Idempotency, gateway_database: Database) -> None:
    """Once a holder noted what it does outside, forgetting the key could do it twice."""
    claim = await claim_one(engine, a_call())
    assert isinstance(claim, Claim)
    async with gateway_database.transaction() as tx:
        await engine.record(tx, [(claim, "order:1")])
    await engine.release([claim])
    assert isinstance(await claim_one(engine, a_call()), InUse)


async def test_an_abandoned_key_is_resumed_at_its_recovery_point(
    engine: Idempotency, gateway_database: Database
) -> None:
    claim = await claim_one(engine, a_call())
    assert isinstance(claim, Claim)
    async with gateway_database.transaction() as tx:
        await engine.record(tx, [(claim, "order:ord_1:1")])
    assert await claim_one(engine, a_call(), LATER) == Claim(claim.scope, FIRST + 1, "order:ord_1:1")
    assert isinstance(await claim_one(engine, a_call(), LATER), InUse)


async def test_an_abandoned_key_is_not_given_to_another_request(engine: Idempotency) -> None:
    await claim_one(engine, a_call(fields=1))
    assert await claim_one(engine, a_call(fields=2), LATER) == Mismatch()


async def test_of_many_who_take_over_one_wins(engine: Idempotency) -> None:
    await claim_one(engine, a_call())
    outcomes: Sequence[object] = await asyncio.gather(*(claim_one(engine, a_call(), LATER) for _ in range(20)))
    assert sum(isinstance(outcome, Claim) for outcome in outcomes) == 1


async def test_a_stale_holders_write_is_refused(engine: Idempotency, gateway_database: Database) -> None:
    """RULES §5: one wins; the late one's write is refused, and all that it did in that transaction with it."""
    stale = await claim_one(engine, a_call())
    fresh = await claim_one(engine, a_call(), LATER)
    with pytest.raises(LeaseLost):
        await finish(engine, gateway_database, stale, b"stale")
    await finish(engine, gateway_database, fresh, b"fresh")
    assert await claim_one(engine, a_call(), LATER) == Replay(201, b"fresh")


async def test_a_suspended_key_resumes_at_once(engine: Idempotency) -> None:
    """RULES §5: an unhandled 500 is never replayed; the retry resumes."""
    claim = await claim_one(engine, a_call())
    assert isinstance(claim, Claim)
    await engine.suspend([claim], AT)
    assert await claim_one(engine, a_call()) == Claim(claim.scope, FIRST + 1)


async def test_old_finished_keys_are_reaped_and_unfinished_ones_never(
    engine: Idempotency, gateway_database: Database
) -> None:
    await finish(engine, gateway_database, await claim_one(engine, a_call("done")))
    await claim_one(engine, a_call("running"))
    assert await engine.reap(AT + timedelta(hours=71)) == 0
    assert await engine.reap(AT + timedelta(hours=73)) == 1
    assert isinstance(await claim_one(engine, a_call("done"), AT + timedelta(hours=73)), Claim)
    taken = await claim_one(engine, a_call("running"), AT + timedelta(hours=73))
    assert taken == Claim(Scope("acct_a", "test", "running"), FIRST + 1)


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b'""'],
        [b"  "],
        [b"k" * 256],
        [b"tab\tinside"],
        [b"nul\0"],
        ["schlüssel".encode()],
        [b"\x7f"],
        [b"a", b"a"],
    ],
)
def test_a_bad_key_is_refused(values: list[bytes]) -> None:
    """RULES §5: empty, 256 characters, control or non-ASCII characters, header twice."""
    with pytest.raises(KeyInvalid):
        parse_key(values)


@pytest.mark.parametrize(
    ("value", "key"), [(b"k", "k"), (b'"quoted"', "quoted"), (b"k" * 255, "k" * 255), (b"a b", "a b")]
)
def test_a_good_key_is_taken_bare_or_quoted(value: bytes, key: str) -> None:
    assert parse_key([value]) == key


def test_no_header_is_no_key() -> None:
    assert parse_key([]) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_the_fingerprint_does_not_depend_on_the_order_of_members(fields: dict[str, object]) -> None:
    reordered = dict(reversed(list(fields.items())))
    assert fingerprint("POST", "/v1/orders", fields) == fingerprint("POST", "/v1/orders", reordered)
    assert fingerprint("POST", "/v1/orders", fields) != fingerprint("POST", "/v1/refunds", fields)


async def test_only_the_claim_itself_does_not_wait_for_the_disk(gateway_dsn: str) -> None:
    """Everything that is done under a claim is committed after it, and that waits."""
    database = await open_database(gateway_dsn, connections_max=1)
    try:
        await database.execute(Statement("of_a_test", "SET synchronous_commit = 'local'"))
        await Idempotency(database).claim([a_call()], AT)
        [row] = await database.rows(Statement("of_a_test", "SELECT current_setting('synchronous_commit') AS it"))
        assert row["it"] == "local"
    finally:
        await database.close()


def test_a_key_is_held_longer_than_any_call_under_it_takes() -> None:
    """Else it would be taken over while its call is under way (RULES §3). The rooms that call refuse to be imported."""
    carrying = importlib.import_module("tallystick.gateway.payments.carrying")
    assert carrying.CALL_DEADLINE_S + sum(carrying.RECORD_RETRY_WAITS_S) < LEASE_S
