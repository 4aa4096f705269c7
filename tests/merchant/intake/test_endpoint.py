"""RULES §7 over real HTTP on a real PostgreSQL: what is taken in, what is refused, and with which answer."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from tallystick.kernel.signatures import sign_stripe
from tallystick.merchant.intake.connections import FRESH_S, LOOK_AGAIN_S
from tallystick.merchant.intake.endpoint import BODY_BYTES_MAX
from tallystick.ports.database import DatabaseUnavailable
from tallystick.ports.metrics import samples

DEEP = b'{"id": "evt_1", "type": "charge.x", "data": {"object": {"id": "z", "a": ' + b"[" * 30_000

Shop = Any
Payment = Callable[..., bytes]

SECRET = "whsec_a_secret_of_no_value"
CONNECTION = "con_0123456789abcdef" + "0" * 25
STANDARD_CONNECTION = "con_0123456789abcdef" + "1" * 25


async def test_a_webhook_is_stored_merged_and_on_the_timeline_when_it_is_answered(shop: Shop, payment: Payment) -> None:
    order = await shop.order("one")
    body = payment("evt_1", order)
    assert await shop.send(body) == 200
    assert await shop.state(order) == "PAID"
    stored = (await shop.inbox())["evt_1"]
    assert stored["state"] == "applied"
    assert stored["raw"] == body
    assert stored["order_id"] == order
    (line,) = await shop.timeline(order)
    assert (line["source"], line["state_before"], line["state_after"]) == ("webhook", "PENDING", "PAID")
    assert line["reference"] == "evt_1"


async def test_a_duplicate_is_answered_200_and_does_nothing(shop: Shop, payment: Payment) -> None:
    order = await shop.order("one")
    assert await shop.send(payment("evt_1", order)) == 200
    # Even when the bytes differ: the event's id decides.
    assert await shop.send(payment("evt_1", order, amount=1, status="expired")) == 200
    assert await asyncio.gather(*(shop.send(payment("evt_1", order)) for _ in range(32))) == [200] * 32
    assert len(await shop.timeline(order)) == 1
    assert (await shop.sql("SELECT version FROM orders"))[0]["version"] == 1
    assert (await shop.inbox())["evt_1"]["raw"] == payment("evt_1", order)


async def test_the_first_of_many_equal_webhooks_at_once_works_and_the_others_do_not(
    shop: Shop, payment: Payment
) -> None:
    orders = [await shop.order(str(number)) for number in range(8)]
    bodies = [payment(f"evt_{order}", order) for order in orders] * 16
    random.Random(1).shuffle(bodies)
    assert await asyncio.gather(*map(shop.send, bodies)) == [200] * len(bodies)
    for order in orders:
        assert await shop.state(order) == "PAID"
        assert len(await shop.timeline(order)) == 1


async def test_standard_webhooks_need_the_events_own_id(shop: Shop, payment: Payment) -> None:
    order = await shop.order("one", connection=STANDARD_CONNECTION)
    body = payment("evt_1", order)
    assert await shop.send_standard(body, "evt_2") == 400
    assert await shop.inbox() == {}
    assert await shop.send_standard(body, "evt_1") == 200
    assert await shop.state(order) == "PAID"


async def test_a_connection_takes_one_scheme_and_ignores_the_other(shop: Shop, payment: Payment) -> None:
    body = payment("evt_1", await shop.order("one"))
    assert await shop.send(body, connection=STANDARD_CONNECTION) == 400
    nonsense = {"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    good = {"Stripe-Signature": sign_stripe([SECRET], now(), body)}
    assert await shop.send(body, headers=nonsense) == 400
    assert await shop.send(body, headers=good | nonsense) == 200


async def test_an_unknown_order_is_parked(shop: Shop, payment: Payment) -> None:
    assert await shop.send(payment("evt_early", "ord_" + "9" * 25)) == 200
    assert await shop.send(payment("evt_nobody", None)) == 200
    assert await shop.send(payment("evt_attempt", await shop.order("one"), attempt="7")) == 200
    inbox = await shop.inbox()
    assert {row["state"] for row in inbox.values()} == {"parked"}
    assert all(row["due_at"] > row["received_at"] for row in inbox.values())
    assert await shop.state(f"ord_{'one':0>25}") == "PENDING"


async def test_another_connection_may_not_speak_about_an_order(shop: Shop, payment: Payment) -> None:
    order = await shop.order("one", connection=STANDARD_CONNECTION)
    assert await shop.send(payment("evt_1", order), connection=CONNECTION) == 200
    assert (await shop.inbox())["evt_1"]["state"] == "parked"
    assert await shop.state(order) == "PENDING"


async def test_an_event_without_our_reference_is_found_by_its_payment(shop: Shop) -> None:
    order = await shop.order("one")
    await shop.sql("UPDATE attempt SET payment_intent = 'pi_known'")
    refund = b'{"id": "re_1", "object": "refund", "status": "succeeded", "amount": 5, "currency": "eur",'
    refund += b' "payment_intent": "%b"}'
    event = b'{"id": "evt_%b", "type": "refund.updated", "data": {"object": %b}}'
    assert await shop.send(event % (b"1", refund % b"pi_known")) == 200
    assert await shop.send(event % (b"2", refund % b"pi_unknown")) == 200
    assert {id: row["state"] for id, row in (await shop.inbox()).items()} == {"evt_1": "applied", "evt_2": "parked"}
    assert [line["reference"] for line in await shop.timeline(order)] == ["evt_1"]


async def test_an_event_that_says_nothing_about_orders_is_ignored(shop: Shop) -> None:
    assert await shop.send(b'{"id": "evt_1", "type": "balance.available", "data": {"object": {"id": "b"}}}') == 200
    assert (await shop.inbox())["evt_1"]["state"] == "ignored"


async def test_an_event_that_cannot_be_translated_is_stored_as_failed_and_stays_due(shop: Shop) -> None:
    body = b'{"id": "evt_1", "type": "charge.succeeded", "data": {"object": {"id": 5, "object": "charge"}}}'
    assert await shop.send(body) == 200
    row = (await shop.inbox())["evt_1"]
    assert (row["state"], row["raw"]) == ("failed", body)
    assert row["error"]
    assert row["due_at"] > row["received_at"]


async def test_64_good_webhooks_beside_a_poison_one_are_all_answered_200(shop: Shop, payment: Payment) -> None:
    """The poison's order holds facts of a newer version, which this one must not touch: every batch with it fails."""
    orders = [await shop.order(str(number)) for number in range(64)]
    poisoned = await shop.order("poison", facts='{"attempts": {"1": {}}, "from_the_future": 1}')
    bodies = [payment(f"evt_{order}", order) for order in orders]
    bodies.insert(32, payment("evt_poison", poisoned))
    assert await asyncio.gather(*map(shop.send, bodies)) == [200] * 65
    inbox = await shop.inbox()
    poison = inbox.pop("evt_poison")
    assert {row["state"] for row in inbox.values()} == {"applied"}
    assert [await shop.state(order) for order in orders] == ["PAID"] * 64
    assert (poison["state"], poison["raw"]) == ("failed", bodies[32])
    assert poison["error"] == "ValidationError"
    assert poison["due_at"] is not None
    assert await shop.timeline(poisoned) == []


