"""RULES §5 on `POST /v1/orders`: the table, row by row, on real PostgreSQL and real HTTP."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tallystick.kernel.idempotency import ClaimRequest, Idempotency, Scope, fingerprint
from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any

ORDER = {"amount": 2500, "currency": "EUR"}


async def post(stage: Stage, body: Any, headers: list[tuple[str, str]] | dict[str, str]) -> tuple[int, bytes, Any]:
    async with stage.client.post(f"{stage.url}/v1/orders", json=body, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_the_same_call_again_is_answered_with_the_same_bytes(stage: Stage) -> None:
    """done | same key, same fields in any order | same status, same bytes, Idempotent-Replayed; nothing new
    anywhere.
    """
    headers = stage.headers(**{"Idempotency-Key": "k"})
    first = await post(stage, {"amount": 2500, "currency": "EUR"}, headers)
    again = await post(stage, {"currency": "EUR", "amount": 2500}, headers)
    assert (first[0], first[2].get("Idempotent-Replayed")) == (201, None)
    assert again[:2] == first[:2]
    assert again[2]["Idempotent-Replayed"] == "true"
    assert again[2]["Content-Type"] == first[2]["Content-Type"]
    assert (await stage.count("orders"), len(stage.gateway.calls)) == (1, 1)


async def test_a_quoted_key_is_the_bare_key(stage: Stage) -> None:
    _, first, _ = await post(stage, ORDER, stage.headers(**{"Idempotency-Key": "k"}))
    _, again, _ = await post(stage, ORDER, stage.headers(**{"Idempotency-Key": '"k"'}))
    assert first == again


async def test_the_same_key_for_another_order_is_refused_and_changes_nothing(stage: Stage) -> None:
    """done | other amount | 422; the stored result is untouched."""
    status, order = await stage.place("k")
    refused, problem = await stage.place("k", amount=2501)
    assert (refused, problem["code"]) == (422, "idempotency_key_used_otherwise")
    assert await stage.place("k") == (status, order)


async def test_keys_of_two_merchants_have_nothing_to_do_with_each_other(stage: Stage) -> None:
    """done | same key, another account | independent."""
    _, order = await stage.place("k")
    other = await create_merchant(stage.database, SystemClock(), SystemEntropy(), name="Other")
    await add_connection(
        stage.database,
        SystemClock(),
        SystemEntropy(),
        merchant_id=other.merchant_id,
        url=stage.gateway.url,
        secret_key_ref="env:KEY",
        webhook_secret_refs=["env:HOOK"],
    )
    headers = {"Authorization": f"Bearer {other.api_key}"}
    status, _, answered = await post(stage, ORDER, {**headers, "Idempotency-Key": "k"})
    assert (status, answered.get("Idempotent-Replayed")) == (201, None)
    assert (await stage.get(f"/v1/orders/{order['id']}", **headers))[0] == 404
    assert (await stage.get("/v1/orders", **headers))[1]["data"][0]["id"] != order["id"]


async def test_a_call_under_way_answers_409_without_waiting(stage: Stage) -> None:
    """running | same key, same fields | 409 with Retry-After, at once."""
    stage.gateway.trouble = ["hang"]
    running = asyncio.create_task(stage.place("k"))
    await stage.gateway.called.wait()
    async with asyncio.timeout(0.4):  # the call that hangs takes longer
        status, body, headers = await post(stage, ORDER, stage.headers(**{"Idempotency-Key": "k"}))
    assert (status, b"idempotency_key_in_use" in body) == (409, True)
    assert int(headers["Retry-After"]) >= 1
    assert (await running)[0] == 201


async def test_of_100_at_once_exactly_one_executes(stage: Stage) -> None:
    """100 at once | exactly one executes."""
    answers = await asyncio.gather(*(stage.place("k") for _ in range(100)))
    assert {status for status, _ in answers} <= {201, 409}
    assert len({body["id"] for status, body in answers if status == 201}) == 1
    assert (await stage.count("orders"), await stage.count("attempt"), len(stage.gateway.sessions)) == (1, 1, 1)
    assert (await stage.place("k"))[0] == 201


async def test_100_different_calls_at_once_all_execute(stage: Stage) -> None:
    answers = await asyncio.gather(*(stage.place(f"k{n}", amount=n + 1) for n in range(100)))
    assert [answer for answer in answers if answer[0] != 201] == []
    assert [order["amount"] for _, order in answers] == [n + 1 for n in range(100)]


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a\tb", "caf\u00e9"])
async def test_keys_that_cannot_be_used_are_refused(stage: Stage, key: str) -> None:
    """– | key empty, 256 chars, control or non-ASCII characters | 400."""
    status, body, _ = await post(stage, ORDER, stage.headers(**{"Idempotency-Key": key}))
    assert (status, b"idempotency_key_refused" in body) == (400, True)


async def test_a_header_sent_twice_or_not_at_all_is_refused(stage: Stage) -> None:
    """– | header twice | 400; and where the key is absent on a call that moves money: 400."""
    twice = [*stage.headers().items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await post(stage, ORDER, twice))[0] == 400
    status, body, _ = await post(stage, ORDER, stage.headers())
    assert (status, b"idempotency_key_missing" in body) == (400, True)
    assert await stage.count("idempotency_key") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"currency": "ZZZ"},
        {"connection": "con_other"},
        {"return_url": "https://evil.example/"},
        {"colour": 1},
    ],
)
async def test_a_corrected_call_executes_under_the_same_key(stage: Stage, wrong: dict[str, Any]) -> None:
    """– | invalid parameters, no credentials | not stored: the corrected call with the same key executes."""
    status, _ = await stage.place("k", **wrong)
    assert status == 422
    assert (await post(stage, ORDER, {"Authorization": "Bearer tsk_wrong", "Idempotency-Key": "k"}))[0] == 401
    assert (await stage.place("k"))[0] == 201


async def test_a_refusal_of_the_gateway_is_replayed_and_the_gateway_not_asked_again(stage: Stage) -> None:
    """done | declined | the same answer replayed, the other side not called; a problem stays one."""
    stage.gateway.trouble = [(400, "amount_too_small")]
    headers = stage.headers(**{"Idempotency-Key": "k"})
    first = await post(stage, ORDER, headers)
    again = await post(stage, ORDER, headers)
    assert again[:2] == first[:2]
    assert again[2]["Content-Type"] == first[2]["Content-Type"] == "application/problem+json"
    assert len(stage.gateway.calls) == 1


# --- crashes: what an earlier holder left behind, resumed by the next call -------------------------------------------


async def claim_and_die(stage: Stage, key: str) -> None:
    """A process that claimed the key and was killed; its lease has run out."""
    long_ago = SystemClock().now() - timedelta(minutes=5)
    request = ClaimRequest(Scope(stage.merchant_id, "live", key), fingerprint("POST", "/v1/orders", ORDER))
    await Idempotency(stage.database).claim([request], long_ago)


async def test_killed_after_the_claim(stage: Stage) -> None:
    await claim_and_die(stage, "k")
    assert (await stage.place("k"))[0] == 201
    assert await stage.count("orders") == 1


@pytest.mark.parametrize("trouble", ["cut", "lose"])
async def test_killed_after_the_order_was_stored_with_the_session_open_or_not(stage: Stage, trouble: str) -> None:
    """kill -9 after the local row / after the other side answered: the retry makes the same call, one session in the
    end.
    """
    stage.gateway.trouble = [trouble] * 3
    _, problem = await stage.place("k")
    # As after a kill, nobody gave the lease back: it runs out.
    at = SystemClock().now() - timedelta(seconds=1)
    await stage.database.execute(Statement("x", "UPDATE idempotency_key SET lease_until = $1::timestamptz"), at)
    status, order = await stage.place("k")
    assert (status, order["id"]) == (201, problem["order"])
    assert (await stage.count("orders"), len(stage.gateway.sessions)) == (1, 1)
    assert {(fields["expires_at"], fields["client_reference_id"]) for _, _, fields in stage.gateway.calls} == {
        (stage.gateway.calls[0][2]["expires_at"], order["id"])
    }


async def test_a_holder_that_stalls_past_its_lease_writes_nothing(stage: Stage) -> None:
    """a worker that stalls past its lease | one wins; the late one's write is refused."""
    stage.gateway.trouble = ["hang"]
    stalled = asyncio.create_task(stage.place("k"))
    await stage.gateway.called.wait()
    at = SystemClock().now() - timedelta(seconds=1)
    await stage.database.execute(Statement("x", "UPDATE idempotency_key SET lease_until = $1::timestamptz"), at)
    status, order = await stage.place("k")
    assert status == 201
    assert (await stalled)[0] == 409
    assert (await stage.place("k")) == (201, order)
    assert [row["fact"]["fact"] for row in await stage.timeline(order["id"])] == ["attempted", "session_opened"]
