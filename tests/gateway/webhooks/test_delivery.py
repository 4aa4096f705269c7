"""Events reach their endpoints over real HTTP, and every end of a try has its row (RULES §6)."""

import asyncio
import base64
import json
import math
from datetime import timedelta
from typing import Any

import pytest
import stripe
import svix
from standardwebhooks.webhooks import Webhook

from tallystick.gateway.webhooks.rotation import roll_secrets
from tallystick.ports.metrics import samples

NEW_SECRET = "whsec_" + base64.b64encode(b"another secret of thirty-two byt").decode()


async def test_what_is_delivered_verifies_with_the_official_libraries(bench: Any, receiver: Any) -> None:
    """Stripe's SDK, `standardwebhooks` and `svix`, each with the endpoint's secret; the bytes are the stored ones."""
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    bench.endpoint("we_1", receiver.url)
    (id,) = await bench.happen()
    async with bench.running():
        await bench.until_states(("delivered", 1, None))

    (request,) = receiver.received
    assert [(request.body,)] == bench.sql("SELECT body FROM message")
    event = stripe.Webhook.construct_event(request.body, request.headers["stripe-signature"], secret)
    assert (event.id, event.type, event.data.object["id"]) == (id, "charge.updated", "ch_1")
    assert Webhook(secret).verify(request.body.decode(), request.headers)["id"] == id
    svix.Webhook(secret).verify(request.body, request.headers)  # raises when it does not
    assert request.id == id
    ((status, reason),) = bench.attempts()
    assert (status, reason) == (200, None)


async def test_during_a_rotation_both_secrets_sign(bench: Any, receiver: Any) -> None:
    old_secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    bench.endpoint("we_1", receiver.url, secrets=[NEW_SECRET, old_secret])
    await bench.happen()
    async with bench.running():
        await bench.until_states(("delivered", 1, None))
    (request,) = receiver.received
    for secret in (NEW_SECRET, old_secret):
        stripe.Webhook.construct_event(request.body, request.headers["stripe-signature"], secret)
        Webhook(secret).verify(request.body.decode(), request.headers)
        svix.Webhook(secret).verify(request.body, request.headers)


async def test_a_rolled_secret_signs_beside_the_old_one_which_ends_by_itself(bench: Any, receiver: Any) -> None:
    """RULES §6: two live secrets for the overlap, then the new one alone; rolled again, the oldest is gone at once."""
    old_secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    bench.endpoint("we_1", receiver.url)

    async def roll(overlap_s: int) -> str:
        async with bench.database.transaction() as tx:
            rolled = await roll_secrets(
                tx, {("acct_a", False, "we_1"): overlap_s}, at=bench.clock.now(), entropy=bench.entropy
            )
        return rolled["acct_a", False, "we_1"]

    async def signs(*secrets: str) -> list[bool]:
        receiver.received.clear()
        await bench.happen()
        await bench.until(lambda: len(receiver.received) == 1)
        good = []
        for secret in secrets:
            try:
                svix.Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
                good.append(True)
            except svix.WebhookVerificationError:
                good.append(False)
        return good

    async with bench.running():
        first = await roll(3600)
        assert first != old_secret
        assert await signs(first, old_secret) == [True, True]
        second = await roll(3600)
        assert await signs(second, first, old_secret) == [True, True, False]
        bench.sql("UPDATE webhook_endpoint SET older_secrets_until = $1", bench.clock.now())
        assert await signs(second, first) == [True, False]
        third = await roll(0)
        assert await signs(third, second) == [True, False]
    assert bench.sql("SELECT secrets FROM webhook_endpoint") == [([third],)]