async def test_batches_in_flight_that_meet_in_the_same_orders_do_not_deadlock(shop: Shop, payment: Payment) -> None:
    orders = [await shop.order(str(number)) for number in range(20)]
    rng = random.Random(2)
    sends = []
    for number in range(400):
        order = rng.choice(orders)
        sends.append(shop.send(payment(f"evt_{number}", order, payment_intent=f"pi_{number:04}")))
    assert await asyncio.gather(*sends) == [200] * 400
    assert {row["state"] for row in (await shop.inbox()).values()} == {"applied"}


# --- refusals ---


async def test_bad_signatures_old_ones_and_malformed_ones_are_400(shop: Shop, payment: Payment) -> None:
    body = payment("evt_1", await shop.order("one"))
    assert await shop.send(body, secret="whsec_other") == 400
    assert await shop.send(body, signed_at=now() - 301) == 400
    assert await shop.send(body, signed_at=now() + 302) == 400
    assert await shop.send(body, headers={}) == 400
    assert await shop.send(body, headers={"Stripe-Signature": "nonsense"}) == 400
    for nonsense in (
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"id": "evt_1"}',
        b'{"id": "", "type": "x"}',
        b"[" * 60_000,
        DEEP,
    ):
        assert await shop.send(nonsense) == 400
    assert await shop.inbox() == {}
    assert await shop.send(body, signed_at=now() - 290) == 200


