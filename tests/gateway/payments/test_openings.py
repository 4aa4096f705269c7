"""Payments that begin are one statement, which compares what it goes by: leases of calls, endpoints (RULES §5, §6)."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec

from tallystick.gateway.checkout.parameters import CreateSession
from tallystick.gateway.payments.parameters import CreateIntent
from tallystick.gateway.stripe_wire.call import Reply
from tallystick.kernel.idempotency import LeaseLost, Replay
from tallystick.ports.database import Statement

Core = Any

LEASE_OVER = timedelta(seconds=61)
SENT = CreateIntent(amount=2500, currency="eur")


async def endpoint(core: Core, id: str, *, status: str = "enabled") -> None:
    await core.database.execute(
        Statement(
            "of_a_test",
            "INSERT INTO webhook_endpoint"
            " (account_id, livemode, id, url, status, enabled_events, secrets, created_at) VALUES"
            " ($1::text, false, $2::text, 'https://shop.example/', $3::text, '{*}', '{s}', '2026-01-01T00:00:00Z')",
        ),
        core.account_id,
        id,
        status,
    )


async def deliveries(core: Core) -> list[tuple[str, str]]:
    rows = await core.rows("SELECT endpoint, state FROM delivery ORDER BY message, endpoint")
    return [(row["endpoint"], row["state"]) for row in rows]


async def test_an_endpoint_hears_of_the_first_payment_after_it_was_made_in_another_process(core: Core) -> None:
    await core.create()
    await endpoint(core, "we_1")
    await core.create()
    assert await deliveries(core) == [("we_1", "due")]
    await endpoint(core, "we_2", status="disabled")
    await core.open_session()
    assert await deliveries(core) == [("we_1", "due"), ("we_1", "due"), ("we_2", "held")]
    assert core.woken == 2
    assert len(await core.rows("SELECT 1 FROM message")) == 2


async def test_an_endpoint_that_was_deleted_or_disabled_meanwhile_is_sent_nothing(core: Core) -> None:
    await endpoint(core, "we_1")
    await endpoint(core, "we_2")
    await core.create()
    await core.rows("UPDATE webhook_endpoint SET deleted_at = '2026-02-01T00:00:00Z' WHERE id = 'we_1'")
    await core.rows("UPDATE webhook_endpoint SET status = 'disabled' WHERE id = 'we_2'")
    await core.create()
    assert await deliveries(core) == [("we_1", "due"), ("we_2", "due"), ("we_2", "held")]


async def test_events_are_told_in_the_api_version_that_the_account_has_by_now(core: Core) -> None:
    await endpoint(core, "we_1")
    await core.create()
    await core.rows("UPDATE account SET default_api_version = '2020-08-27'")
    await core.create()
    rows = await core.rows("SELECT body FROM message ORDER BY id")
    first, second = (msgspec.json.decode(row["body"])["api_version"] for row in rows)
    assert first != second == "2020-08-27"


async def test_a_call_that_lost_its_lease_opens_nothing_and_its_neighbours_are_opened(core: Core) -> None:
    """RULES §5: the late one's write is refused."""
    late, in_time = await core.claim("late"), await core.claim("in time")
    core.clock.ahead += LEASE_OVER
    assert (await core.claim("late")).generation == late.generation + 1, "another holder took it over"
    answers = await core.payments.create([(core.call(claim), SENT) for claim in (late, in_time)])
    assert isinstance(answers[0], LeaseLost)
    assert isinstance(answers[1], Reply)
    (intent,) = await core.rows("SELECT id FROM payment_intent")
    assert msgspec.json.decode(answers[1].body)["id"] == intent["id"]
    (event,) = await core.rows("SELECT object_id, request_id, idempotency_key FROM event")
    assert (event["object_id"], event["request_id"], event["idempotency_key"]) == (intent["id"], "req_1", "in time")
    assert await core.claim("in time") == Replay(200, answers[1].body)


async def test_calls_that_all_lost_their_leases_open_nothing(core: Core) -> None:
    await endpoint(core, "we_1")
    claims = [await core.claim(key) for key in ("a", "b")]
    core.clock.ahead += LEASE_OVER
    for key in ("a", "b"):
        await core.claim(key)
    session = CreateSession(amount_total=1000, currency="eur", success_url="https://shop.example/done")
    answers = [
        *await core.payments.create([(core.call(claims[0]), SENT)]),
        *await core.checkout.create([(core.call(claims[1]), session)]),
    ]
    assert [type(answer) for answer in answers] == [LeaseLost, LeaseLost]
    for table in ("payment_intent", "checkout_session", "event", "message", "delivery"):
        assert await core.rows(f"SELECT 1 FROM {table}") == [], table


async def test_payments_and_sessions_that_begin_side_by_side_share_statements(core: Core) -> None:
    asked = []
    rows = core.database.rows

    async def counted(statement: Statement, *parameters: Any) -> Any:
        asked.append(statement.name)
        return await rows(statement, *parameters)

    core.database.rows = counted
    await asyncio.gather(*(core.create() for _ in range(5)), *(core.open_session() for _ in range(5)))
    assert asked == ["listeners_of", "open_payments"]
    sessions = await core.rows("SELECT s.id FROM checkout_session s JOIN payment_intent i ON i.checkout_session = s.id")
    assert len(sessions) == 5
    assert await core.events() == ["payment_intent.created"] * 10


async def test_the_keeper_is_asked_for_what_is_held_for_a_disabled_endpoint(core: Core) -> None:
    """Its endpoint may be enabled by a commit that the statement did not see: else nobody would ever release it."""
    await endpoint(core, "we_1", status="disabled")
    await core.create()
    await core.rows("UPDATE endpoint_health SET keep_at = NULL")
    await core.create()
    assert await deliveries(core) == [("we_1", "held")] * 2
    (health,) = await core.rows("SELECT endpoint, keep_at FROM endpoint_health")
    assert health["endpoint"] == "we_1"
    assert health["keep_at"] is not None
