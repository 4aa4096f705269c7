"""The table of RULES §5, row by row, on payment intents over real HTTP and a real PostgreSQL.

What a key is made of, what happens without a database and after a fault of ours: test_wire.py.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import aiohttp
import psycopg
import pytest

INTENTS = "/v1/payment_intents"
AN_INTENT = {"amount": "2000", "currency": "eur"}
CONCURRENT = 100


@pytest.fixture
def gateway(run_gateway: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    with run_gateway() as running:
        yield running


@pytest.fixture
def api(gateway: Any, client: Any) -> Any:
    """A client with the account's secret test key."""
    return client(gateway.url, gateway.test.secret_key)


def counted(gateway: Any, what: str) -> int:
    """Rows of a table."""
    with psycopg.connect(gateway.dsn) as connection:
        row = connection.execute(f"SELECT count(*) FROM {what}").fetchone()
    assert row is not None
    return int(row[0])


def test_the_same_call_is_answered_with_the_same_bytes_and_does_nothing_new(gateway: Any, api: Any) -> None:
    """done, same key, same fields in any order."""
    fields = [("amount", "2000"), ("currency", "eur"), ("metadata[a]", "1"), ("metadata[b]", "2")]
    first = api.post(INTENTS, fields, key="k")
    before = counted(gateway, "event")
    again = api.post(INTENTS, fields[::-1], key="k")
    assert (again.status, again.body) == (first.status, first.body) == (200, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["request-id"] != first.headers["request-id"]
    assert (counted(gateway, "payment_intent"), counted(gateway, "event")) == (1, before)


def test_a_replay_does_not_follow_what_happened_since(api: Any) -> None:
    first = api.post(INTENTS, AN_INTENT, key="k")
    assert api.post(f"{INTENTS}/{first.json['id']}/cancel", key="c").json["status"] == "canceled"
    assert api.post(INTENTS, AN_INTENT, key="k").body == first.body


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (INTENTS, {"amount": "2001", "currency": "eur"}),
        (INTENTS, {"amount": "2000", "currency": "usd"}),
        (INTENTS, {**AN_INTENT, "description": "x"}),
        ("/v1/payment_methods", {"type": "card", "card[token]": "tok_visa"}),
    ],
)
def test_another_call_under_the_key_is_refused(gateway: Any, api: Any, path: str, fields: dict[str, str]) -> None:
    """done, other amount, or another route: the stored result is untouched."""
    first = api.post(INTENTS, AN_INTENT, key="k")
    refused = api.post(path, fields, key="k")
    assert (refused.status, refused.error["type"]) == (400, "idempotency_error")
    assert api.post(INTENTS, AN_INTENT, key="k").body == first.body
    assert (counted(gateway, "payment_intent"), counted(gateway, "payment_method")) == (1, 0)


def test_another_id_in_the_path_is_another_call(api: Any) -> None:
    one, other = (api.post(INTENTS, AN_INTENT).json["id"] for _ in range(2))
    assert api.post(f"{INTENTS}/{one}/cancel", key="k").status == 200
    assert api.post(f"{INTENTS}/{other}/cancel", key="k").error["type"] == "idempotency_error"
    assert api.get(f"{INTENTS}/{other}").json["status"] == "requires_payment_method"


def test_accounts_and_modes_have_keys_of_their_own(gateway: Any, client: Any) -> None:
    ids = {
        client(gateway.url, key).post(INTENTS, AN_INTENT, key="k").json["id"]
        for key in (gateway.test.secret_key, gateway.live.secret_key, gateway.other.secret_key)
    }
    assert len(ids) == 3