async def test_two_signature_headers_are_refused(shop: Shop, payment: Payment) -> None:
    body = payment("evt_1", await shop.order("one"))
    good = f"Stripe-Signature: {sign_stripe([SECRET], now(), body)}\r\n".encode()
    assert status(await raw(shop, CONNECTION, good + good, body)) == 400
    assert status(await raw(shop, CONNECTION, good, body)) == 200


async def test_a_body_of_64_kib_is_taken_and_one_byte_more_is_413(shop: Shop, payment: Payment) -> None:
    order = await shop.order("one")
    empty = len(payment("evt_1", order, note=""))
    assert await shop.send(payment("evt_1", order, note="x" * (BODY_BYTES_MAX + 1 - empty))) == 413
    assert await shop.inbox() == {}
    assert await shop.send(payment("evt_1", order, note="x" * (BODY_BYTES_MAX - empty))) == 200
    # Declared too long: refused before it is sent. In chunks: refused as soon as it is too long.
    assert status(await raw(shop, CONNECTION, b"Content-Length: 99999999\r\n", None)) == 413
    chunks = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
    assert status(await raw(shop, CONNECTION, b"Transfer-Encoding: chunked\r\n", None, chunks)) == 413


async def test_other_methods_are_405_and_other_connections_404(shop: Shop, payment: Payment) -> None:
    body = payment("evt_1", await shop.order("one"))
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        async with shop.http.request(method, f"{shop.url}/webhooks/{CONNECTION}") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    strange = ("con_" + "é" * 41, "con_%00" + "0" * 40, "con_%00_" + "0" * 41)
    for connection in ("", "x", CONNECTION[:-1], CONNECTION[:-1] + "9", *strange):
        assert await shop.send(body, connection=connection) == 404
    assert await shop.send(body, connection=CONNECTION.replace("con_", "ord_")) == 404


async def test_a_disabled_connection_takes_nothing_more(shop: Shop, payment: Payment) -> None:
    order = await shop.order("one")
    assert await shop.send(payment("evt_1", order)) == 200
    await shop.sql("UPDATE connection SET disabled_at = created_at")
    shop.clock.ahead_s += FRESH_S
    assert await shop.send(payment("evt_2", order)) == 404


async def test_a_new_secret_works_at_once_and_the_old_one_until_it_is_removed(shop: Shop, payment: Payment) -> None:
    order = await shop.order("one")
    assert await shop.send(payment("evt_1", order)) == 200
    shop.clock.ahead_s += LOOK_AGAIN_S
    shop.secrets.values["env:NEW"] = "whsec_new"
    change_secrets = "UPDATE connection SET webhook_secret_refs = $2 WHERE connection_id = $1"
    await shop.sql(change_secrets, CONNECTION, ["env:STRIPE", "env:NEW"])
    assert await shop.send(payment("evt_2", order), secret="whsec_new") == 200
    assert await shop.send(payment("evt_3", order)) == 200
    await shop.sql(change_secrets, CONNECTION, ["env:NEW"])
    shop.clock.ahead_s += FRESH_S
    assert await shop.send(payment("evt_4", order)) == 400
    assert await shop.send(payment("evt_5", order), secret="whsec_new") == 200


@pytest.mark.parametrize("unusable", ["", "  ", "whsec_", None])
async def test_without_a_usable_secret_the_gateway_is_told_to_come_again(
    shop: Shop, payment: Payment, unusable: str | None
) -> None:
    """RULES §7: an empty secret is refused; nothing is lost, because the gateway sends again."""
    if unusable is None:
        del shop.secrets.values["env:STRIPE"]
    else:
        shop.secrets.values["env:STRIPE"] = unusable
    body = payment("evt_1", await shop.order("one"))
    assert await shop.send(body) == 503
    shop.secrets.values["env:STRIPE"] = SECRET
    assert await shop.send(body) == 200


