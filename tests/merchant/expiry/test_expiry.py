"""RULES §8 over real HTTP: closed at the gateway, then EXPIRED; never on our clock alone. RULES §7: looks before."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tallystick.merchant.cases.cases import case_teller
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement

Stage = Any
Attempts = Any


class Pager:
    """Remembers what it told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def tell(self, title: str, text: str) -> bool:
        self.told.append(title)
        return True


async def told(stage: Stage, order_id: str) -> list[tuple[str, str, str]]:
    return [(row["source"], row["fact"]["fact"], row["state_after"]) for row in await stage.timeline(order_id)]


async def test_a_shopper_who_left_ends_expired(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: closed at the gateway, then EXPIRED."""
    _, order = await stage.place()
    await attempts.age(minutes=31)
    await attempts.work()
    order = await stage.order(order["id"])
    assert (order["state"], order["redirect_url"], stage.gateway.session["status"]) == ("EXPIRED", None, "expired")
    assert (await told(stage, order["id"]))[-2:] == [
        ("expiry", "close_requested", "PENDING"),
        ("expiry", "closed", "EXPIRED"),
    ]
    assert stage.gateway.keys[-1] == f"close:{order['id']}:1:1"
    row = await attempts.row()
    assert (row["due_at"], row["lease_until"]) == (None, None)


async def test_nothing_is_closed_before_its_time(stage: Stage, attempts: Attempts) -> None:
    _, order = await stage.place(expires_in_s=3600)
    await attempts.age(minutes=59)
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "PENDING"
    assert (await attempts.row())["due_at"] == (await attempts.row())["created_at"] + timedelta(hours=1)
    assert [call[0] for call in stage.gateway.calls] == ["POST", "GET"], "it was looked at"


async def test_paid_in_the_last_moment_is_paid(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: already paid → PAID. The close is refused, what is there is merged; the goods were never let go."""
    _, order = await stage.place()
    stage.gateway.pay(stage.gateway.session)
    await attempts.age(minutes=31)
    await attempts.work()
    order = await stage.order(order["id"])
    assert (order["state"], order["late"], order["fulfilment"]) == ("PAID", False, "allowed")


async def test_a_payment_under_way_keeps_the_order_pending(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: processing → stays PENDING, tried again with backoff and under a fresh key."""
    _, order = await stage.place()
    session = stage.gateway.session
    stage.gateway.busy.add(session["id"])
    await attempts.age(minutes=31)
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "PENDING"
    row = await attempts.row()
    assert row["close_number"] == 2
    assert row["due_at"] > attempts.now
    stage.gateway.pay(session)
    await attempts.make_due()
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "PAID"


async def test_an_unreachable_gateway_is_asked_again_under_the_same_key(stage: Stage, attempts: Attempts) -> None:
    """RULES §8, §5: unknown → stays PENDING; a key is repeated only after an unknown outcome."""
    _, order = await stage.place()
    await attempts.age(minutes=31)
    stage.gateway.trouble = ["lose"] * 3
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "PENDING"
    assert stage.gateway.session["status"] == "expired", "it was closed, but nobody told us"
    await attempts.make_due()
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "EXPIRED"
    assert set(stage.gateway.keys[1:]) == {f"close:{order['id']}:1:1"}


async def test_the_pause_between_tries_grows_to_five_minutes(stage: Stage, attempts: Attempts) -> None:
    await stage.place()
    await attempts.age(minutes=31)
    await stage.database.execute(Statement("x", "UPDATE attempt SET tries = 50"))
    stage.gateway.trouble = [(500, "api_error")] * 30
    await attempts.worker().run_once()
    await stage.database.execute(Statement("x", "UPDATE attempt SET tries = 50"))
    await attempts.worker().run_once()
    assert timedelta(seconds=140) < (await attempts.row())["due_at"] - attempts.now <= timedelta(seconds=300)


async def test_a_look_finds_what_no_webhook_told(stage: Stage, attempts: Attempts) -> None:
    """RULES §7: missed webhooks: polled at 2, 10 and 25 min."""
    _, order = await stage.place()
    created_at = (await attempts.row())["created_at"]
    assert (await attempts.row())["due_at"] == created_at + timedelta(minutes=2)
    for minutes, next_minutes in ((3, 10), (11, 25), (26, 30)):
        await attempts.age(minutes=minutes)
        await attempts.work()
        row = await attempts.row()
        assert row["due_at"] == row["created_at"] + timedelta(minutes=next_minutes)
        await attempts.age(minutes=-minutes)
    stage.gateway.pay(stage.gateway.session)
    await attempts.age(minutes=3)
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "PAID"
    assert (await told(stage, order["id"]))[-1][0] == "poll"


async def test_an_authorised_payment_is_never_closed(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: authorised → never closed by the TTL; it is looked at until it was captured or let go."""
    _, order = await stage.place()
    session = stage.gateway.session
    stage.gateway.pay(session)
    session["payment_status"] = "unpaid"
    session["payment_intent"] |= {"status": "requires_capture", "amount_received": 0}
    await attempts.age(minutes=3)
    await attempts.work()
    assert (await attempts.row())["state"] == "authorised"
    await attempts.age(days=2)
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "PENDING"
    assert not any(path.endswith("/expire") for _, path, _ in stage.gateway.calls)
    session["payment_intent"] |= {"status": "canceled", "cancellation_reason": "automatic"}
    await attempts.make_due()
    await attempts.work()
    assert (await stage.order(order["id"]))["state"] == "EXPIRED"


async def test_authorised_after_we_decided_to_close_is_not_closed(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: the decision and the shopper cross: what the shopper did counts."""
    _, order = await stage.place()
    await attempts.age(minutes=31)
    await attempts.worker().run_once()
    assert (await attempts.row())["close_reason"] == "expired"
    session = stage.gateway.session
    stage.gateway.pay(session)
    session["payment_intent"] |= {"status": "requires_capture", "amount_received": 0}
    assert await stage.tell("payment_intent.amount_capturable_updated", session["payment_intent"]) == 200
    await attempts.make_due()
    await attempts.work()
    assert not any(path.endswith("/expire") for _, path, _ in stage.gateway.calls)
    assert (await stage.order(order["id"]))["state"] == "PENDING"


@pytest.mark.parametrize("trouble", ["lose", "cut"])
async def test_an_unknown_creation_is_repeated_to_the_byte_and_closed(
    stage: Stage, attempts: Attempts, trouble: str
) -> None:
    """RULES §8: the create is repeated with the stored key and byte-identical parameters, then closed."""
    stage.gateway.trouble = [trouble] * 3
    status, problem = await stage.place()
    assert (status, problem["code"]) == (503, "outcome_unknown")
    await attempts.age(minutes=31)
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "EXPIRED"
    creates = [fields for _, path, fields in stage.gateway.calls if path == "/v1/checkout/sessions"]
    assert creates == [creates[0]] * 4
    assert stage.gateway.keys == [f"order:{problem['order']}:1"] * 4 + [f"close:{problem['order']}:1:1"]
    assert stage.gateway.session["status"] == "expired", "one session, and it is closed"


REFUSED = (400, "parameter_invalid_integer")


async def test_a_repeated_creation_that_is_refused_is_looked_for(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: that the repetition is refused says nothing of the first try, which made a session: it is found by our
    reference, and closed."""
    stage.gateway.trouble = ["lose"] * 3
    _, problem = await stage.place()
    await attempts.age(minutes=31)
    stage.gateway.trouble = [REFUSED]
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "EXPIRED"
    assert stage.gateway.session["status"] == "expired", "and not left open to be paid"
    paths = [(method, path.removeprefix("/v1/checkout/sessions")) for method, path, _ in stage.gateway.calls[3:]]
    assert paths == [("POST", ""), ("GET", ""), ("POST", f"/{stage.gateway.session['id']}/expire")]


async def test_what_was_paid_meanwhile_in_a_session_that_we_never_knew_is_paid(
    stage: Stage, attempts: Attempts
) -> None:
    stage.gateway.trouble = ["lose"] * 3
    _, problem = await stage.place()
    stage.gateway.pay(stage.gateway.session)
    await attempts.age(minutes=31)
    stage.gateway.trouble = [REFUSED]
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "PAID"


async def test_a_creation_that_is_refused_and_in_no_listing_ends_once_none_can_come(
    stage: Stage, attempts: Attempts
) -> None:
    """RULES §8: EXPIRED only once the stored expires_at has passed and a full listing shows none. Until then a first
    try that is still on its way may make one."""
    stage.gateway.trouble = ["cut"] * 3
    _, problem = await stage.place()
    _, other = await stage.place()
    await attempts.age(minutes=31)
    stage.gateway.trouble = [REFUSED]
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "PENDING", "there still may be one"
    assert (await stage.order(other["id"]))["state"] == "EXPIRED", "a gateway that answers is not away"
    await attempts.age(minutes=5)
    for says, state in (([REFUSED, *[(500, "api_error")] * 3], "PENDING"), ([REFUSED], "EXPIRED")):
        stage.gateway.trouble = says
        await attempts.make_due()
        await attempts.work()
        assert (await stage.order(problem["order"]))["state"] == state, "only a full listing says that there is none"


@pytest.mark.parametrize("dies", ["after the listing", "after the close"])
async def test_whoever_dies_between_listing_and_close_is_followed(stage: Stage, attempts: Attempts, dies: str) -> None:
    """The crash points of the way: nothing is kept but what the next one finds out again."""
    stage.gateway.trouble = ["lose"] * 3
    _, problem = await stage.place()
    await attempts.age(minutes=31)
    worker = attempts.worker()
    if dies == "after the listing":
        stage.gateway.trouble = [REFUSED, "", "cut", "cut", "cut"]
    else:
        stage.gateway.trouble = [REFUSED]

    async def killed(*_: object) -> None:
        raise RuntimeError("killed before the commit")

    worker._outcomes.submit = killed
    await worker.run_once()
    assert (await stage.order(problem["order"]))["state"] == "PENDING"
    await stage.database.execute(Statement("x", "UPDATE attempt SET lease_until = $1::timestamptz"), attempts.now)
    stage.gateway.trouble = [REFUSED]
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "EXPIRED"
    assert [one["status"] for one in stage.gateway.sessions.values()] == ["expired"]


async def test_past_the_keys_life_the_session_is_found_by_our_reference(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: sessions of the creation window are listed and compared by client_reference_id."""
    for _ in range(3):
        await stage.place()
    stage.gateway.trouble = ["lose"] * 3
    _, problem = await stage.place()
    for _ in range(3):
        await stage.place()
    others = Statement("x", "UPDATE attempt SET due_at = NULL WHERE order_id <> $1::text")
    await stage.database.execute(others, problem["order"])
    for session in stage.gateway.sessions.values():
        session["created"] -= 25 * 3600
    await attempts.age(hours=25)
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "EXPIRED"
    ours = {one["client_reference_id"]: one["status"] for one in stage.gateway.sessions.values()}
    assert [order for order, status in ours.items() if status == "expired"] == [problem["order"]]
    creates = [path for method, path, _ in stage.gateway.calls if (method, path) == ("POST", "/v1/checkout/sessions")]
    assert len(creates) == 9, "an old key is not repeated: it might make a second session"


async def test_only_a_full_listing_and_the_sessions_own_end_say_that_there_is_none(
    stage: Stage, attempts: Attempts
) -> None:
    """RULES §8: never EXPIRED on our clock alone."""
    stage.gateway.trouble = ["cut"] * 3
    _, problem = await stage.place()
    await attempts.age(hours=25)
    later = Statement("x", "UPDATE attempt SET gateway_expires_at = $1::timestamptz")
    await stage.database.execute(later, attempts.now + timedelta(minutes=5))
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "PENDING", "there still may be one"
    await stage.database.execute(later, attempts.now - timedelta(minutes=5))
    stage.gateway.trouble = [(500, "api_error")] * 3
    await attempts.make_due()
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "PENDING", "the listing failed"
    await attempts.make_due()
    await attempts.work()
    assert (await stage.order(problem["order"]))["state"] == "EXPIRED"


async def test_an_attempt_of_the_version_before_is_given_its_time(stage: Stage, attempts: Attempts) -> None:
    """A process of the version before inserts attempts that say nothing of when they are due: they are due at once."""
    await stage.place()
    await stage.database.execute(Statement("x", "UPDATE attempt SET due_at = '1970-01-01T00:00:00Z'"))
    assert await attempts.work() == 1
    row = await attempts.row()
    assert row["due_at"] == row["created_at"] + timedelta(minutes=2)


async def test_many_workers_close_once(stage: Stage, attempts: Attempts) -> None:
    """DESIGN §2.7: claimed by lease and generation."""
    orders = [(await stage.place())[1]["id"] for _ in range(5)]
    await attempts.age(minutes=31)
    for _ in range(2):
        await asyncio.gather(*(attempts.worker().run_once() for _ in range(4)))
    await attempts.work()
    assert [(await stage.order(order))["state"] for order in orders] == ["EXPIRED"] * 5
    keys = [key for key in stage.gateway.keys if key.startswith("close:")]
    assert sorted(keys) == sorted(f"close:{order}:1:1" for order in orders)


async def test_what_cannot_be_closed_for_a_day_is_told_once(stage: Stage, attempts: Attempts) -> None:
    """RULES §8: alert past 24 h; the order stays PENDING and is tried again."""
    _, order = await stage.place()
    await attempts.age(hours=23)
    stage.gateway.busy.add(stage.gateway.session["id"])
    await attempts.work()
    assert (await stage.get("/v1/cases"))[1]["data"] == []
    await attempts.age(hours=2)
    for _ in range(2):
        await attempts.make_due()
        await attempts.work()
    [case] = (await stage.get("/v1/cases"))[1]["data"]
    assert (case["kind"], case["order"], case["attempt"]) == ("close_stuck", order["id"], 1)
    pager = Pager()
    teller = case_teller(stage.database, pager, SystemClock())
    assert [await teller.step(), await teller.step()] == [1, 0], "people are told of it, once"
    assert pager.told == ["1 case waits for a person: close_stuck"]
    assert (await stage.order(order["id"]))["state"] == "PENDING"


async def test_a_gateway_that_does_not_answer_holds_up_no_other(stage: Stage, attempts: Attempts) -> None:
    """One connection's outage: it is called once and then left alone for a while; what is due there stays due."""
    orders = [(await stage.place())[1]["id"] for _ in range(3)]
    await attempts.age(minutes=31)
    worker = attempts.worker()
    assert await worker.run_once() == 3
    before = len(stage.gateway.calls)
    stage.gateway.trouble = [(500, "api_error")] * 30
    assert await worker.run_once() == 3, "all three were called side by side"
    called = len(stage.gateway.calls) - before
    await attempts.make_due()
    assert await worker.run_once() == 3
    assert len(stage.gateway.calls) - before == called, "it is left alone"
    assert (await attempts_of(stage)) == [("open", True)] * 3
    stage.gateway.trouble = []
    await attempts.make_due()
    await attempts.work()
    assert [(await stage.order(order))["state"] for order in orders] == ["EXPIRED"] * 3


async def attempts_of(stage: Stage) -> list[tuple[str, bool]]:
    rows = await stage.database.rows(Statement("x", "SELECT state, due_at, lease_until FROM attempt ORDER BY order_id"))
    return [(row["state"], row["due_at"] is not None and row["lease_until"] is None) for row in rows]
