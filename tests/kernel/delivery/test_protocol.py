"""What is sent, and what follows from how it ended (RULES §6). Pure."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from standardwebhooks.webhooks import Webhook

from tallystick.kernel.backoff import DEFAULT_SCHEDULE, Schedule
from tallystick.kernel.delivery import states
from tallystick.kernel.delivery.health import WELL, Health, Kind, Outcome
from tallystick.kernel.delivery.protocol import (
    Claimed,
    Endpoint,
    EndpointKey,
    Limits,
    Seen,
    Verdict,
    choose,
    judge,
    outcome,
    prepare,
    spare,
    tried,
    without_sending,
)
from tallystick.ports.http import Answered, Exchange, HttpRequest, NotSent, Unknown

AT = datetime(2026, 11, 23, 12, 0, 0, 900_000, tzinfo=UTC)
KEY = EndpointKey("acct_a", False, "we_1")
SECRETS = ("whsec_" + base64.b64encode(b"n" * 32).decode(), "whsec_" + base64.b64encode(b"o" * 32).decode())
BODY = b'{"id":"evt_1","object":"event"}'
CLAIMED = Claimed("acct_a", "dlv_1", generation=3, tries=2, message="evt_1", endpoint=KEY, body=BODY, created_at=AT)


def _seen(*endpoints: str) -> list[Seen]:
    return [Seen("acct_a", f"dlv_{n}", 0, EndpointKey("acct_a", False, id)) for n, id in enumerate(endpoints)]


def _judge(exchange: Exchange, *, tries: int = 1, schedule: Schedule = DEFAULT_SCHEDULE) -> Verdict:
    return judge(exchange, schedule, tries=tries, at=AT, chance=0.5)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_2xx_is_success(status: int) -> None:
    assert _judge(Answered(status, {}, b"")) == Verdict(states.DELIVERED)


@pytest.mark.parametrize(
    "status", [100, 199, 300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 418, 429, 500, 502, 503]
)
def test_nothing_else_is(status: int) -> None:
    """3xx fails and is not followed."""
    assert _judge(Answered(status, {}, b"")) == Verdict(
        states.DUE, due_at=AT + timedelta(minutes=1), reason=f"http_{status}"
    )


@pytest.mark.parametrize(
    "exchange", [NotSent("connection_refused"), NotSent("address_refused"), Unknown("body_timeout")]
)
def test_no_answer_is_a_failure(exchange: NotSent | Unknown) -> None:
    assert _judge(exchange) == Verdict(states.DUE, due_at=AT + timedelta(minutes=1), reason=exchange.reason)


def test_410_asks_for_the_endpoint_to_be_disabled() -> None:
    """Its delivery is held, not lost, also on the last try."""
    for tries in (1, 8):
        verdict = _judge(Answered(410, {"retry-after": "5"}, b""), tries=tries)
        assert verdict == Verdict(states.HELD, reason="endpoint_gone", gone=True)


def test_after_the_last_try_comes_the_dead_letter() -> None:
    """With the reason of the last failure."""
    assert _judge(Answered(503, {}, b""), tries=7).state == states.DUE
    assert _judge(Answered(503, {}, b""), tries=8) == Verdict(states.DEAD, reason="http_503")
    assert _judge(Unknown("answer_timeout"), tries=3, schedule=Schedule((1, 1))) == Verdict(
        states.DEAD, reason="answer_timeout"
    )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("600", 660), ("5", 60), ("Mon, 23 Nov 2026 12:10:00 GMT", 659), ("rubbish", 60), ("9" * 20, 95_040)],
)
def test_retry_after_is_obeyed(header: str, seconds: int) -> None:
    """Seconds or date, up to a cap; never earlier than the schedule."""
    verdict = _judge(Answered(429, {"retry-after": header}, b""))
    assert verdict.due_at is not None
    assert (verdict.due_at - AT).total_seconds() == pytest.approx(seconds, abs=0.2)


def test_the_request_carries_both_signatures() -> None:
    """`webhook-id` is the message's; the timestamp is this try's, in whole seconds; every live secret signs."""
    request = prepare(CLAIMED, Endpoint("https://shop.example/hook", SECRETS), Limits(), at=AT)
    assert isinstance(request, HttpRequest)
    assert (request.method, request.url, request.body) == ("POST", "https://shop.example/hook", BODY)
    assert (request.deadline_s, request.answer_bytes_max) == (15, 16 * 1024)
    assert request.headers["webhook-id"] == "evt_1"
    assert request.headers["webhook-timestamp"] == str(int(AT.timestamp()))
    assert request.headers["Content-Type"].startswith("application/json")
    for secret in SECRETS:
        stripe.WebhookSignature.verify_header(BODY.decode(), request.headers["Stripe-Signature"], secret)
        signature = Webhook(secret).sign("evt_1", AT.replace(microsecond=0), BODY.decode())
        assert signature in request.headers["webhook-signature"].split(" ")


def test_what_cannot_be_sent_says_why_and_shows_no_secret() -> None:
    """Faults of ours are kept apart from faults of the endpoint."""
    broken = Endpoint("https://shop.example/hook", ("whsec_not base64!",))
    assert prepare(CLAIMED, broken, Limits(), at=AT) == NotSent(states.UNSIGNABLE)
    lost = Claimed("acct_a", "dlv_1", generation=3, tries=2, message="evt_1", endpoint=KEY, body=None, created_at=AT)
    assert prepare(lost, Endpoint("https://shop.example/hook", SECRETS), Limits(), at=AT) == NotSent(
        states.MESSAGE_MISSING
    )
    assert {states.UNSIGNABLE, states.MESSAGE_MISSING} <= states.OUR_FAULTS
    assert "whsec" not in repr(broken)


def test_endpoints_that_take_nothing() -> None:
    """A disabled endpoint parks its deliveries; those of a deleted one are dead letters at once."""
    assert without_sending(Endpoint("https://shop.example/hook", SECRETS)) is None
    assert without_sending(Endpoint("https://shop.example/hook", SECRETS, enabled=False)) == Verdict(
        states.HELD, reason="endpoint_disabled"
    )
    assert without_sending(None) == Verdict(states.DEAD, reason="endpoint_deleted")


def test_the_record_of_a_try() -> None:
    attempt = tried(Answered(500, {}, b"oops"), started_at=AT, duration_s=0.0129)
    assert (attempt.started_at, attempt.duration_ms, attempt.status) == (AT, 12, 500)
    assert (attempt.reason, attempt.answer) == ("http_500", b"oops")
    attempt = tried(Answered(204, {}, b""), started_at=AT, duration_s=-0.001)
    assert (attempt.duration_ms, attempt.status, attempt.reason, attempt.answer) == (0, 204, None, None)
    attempt = tried(Unknown("connection_lost"), started_at=AT, duration_s=1)
    assert (attempt.duration_ms, attempt.status, attempt.reason) == (1000, None, "connection_lost")


def _chosen(
    due: list[Seen],
    in_flight: dict[EndpointKey, int] | None = None,
    *,
    places: int = 9,
    share_max: int = 9,
    tokens: int = 9,
) -> list[str]:
    choice = choose(due, in_flight or {}, at=AT, places=places, share_max=share_max, tokens=lambda _: tokens)
    return [seen.id for seen in choice.taken]


def test_an_endpoint_has_no_more_than_its_share() -> None:
    due = _seen("we_slow", "we_slow", "we_slow", "we_b", "we_slow", "we_c")
    slow = EndpointKey("acct_a", False, "we_slow")
    assert _chosen(due, share_max=2) == ["dlv_0", "dlv_1", "dlv_3", "dlv_5"]
    assert _chosen(due, {slow: 1}, share_max=2) == ["dlv_0", "dlv_3", "dlv_5"]
    assert _chosen(due, {slow: 2}, share_max=2, places=1) == ["dlv_3"]
    assert _chosen(due, tokens=1) == ["dlv_0", "dlv_3", "dlv_5"]
    assert choose(due, {slow: 1}, at=AT, places=9, share_max=2, tokens=lambda _: 9).crowded == {slow}


@pytest.mark.parametrize(
    ("health", "taken"),
    [
        (WELL, 6),
        (Health(width=1), 1),
        (Health(width=3), 3),
        (Health(width=99), 6),
        (Health(width=1, broken_until=AT + timedelta(seconds=1)), 6),  # they fail at once: that takes no place for long
        (Health(width=1, broken_until=AT), 1),  # the breaker's time is over: one goes ahead of all
    ],
)
def test_an_ailing_endpoint_is_sent_as_much_as_it_takes(health: Health, taken: int) -> None:
    due = [seen._replace(health=health) for seen in _seen(*["we_1"] * 9)]
    assert len(_chosen(due, share_max=6)) == taken


@given(
    st.lists(st.sampled_from(["we_a", "we_b", "we_c"]), max_size=30),
    st.dictionaries(st.sampled_from(["we_a", "we_b", "we_c"]), st.integers(0, 6)),
    st.integers(0, 12),
    st.integers(1, 6),
    st.integers(0, 6),
)
def test_neither_the_places_nor_a_share_nor_the_tokens_are_exceeded_and_the_order_is_kept(
    due: list[str], in_flight: dict[str, int], places: int, share_max: int, tokens: int
) -> None:
    counts = {EndpointKey("acct_a", False, id): count for id, count in in_flight.items()}
    chosen = choose(_seen(*due), counts, at=AT, places=places, share_max=share_max, tokens=lambda _: tokens).taken
    assert len(chosen) <= places
    assert chosen == sorted(chosen, key=lambda seen: int(seen.id[4:]))
    for key in {seen.endpoint for seen in chosen}:
        taken = sum(seen.endpoint == key for seen in chosen)
        assert taken <= tokens
        assert taken + counts.get(key, 0) <= share_max


BROKEN = Health(
    failures=12, failing_since=AT - timedelta(hours=1), reason="http_500", broken_until=AT + timedelta(seconds=20)
)


@pytest.mark.parametrize(
    ("tries", "created_at", "state", "wait_s", "counts"),
    [
        (0, AT, states.DUE, 60, True),  # it keeps its schedule
        (5, AT, states.DUE, 86_400, True),
        (7, AT - timedelta(days=3), states.DUE, 22, False),  # its last try waits for the breaker
        (7, AT - timedelta(hours=1), states.DEAD, None, True),  # nothing was answered in all its life
    ],
)
def test_what_falls_due_to_a_broken_endpoint_fails_without_being_sent(
    tries: int, created_at: datetime, state: str, wait_s: float | None, counts: bool
) -> None:
    claimed = replace(CLAIMED, tries=tries, created_at=created_at, health=BROKEN)
    verdict, attempt = spare(claimed, DEFAULT_SCHEDULE, at=AT, chance=0.5)
    assert (verdict.state, verdict.reason) == (state, "http_500")
    assert verdict.due_at == (None if wait_s is None else AT + timedelta(seconds=wait_s))
    assert (attempt is not None) == counts
    if attempt is not None:
        assert (attempt.status, attempt.reason) == (None, "endpoint_failing")


@pytest.mark.parametrize(
    ("exchange", "told"),
    [
        (Answered(204, {}, b""), Outcome(Kind.GOOD, AT)),
        (Answered(500, {}, b""), Outcome(Kind.BAD, AT, "http_500")),
        (Answered(301, {}, b""), Outcome(Kind.BAD, AT, "http_301")),
        (Answered(502, {}, b""), Outcome(Kind.SLOW, AT, "http_502")),
        (Answered(504, {}, b""), Outcome(Kind.SLOW, AT, "http_504")),
        (Answered(429, {"retry-after": "7"}, b""), Outcome(Kind.SLOW, AT, "http_429", 7.0, breaks=False)),
        (Answered(503, {"retry-after": "7"}, b""), Outcome(Kind.SLOW, AT, "http_503", 7.0)),
        (Answered(410, {}, b""), None),
        (Unknown("answer_timeout"), Outcome(Kind.BAD, AT, "answer_timeout")),
        (NotSent("unsignable"), None),  # our fault tells nothing of the endpoint
    ],
)
def test_what_a_try_tells_of_its_endpoint(exchange: Exchange, told: Outcome | None) -> None:
    assert outcome(exchange, started_at=AT, at=AT + timedelta(seconds=1)) == told


def test_a_lease_is_longer_than_the_deadline() -> None:
    """Checked at the start: otherwise two holders would send at once as a matter of course."""
    Limits()
    with pytest.raises(AssertionError):
        Limits(lease_s=20, deadline_s=15)
    with pytest.raises(AssertionError):
        Limits(in_flight_max=8, share_max=9)