async def test_a_database_that_is_down_is_503_with_retry_after(
    shop: Shop, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await shop.order("one")
    assert await shop.send(payment("evt_1", order)) == 200

    def unavailable(*_: object) -> None:
        raise DatabaseUnavailable("down")

    with monkeypatch.context() as patched:
        patched.setattr(shop.database, "rows", unavailable)
        body = payment("evt_2", order)
        headers = {"Stripe-Signature": sign_stripe([SECRET], now(), body)}
        async with shop.http.post(f"{shop.url}/webhooks/{CONNECTION}", data=body, headers=headers) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        # Also where the connection itself is not known yet.
        assert await shop.send_standard(payment("evt_3", order), "evt_3") == 503
    assert set(await shop.inbox()) == {"evt_1"}
    assert await shop.send(payment("evt_2", order)) == 200


async def test_a_full_queue_is_503(shop: Shop, payment: Payment, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [await shop.order(str(number)) for number in range(30)]
    monkeypatch.setattr(shop.intake._batches, "_queued_max", 4)
    statuses = await asyncio.gather(*(shop.send(payment(f"evt_{order}", order)) for order in orders))
    assert set(statuses) == {200, 503}
    assert len(await shop.inbox()) == statuses.count(200)


async def test_a_commit_that_fails_is_never_answered_200(
    shop: Shop, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections of the service are cut while webhooks arrive: what was answered 200 is there, nothing is 500."""
    orders = [await shop.order(str(number)) for number in range(100)]

    async def cut() -> None:
        for _ in range(5):
            await asyncio.sleep(0.01)
            await shop.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    async def send(order: str) -> int:
        answered: int = await shop.send(payment(f"evt_{order}", order))
        return answered

    statuses, _ = await asyncio.gather(asyncio.gather(*map(send, orders)), cut())
    assert set(statuses) <= {200, 503}
    inbox = await shop.inbox()
    for order, answered in zip(orders, statuses, strict=True):
        if answered == 200:
            assert inbox[f"evt_{order}"]["state"] == "applied"
            assert await shop.state(order) == "PAID"
    for order, answered in zip(orders, statuses, strict=True):
        if answered == 503:
            assert await shop.send(payment(f"evt_{order}", order)) == 200
            assert await shop.state(order) == "PAID"


async def test_a_sender_that_hangs_up_in_the_middle_harms_nobody(shop: Shop, payment: Payment) -> None:
    await raw(shop, CONNECTION, b"Content-Length: 1000\r\n", None, b"half of it", hang_up=True)
    assert await shop.send(payment("evt_1", await shop.order("one"))) == 200


# --- hostile requests ---

JUNK = [
    b"", b",", b"=", b"t=", b"v1=", b"t=1,v1=0", b"\xff\xfe", "é١".encode(), b"v1,====", b"9" * 400, b"t=1.5", b"nan",
    b"whsec_", b"v1=" + b"0" * 64, b" " * 100, b"t=-1", b"{}", b"t" * 5000,
]  # fmt: skip


Variant = tuple[str, list[tuple[bytes, bytes]], bytes]


def variants(seed: int, count: int, good_body: bytes) -> list[Variant]:
    """Connection, headers and body of hostile requests; among them bodies that the right secret signed."""
    rng = random.Random(seed)
    made: list[Variant] = []
    for _ in range(count):
        body = mutated(rng, good_body)
        signature = sign_stripe([SECRET], now(), body if rng.random() < 0.5 else good_body).encode()
        if rng.random() < 0.5 or body == good_body:
            signature = mutated(rng, signature) + b"x"
        names = [b"stripe-signature"] * rng.choice([0, 1, 1, 1, 1, 2])
        names += rng.choice([[], [b"webhook-id"], [b"webhook-id", b"webhook-timestamp", b"webhook-signature"]])
        headers = [(name, rng.choice([signature, *JUNK])) for name in names]
        made.append((rng.choice([CONNECTION, STANDARD_CONNECTION]), headers, body))
    return made


async def test_10000_hostile_variants_are_400_or_413_and_nothing_else(shop: Shop, payment: Payment) -> None:
    """RULES §7. A body that was changed and then signed with the right secret is an event or is malformed."""
    answers = []

    async def answer(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])

    async def call(variant: Variant) -> None:
        connection, headers, body = variant

        async def request() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        scope = {"type": "http", "method": "POST", "path": f"/webhooks/{connection}", "headers": headers}
        await shop.endpoint(scope, request, answer)

    made = variants(3, 10_000, payment("evt_1", await shop.order("one")))
    for start in range(0, len(made), 500):
        await asyncio.gather(*map(call, made[start : start + 500]))
    assert len(answers) == 10_000
    assert set(answers) == {200, 400, 413}
    assert answers.count(200) < 1000, "most variants must be refused"
    assert {row["state"] for row in (await shop.inbox()).values()} <= {"applied", "parked", "ignored", "failed"}


async def test_hostile_requests_over_http_are_400_or_413_and_nothing_else(shop: Shop, payment: Payment) -> None:
    """The same through the real server, whose own refusals are 400 too."""
    made = variants(4, 640, payment("evt_1", await shop.order("one")))

    async def answer(variant: Variant) -> int:
        connection, headers, body = variant
        lines = b"".join(b"%b: %b\r\n" % (name, printable(value)) for name, value in headers)
        return status(await raw(shop, connection, lines, body))

    for start in range(0, len(made), 64):
        assert set(await asyncio.gather(*map(answer, made[start : start + 64]))) <= {200, 400, 413}


def mutated(rng: random.Random, value: bytes) -> bytes:
    for _ in range(rng.randint(0, 3)):
        place = rng.randint(0, len(value))
        match rng.randrange(6):
            case 0:
                value = value[:place]
            case 1:
                value = value[:place] + rng.choice(JUNK) + value[place:]
            case 2:
                value = value[:place] + rng.randbytes(rng.randint(1, 8)) + value[place + 1 :]
            case 3:
                value = rng.choice(JUNK)
            case 4:
                value = (value * rng.randint(1, 300))[:70_000]
            case _:
                value = (
                    value[:place] + rng.choice([b"\\u0000", b"\\ud800", b"null", b"-1", b"1e999", b'"']) + value[place:]
                )
    return value


def printable(value: bytes) -> bytes:
    """Bytes that may stand in a header; others are refused by the server before we see them."""
    return bytes(byte for byte in value if byte >= 0x20 and byte != 0x7F)[:6000]


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def status(answer: bytes) -> int:
    return int(answer[9:12])


async def raw(
    shop: Shop, connection: str, headers: bytes, body: bytes | None, rest: bytes = b"", hang_up: bool = False
) -> bytes:
    """Send bytes as they are and give the whole answer."""
    address = urlsplit(shop.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    writer.write(b"POST /webhooks/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % connection.encode())
    writer.write(length + headers + b"\r\n" + (body or b"") + rest)
    if hang_up:
        writer.transport.abort()
        return b""
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_a_webhook_is_counted_by_what_became_of_it_and_for_how_long_it_took(shop: Shop, payment: Payment) -> None:
    """RULES §13; from the gateway's success to PAID is counted once, however often it is told."""
    counted = ("webhooks_received_total", "webhook_processing_seconds_count", "paid_after_seconds_count")
    before = {(each.name, *each.labels.values()): each.value for each in samples(counted)}
    body = payment("evt_1", await shop.order("one"))
    assert [await shop.send(body), await shop.send(body)] == [200, 200]
    assert await shop.send(body, secret="whsec_another_of_no_value") == 400
    after = {(each.name, *each.labels.values()): each.value for each in samples(counted)}
    assert {series: value - before[series] for series, value in after.items() if value != before[series]} == {
        ("webhooks_received_total", "stored"): 2,
        ("webhooks_received_total", "refused"): 1,
        ("webhook_processing_seconds_count",): 2,
        ("paid_after_seconds_count",): 1,
    }
