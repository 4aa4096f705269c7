"""Events, message bodies and deliveries are written where the change is written (RULES §6)."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest

from tallystick.gateway.stripe_wire.objects import API_VERSION
from tallystick.gateway.webhooks.events import Happening, record
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.synchronous import SynchronousDatabase

AT = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
ENTROPY = SystemEntropy()


def _account(dsn: str, account_id: str, *, default_api_version: str | None = None) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO account (account_id, name, default_api_version, created_at) VALUES (%s, 'Shop', %s, %s)",
            (account_id, default_api_version, AT),
        )


def _endpoint(
    dsn: str,
    account_id: str,
    id: str,
    *,
    livemode: bool = False,
    events: Iterable[str] = ("*",),
    api_version: str | None = None,
    status: str = "enabled",
    deleted: bool = False,
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO webhook_endpoint"
            " (account_id, livemode, id, url, status, enabled_events, api_version, secrets, created_at, deleted_at)"
            " VALUES (%s, %s, %s, 'https://shop.example/hook', %s, %s, %s, '{whsec_x}', %s, %s)",
            (account_id, livemode, id, status, list(events), api_version, AT, AT if deleted else None),
        )


def _all(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def _paid(account_id: str = "acct_a", *, livemode: bool = False, type: str = "payment_intent.succeeded") -> Happening:
    intent = {"id": "pi_1", "object": "payment_intent", "amount": 2500, "metadata": {"näme": "\u0000 \U0001f9fe"}}
    return Happening(account_id, livemode, type, "pi_1", intent, None, "req_1", "key-1")


async def _record(database: Database, *happenings: Happening) -> list[str]:
    async with database.transaction() as tx:
        return (await record(tx, happenings, at=AT, entropy=ENTROPY)).ids


@pytest.mark.parametrize(("status", "due"), [("enabled", True), ("disabled", False), (None, False)])
async def test_the_dispatcher_is_woken_for_what_is_due(
    gateway_dsn: str, gateway_database: Database, status: str | None, due: bool
) -> None:
    _account(gateway_dsn, "acct_a")
    if status is not None:
        _endpoint(gateway_dsn, "acct_a", "we_1", status=status)
    async with gateway_database.transaction() as tx:
        assert (await record(tx, [_paid()], at=AT, entropy=ENTROPY)).due == due


async def test_the_body_is_stripes_event_object(gateway_dsn: str, gateway_database: Database) -> None:
    """RULES §6: serialised once, stored as bytes."""
    _account(gateway_dsn, "acct_a")
    _endpoint(gateway_dsn, "acct_a", "we_1")
    _endpoint(gateway_dsn, "acct_a", "we_2", events=["payment_intent.succeeded"])
    happening = _paid()
    (id,) = await _record(gateway_database, happening)

    ((owner, message, api_version, body),) = _all(gateway_dsn, "SELECT owner_id, id, api_version, body FROM message")
    assert (owner, message, api_version) == ("acct_a", id, API_VERSION)
    assert isinstance(body, bytes)
    assert msgspec.json.decode(body) == {
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": int(AT.timestamp()),
        "data": {"object": happening.object},
        "livemode": False,
        "pending_webhooks": 2,
        "request": {"id": "req_1", "idempotency_key": "key-1"},
        "type": "payment_intent.succeeded",
    }


async def test_previous_attributes_stand_in_updated_events_only(gateway_dsn: str, gateway_database: Database) -> None:
    _account(gateway_dsn, "acct_a")
    _endpoint(gateway_dsn, "acct_a", "we_1")
    await _record(
        gateway_database,
        Happening("acct_a", False, "payment_intent.updated", "pi_1", {"id": "pi_1"}, {"description": None}),
        Happening("acct_a", False, "payment_intent.created", "pi_1", {"id": "pi_1"}),
    )
    updated, created = [
        msgspec.json.decode(row[0]) for row in _all(gateway_dsn, "SELECT body FROM message ORDER BY id")
    ]
    assert updated["data"] == {"object": {"id": "pi_1"}, "previous_attributes": {"description": None}}
    assert created["data"] == {"object": {"id": "pi_1"}}
    assert created["request"] == {"id": None, "idempotency_key": None}


async def test_who_hears_of_what(gateway_dsn: str, gateway_database: Database) -> None:
    """RULES §6: the enabled endpoints of the same account and mode that want the type; disabled ones park theirs."""
    _account(gateway_dsn, "acct_a")
    _account(gateway_dsn, "acct_b")
    _endpoint(gateway_dsn, "acct_a", "we_all")
    _endpoint(gateway_dsn, "acct_a", "we_type", events=["charge.failed", "payment_intent.succeeded"])
    _endpoint(gateway_dsn, "acct_a", "we_off", status="disabled")
    _endpoint(gateway_dsn, "acct_a", "we_other_type", events=["payment_intent.created"])
    _endpoint(gateway_dsn, "acct_a", "we_prefix", events=["payment_intent"])
    _endpoint(gateway_dsn, "acct_a", "we_live", livemode=True)
    _endpoint(gateway_dsn, "acct_a", "we_deleted", deleted=True)
    _endpoint(gateway_dsn, "acct_b", "we_stranger")
    (id,) = await _record(gateway_database, _paid())

    deliveries = _all(
        gateway_dsn,
        "SELECT owner_id, livemode, message, endpoint, state, reason, tries, generation, due_at, lease_until"
        " FROM delivery ORDER BY endpoint",
    )
    assert deliveries == [
        ("acct_a", False, id, "we_all", "due", None, 0, 0, AT, None),
        ("acct_a", False, id, "we_off", "held", "endpoint_disabled", 0, 0, AT, None),
        ("acct_a", False, id, "we_type", "due", None, 0, 0, AT, None),
    ]


async def test_one_body_for_each_api_version(gateway_dsn: str, gateway_database: Database) -> None:
    """RULES §6: the endpoint's version, else the account's first seen one, else ours."""
    _account(gateway_dsn, "acct_a", default_api_version="2024-06-20")
    _account(gateway_dsn, "acct_b")
    _endpoint(gateway_dsn, "acct_a", "we_1")
    _endpoint(gateway_dsn, "acct_a", "we_2", api_version="2024-06-20")
    _endpoint(gateway_dsn, "acct_a", "we_3", api_version="2020-08-27")
    _endpoint(gateway_dsn, "acct_b", "we_4")
    await _record(gateway_database, _paid("acct_a"), _paid("acct_b"))

    messages = _all(gateway_dsn, "SELECT owner_id, api_version, body FROM message ORDER BY 1, 2")
    assert [(row[0], row[1]) for row in messages] == [
        ("acct_a", "2020-08-27"),
        ("acct_a", "2024-06-20"),
        ("acct_b", API_VERSION),
    ]
    for _, api_version, body in messages:
        assert msgspec.json.decode(body)["api_version"] == api_version
    assert _all(gateway_dsn, "SELECT endpoint, api_version FROM delivery ORDER BY endpoint") == [
        ("we_1", "2024-06-20"),
        ("we_2", "2024-06-20"),
        ("we_3", "2020-08-27"),
        ("we_4", API_VERSION),
    ]


async def test_many_happenings_of_many_accounts_in_one_call(gateway_dsn: str, gateway_database: Database) -> None:
    """Ids ascend in the order in which things happened, also within one millisecond."""
    for number in range(5):
        _account(gateway_dsn, f"acct_{number}")
        _endpoint(gateway_dsn, f"acct_{number}", f"we_{number}", livemode=number % 2 == 1)
    happenings = [_paid(f"acct_{n % 5}", livemode=n % 5 % 2 == 1, type=f"charge.step_{n}") for n in range(500)]
    ids = await _record(gateway_database, *happenings)

    assert ids == sorted(set(ids))
    types = _all(gateway_dsn, "SELECT type, account_id, livemode FROM event ORDER BY id")
    assert types == [(h.type, h.account_id, h.livemode) for h in happenings]
    assert _all(gateway_dsn, "SELECT count(*), count(DISTINCT (owner_id, message, endpoint)) FROM delivery") == [
        (500, 500)
    ]


async def test_an_account_without_endpoints_still_has_its_events(gateway_dsn: str, gateway_database: Database) -> None:
    """Events can be pulled by `GET /v1/events`."""
    _account(gateway_dsn, "acct_a")
    (id,) = await _record(gateway_database, _paid())
    assert _all(gateway_dsn, "SELECT id, object_id FROM event") == [(id, "pi_1")]
    assert _all(gateway_dsn, "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM delivery)") == [(0, 0)]
    assert await _record(gateway_database) == []


async def test_nothing_is_told_of_what_did_not_commit(gateway_dsn: str, gateway_database: Database) -> None:
    """RULES §6: event, deliveries and state change are one transaction."""
    _account(gateway_dsn, "acct_a")
    _endpoint(gateway_dsn, "acct_a", "we_1")
    with suppress(ZeroDivisionError):
        async with gateway_database.transaction() as tx:
            await record(tx, [_paid()], at=AT, entropy=ENTROPY)
            raise ZeroDivisionError
    counts = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM message), (SELECT count(*) FROM delivery)"
    assert _all(gateway_dsn, counts) == [(0, 0, 0)]


async def test_the_same_statements_run_through_the_simulations_driver(gateway_dsn: str) -> None:
    """DESIGN §8."""
    _account(gateway_dsn, "acct_a")
    _endpoint(gateway_dsn, "acct_a", "we_1")
    database = SynchronousDatabase(gateway_dsn)
    (id,) = await _record(database, _paid())
    await database.close()
    assert _all(gateway_dsn, "SELECT message FROM delivery") == [(id,)]