async def test_a_secret_that_was_rotated_in_mid_retry_signs_the_next_try(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    receiver.answers = [receiver.answer(500)]
    await bench.happen()
    async with bench.running():
        await bench.until_states(("due", 1, "http_500"))
        bench.sql("UPDATE webhook_endpoint SET secrets = $1", [NEW_SECRET])
        bench.clock.ahead_s += 75
        await bench.until_states(("delivered", 2, None))
    first, second = receiver.received
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(first.body, first.headers["stripe-signature"], NEW_SECRET)
    stripe.WebhookSignature.verify_header(second.body.decode(), second.headers["stripe-signature"], NEW_SECRET)


async def test_retries_follow_the_schedule_and_end_as_a_dead_letter(bench: Any, receiver: Any) -> None:
    """At once, then after 1 m, 5 m, 1 h, 4 h, 12 h, 24 h, 24 h, each ±20 %; the same id and bytes, a fresh time."""
    bench.endpoint("we_1", receiver.url)
    receiver.always = receiver.answer(503, b"down for repair")
    (id,) = await bench.happen()
    waits_s = [60, 300, 3600, 14_400, 43_200, 86_400, 86_400]
    async with bench.running():
        for tries, wait_s in enumerate(waits_s, start=1):
            await bench.until_states(("due", tries, "http_503"))
            ((due_at,),) = bench.sql("SELECT due_at FROM delivery")
            ahead_s = (due_at - bench.clock.now()).total_seconds()
            assert wait_s * 0.8 - 10 <= ahead_s <= wait_s * 1.2
            bench.clock.ahead_s += ahead_s - 5
            await asyncio.sleep(0.05)
            assert len(receiver.received) == tries, "not before its time"
            bench.clock.ahead_s += 5.1
        await bench.until_states(("dead", 8, "http_503"))
        bench.clock.ahead_s += 30 * 86_400
        await asyncio.sleep(0.05)

    assert receiver.ids() == [id] * 8
    assert len({request.body for request in receiver.received}) == 1
    stamps = [int(request.headers["webhook-timestamp"]) for request in receiver.received]
    assert stamps == sorted(set(stamps))
    ((finished_at, started_at),) = bench.sql(
        "SELECT max(d.finished_at), min(a.started_at) FROM delivery d JOIN delivery_attempt a ON a.delivery = d.id"
    )
    assert math.isclose((finished_at - started_at) / timedelta(hours=65), 1, abs_tol=0.2)
    rows = bench.sql("SELECT number, status, reason, answer FROM delivery_attempt ORDER BY number")
    assert rows == [(number, 503, "http_503", b"down for repair") for number in range(1, 9)]


async def test_an_endpoint_may_have_a_schedule_of_its_own(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url, delays_s=[2])
    receiver.always = receiver.answer(404)
    await bench.happen()
    async with bench.running():
        await bench.until_states(("due", 1, "http_404"))
        bench.clock.ahead_s += 2.5
        await bench.until_states(("dead", 2, "http_404"))


async def test_retry_after_is_obeyed(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    receiver.answers = [receiver.answer(429, retry_after="1000")]
    await bench.happen()
    async with bench.running():
        await bench.until_states(("due", 1, "http_429"))
    ((due_at,),) = bench.sql("SELECT due_at FROM delivery")
    assert 990 <= (due_at - bench.clock.now()).total_seconds() <= 1200


def counted() -> dict[tuple[str, ...], float]:
    names = ("deliveries_total", "delivery_seconds_count")
    return {(each.name, *each.labels.values()): each.value for each in samples(names)}


@pytest.mark.parametrize(
    ("how", "state", "attempt"),
    [
        (("answer", 201), ("delivered", 1, None), (201, None)),
        (("answer", 301), ("due", 1, "http_301"), (301, "http_301")),
        (("answer", 307), ("due", 1, "http_307"), (307, "http_307")),
        (("answer", 400), ("due", 1, "http_400"), (400, "http_400")),
        (("answer", 500), ("due", 1, "http_500"), (500, "http_500")),
        (("flood",), ("delivered", 1, None), (200, None)),
        (("drip",), ("due", 1, "body_timeout"), (None, "body_timeout")),
        (("hang",), ("due", 1, "answer_timeout"), (None, "answer_timeout")),
        (("reset",), ("due", 1, "connection_lost"), (None, "connection_lost")),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
async def test_every_end_of_a_try_has_its_row(
    bench: Any, receiver: Any, how: tuple[Any, ...], state: tuple[Any, ...], attempt: tuple[Any, ...]
) -> None:
    """The deadline bounds the whole exchange, the answer's body included; 16 KiB of it are kept."""
    name, *arguments = how
    write = getattr(receiver, name)
    receiver.always = write(*arguments, location="http://127.0.0.1:1/") if arguments else write
    bench.limit(deadline_s=0.3)
    bench.endpoint("we_1", receiver.url)
    await bench.happen()
    before = counted()
    async with bench.running():
        await bench.until_states(state)
    assert bench.attempts() == [attempt]
    result = "delivered" if state[0] == "delivered" else "failed"
    assert {series: value - before[series] for series, value in counted().items() if value != before[series]} == {
        ("deliveries_total", result): 1,
        ("delivery_seconds_count",): 1,
    }
    assert len(receiver.received) == 1
    ((size, duration_ms),) = bench.sql("SELECT coalesce(length(answer), 0), duration_ms FROM delivery_attempt")
    assert size == (16 * 1024 if name == "flood" else 0)
    assert (duration_ms >= 290) == (name in ("drip", "hang"))


async def test_a_refused_connection_is_a_try(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", "http://127.0.0.1:1/hook")
    await bench.happen()
    async with bench.running():
        await bench.until_states(("due", 1, "connection_refused"))
    assert bench.attempts() == [(None, "connection_refused")]


async def test_410_disables_the_endpoint_and_its_deliveries_are_held(bench: Any, receiver: Any) -> None:
    """Nothing is skipped: what waits for a disabled endpoint is held, the others go on."""
    bench.endpoint("we_1", receiver.url)
    receiver.always = receiver.answer(410)
    await bench.happen()
    async with bench.receiving() as other, bench.running():
        bench.endpoint("we_2", other.url)
        await bench.until_states(("held", 1, "endpoint_gone"))
        assert bench.sql("SELECT id, status FROM webhook_endpoint ORDER BY id") == [
            ("we_1", "disabled"),
            ("we_2", "enabled"),
        ]
        await bench.happen()
        await bench.until_states(("held", 1, "endpoint_gone"), ("held", 0, "endpoint_disabled"), ("delivered", 1, None))
    assert len(receiver.received) == 1


async def test_what_was_due_to_an_endpoint_that_was_disabled_is_held(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    await bench.happen(3)
    bench.sql("UPDATE webhook_endpoint SET status = 'disabled'")
    async with bench.running():
        await bench.until_states(*[("held", 0, "endpoint_disabled")] * 3)
    assert (receiver.received, bench.attempts()) == ([], [])
    assert bench.sql("SELECT count(*) FROM delivery WHERE finished_at IS NOT NULL OR lease_until IS NOT NULL") == [(0,)]


async def test_what_was_due_to_an_endpoint_that_was_deleted_is_a_dead_letter(bench: Any, receiver: Any) -> None:
    bench.endpoint("we_1", receiver.url)
    await bench.happen()
    bench.sql("UPDATE webhook_endpoint SET deleted_at = created_at")
    async with bench.running():
        await bench.until_states(("dead", 0, "endpoint_deleted"))
    assert receiver.received == []


async def test_a_fault_of_ours_is_told_from_a_fault_of_the_endpoint(bench: Any, receiver: Any) -> None:
    """A secret that is none, a message that is not there: neighbours are delivered all the same."""
    bench.endpoint("we_1", receiver.url, secrets=["whsec_!"], delays_s=[])
    bench.endpoint("we_2", receiver.url)
    bench.endpoint("we_3", receiver.url, delays_s=[])
    bench.sql("UPDATE webhook_endpoint SET api_version = '2020-08-27' WHERE id = 'we_3'")
    await bench.happen()
    bench.sql("DELETE FROM message WHERE api_version = '2020-08-27'")
    async with bench.running():
        await bench.until_states(("dead", 1, "unsignable"), ("delivered", 1, None), ("dead", 1, "message_missing"))
    assert len(receiver.received) == 1


async def test_one_endpoint_that_hangs_does_not_take_all_places(bench: Any, receiver: Any) -> None:
    """It has a share of the dispatcher's places; what others are due comes through."""
    bench.limit(in_flight_max=8, share_max=4)
    receiver.always = receiver.hang
    bench.endpoint("we_slow", receiver.url)
    async with bench.receiving() as other:
        await bench.happen(50)
        bench.endpoint("we_fast", other.url)
        bench.sql("UPDATE webhook_endpoint SET enabled_events = '{other}' WHERE id = 'we_slow'")
        async with bench.running():
            await bench.until(lambda: len(receiver.received) == 4)
            await bench.happen(20)
            await bench.until(lambda: len(other.received) == 20)
    assert len(receiver.received) == 4


async def test_every_account_and_mode_gets_its_own(bench: Any, receiver: Any) -> None:
    """Endpoints of the same id in both modes are two endpoints."""
    bench.endpoint("we_1", receiver.url + "/test")
    bench.endpoint("we_2", receiver.url + "/live")
    bench.sql("UPDATE webhook_endpoint SET livemode = true, id = 'we_1' WHERE id = 'we_2'")
    await bench.happen()
    async with bench.running():
        await bench.until_states(("delivered", 1, None))
    assert [request.path for request in receiver.received] == ["/hook/test"]
    assert json.loads(receiver.received[0].body)["livemode"] is False