async def posts(
    gateway: Any, path: str, fields: dict[str, str], keys: list[str]
) -> list[tuple[int, bytes, dict[str, str]]]:
    """The answers to calls that are sent all at once."""
    headers = {"Authorization": f"Bearer {gateway.test.secret_key}"}
    async with aiohttp.ClientSession(gateway.url, headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(key: str) -> tuple[int, bytes, dict[str, str]]:
            async with session.post(path, data=fields, headers={"Idempotency-Key": key}) as answer:
                return (
                    answer.status,
                    await answer.read(),
                    {name.lower(): value for name, value in answer.headers.items()},
                )

        return await asyncio.gather(*(post(key) for key in keys))


async def test_of_a_hundred_at_once_exactly_one_executes(gateway: Any, api: Any) -> None:
    answers = await posts(gateway, INTENTS, AN_INTENT, ["k"] * CONCURRENT)
    statuses = Counter(status for status, _, _ in answers)
    assert set(statuses) <= {200, 409}
    assert counted(gateway, "payment_intent") == 1
    assert len({body for status, body, _ in answers if status == 200}) == 1, "whoever got an answer got the same one"
    executed = [headers for status, _, headers in answers if status == 200 and "idempotent-replayed" not in headers]
    assert len(executed) == 1
    assert api.post(INTENTS, AN_INTENT, key="k").headers["idempotent-replayed"] == "true"


async def test_a_hundred_payments_at_once_charge_once(gateway: Any, api: Any) -> None:
    id = api.post(INTENTS, AN_INTENT).json["id"]
    card = {"payment_method": "pm_card_visa"}
    answers = await posts(gateway, f"{INTENTS}/{id}/confirm", card, ["k"] * CONCURRENT)
    assert {status for status, _, _ in answers} <= {200, 409}
    assert counted(gateway, "charge") == 1
    assert api.get(f"{INTENTS}/{id}").json["amount_received"] == 2000


async def test_a_hundred_keys_at_once_are_a_hundred_intents(gateway: Any) -> None:
    answers = await posts(gateway, INTENTS, AN_INTENT, [f"k{number}" for number in range(CONCURRENT)])
    assert {status for status, _, _ in answers} == {200}
    assert counted(gateway, "payment_intent") == CONCURRENT


async def test_a_running_call_is_not_waited_for(
    run_gateway: Callable[..., AbstractContextManager[Any]], client: Any
) -> None:
    """running, same key, same fields: 409 at once, with Retry-After; other fields: refused at once, too."""
    with run_gateway(acquirer_delay_s=2.0) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        fields = {**AN_INTENT, "payment_method": "pm_card_visa", "confirm": "true"}
        running = asyncio.create_task(asyncio.to_thread(api.post, INTENTS, fields, "k"))
        while counted(gateway, "charge") == 0:  # noqa: ASYNC110 - another thread's call is waited for
            await asyncio.sleep(0.02)
        began = time.monotonic()
        same, other = api.post(INTENTS, fields, "k"), api.post(INTENTS, {**fields, "amount": "5"}, "k")
        took_s = time.monotonic() - began
        assert not running.done()
        assert took_s < 1.5
        assert (same.status, same.error["code"]) == (409, "idempotency_key_in_use")
        assert int(same.headers["retry-after"]) >= 1
        assert same.headers["stripe-should-retry"] == "true"
        assert (other.status, other.error["type"]) == (400, "idempotency_error")
        first = await running
        assert first.json["status"] == "succeeded"
        assert api.post(INTENTS, fields, "k").body == first.body
        assert counted(gateway, "charge") == 1


def test_refusals_that_correction_mends_are_not_stored(gateway: Any, api: Any, client: Any) -> None:
    """invalid parameters, no credentials, something that does not exist: the corrected call executes."""
    assert client(gateway.url).post(INTENTS, AN_INTENT, key="k").status == 401
    assert client(gateway.url, gateway.test.publishable_key).post(INTENTS, AN_INTENT, key="k").status == 403
    assert api.post(INTENTS, {"amount": "x", "currency": "eur"}, key="k").status == 400
    assert api.post(INTENTS, {**AN_INTENT, "payment_method": "pm_none"}, key="k").status == 400
    assert api.post(f"{INTENTS}/pi_none/cancel", key="k").status == 404
    assert counted(gateway, "idempotency_key") == 0
    assert api.post(INTENTS, AN_INTENT, key="k").status == 200


def test_a_decline_is_replayed_and_the_acquirer_is_not_asked_again(gateway: Any, api: Any) -> None:
    """done, card declined."""
    id = api.post(INTENTS, AN_INTENT).json["id"]
    declining = {"payment_method": "pm_card_chargeDeclined"}
    first = api.post(f"{INTENTS}/{id}/confirm", declining, key="k")
    assert (first.status, first.error["type"], first.error["code"]) == (402, "card_error", "card_declined")
    again = api.post(f"{INTENTS}/{id}/confirm", declining, key="k")
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (402, first.body, "true")
    assert counted(gateway, "charge") == 1
    assert (
        api.post(f"{INTENTS}/{id}/confirm", {"payment_method": "pm_card_visa"}, key="k2").json["status"] == "succeeded"
    )


def test_a_refusal_by_state_is_final_for_its_key(api: Any) -> None:
    """RULES §5: that is why close, cancel and capture take a fresh key for each decision."""
    id = api.post(INTENTS, {**AN_INTENT, "capture_method": "manual"}).json["id"]
    refused = api.post(f"{INTENTS}/{id}/capture", key="k")
    assert (refused.status, refused.error["code"]) == (400, "payment_intent_unexpected_state")
    assert refused.error["payment_intent"]["id"] == id
    assert api.post(f"{INTENTS}/{id}/confirm", {"payment_method": "pm_card_visa"}).json["status"] == "requires_capture"
    again = api.post(f"{INTENTS}/{id}/capture", key="k")
    assert (again.body, again.headers["idempotent-replayed"]) == (refused.body, "true")
    assert api.post(f"{INTENTS}/{id}/capture", key="k2").json["status"] == "succeeded"


def test_without_a_key_every_call_executes(gateway: Any, api: Any) -> None:
    """The gateway accepts a key's absence, as Stripe does."""
    assert api.post(INTENTS, AN_INTENT).json["id"] != api.post(INTENTS, AN_INTENT).json["id"]
    assert counted(gateway, "idempotency_key") == 0


def test_deleting_ignores_the_key(gateway: Any, api: Any) -> None:
    endpoint = {"url": "http://127.0.0.1:9/x", "enabled_events[]": "*"}
    ids = [api.post("/v1/webhook_endpoints", endpoint).json["id"] for _ in range(2)]
    for id in ids:
        answer = api.send("DELETE", f"/v1/webhook_endpoints/{id}", None, [("Idempotency-Key", "k")])
        assert (answer.status, answer.json["deleted"]) == (200, True)
    assert counted(gateway, "idempotency_key") == 0
