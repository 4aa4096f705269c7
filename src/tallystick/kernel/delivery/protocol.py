"""One delivery as a conversation: what is sent, and what follows from how it ended. Pure (RULES §6).

choose     which of the due ones to take, so that no endpoint has more than its share
prepare    the request of one try, signed both ways, or why there is none
judge      how it ended → delivered, due again, dead, held
spare      what becomes of one whose endpoint is broken, so that it is not called
outcome    what a try tells of its endpoint
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import Struct

from tallystick.kernel.backoff import DEFAULT_SCHEDULE, Schedule, next_try_at, retry_after_s
from tallystick.kernel.delivery import states
from tallystick.kernel.delivery.health import JITTER_SHARE, TOO_MANY, WELL, Health, Kind, Outcome, kind_of
from tallystick.kernel.signatures import sign_standard, sign_stripe
from tallystick.ports.http import Answered, Exchange, HttpRequest, NotSent

DEADLINE_S: Final = 15.0
"""For the whole exchange, the answer's body included."""
ANSWER_BYTES_MAX: Final = 16 * 1024
"""What is read and kept of an answer."""
LEASE_S: Final = 60.0
"""How long a claimed delivery belongs to its holder: the deadline, and time to record the result in a slow database."""
LEASE_MARGIN_S: Final = 15.0
IN_FLIGHT_MAX: Final = 256
"""Deliveries held at once by one dispatcher; bounds its memory and its connections."""
SHARE_MAX: Final = 64
"""Of those, for one endpoint: one that hangs cannot take all places."""
RATE_PER_S: Final = 500.0
"""To one endpoint by one dispatcher: no receiver is flooded, however quickly it answers at first."""
BURST: Final = 100
"""What comes at once after a silence; a checkout makes a handful of events."""

USER_AGENT: Final = "Tallystick"
GONE: Final = 410


class Limits(Struct, frozen=True, kw_only=True):
    """How much one dispatcher does at once, and for how long."""

    deadline_s: float = DEADLINE_S
    lease_s: float = LEASE_S
    in_flight_max: int = IN_FLIGHT_MAX
    share_max: int = SHARE_MAX
    answer_bytes_max: int = ANSWER_BYTES_MAX
    rate_per_s: float = RATE_PER_S
    burst: int = BURST

    def __post_init__(self) -> None:
        assert self.lease_s >= self.deadline_s + LEASE_MARGIN_S, "nobody may take over what may still be under way"
        assert 1 <= self.share_max <= self.in_flight_max


class EndpointKey(NamedTuple):
    """Names an endpoint."""

    owner_id: str
    livemode: bool
    id: str


class Endpoint(Struct, frozen=True):
    """Where deliveries go. `secrets` are all live signing secrets: during a rotation every one of them signs."""

    url: str
    secrets: tuple[str, ...]
    enabled: bool = True
    schedule: Schedule = DEFAULT_SCHEDULE

    def __repr__(self) -> str:
        return f"Endpoint(enabled={self.enabled})"


class Seen(NamedTuple):
    """A delivery that was read as due, without a lock, and how its endpoint stood."""

    owner_id: str
    id: str
    generation: int
    endpoint: EndpointKey
    health: Health = WELL


class Claimed(Struct, frozen=True):
    """A delivery that is ours until its lease ends. `tries` were made before; `body` is None without its message;
    `trace` is the step that made it, where somebody follows that."""

    owner_id: str
    id: str
    generation: int
    tries: int
    message: str
    endpoint: EndpointKey
    body: bytes | None
    created_at: datetime
    health: Health = WELL
    trace: str | None = None


class Try(Struct, frozen=True):
    """One HTTP try as it is recorded. There is no `status` without an answer, and no `reason` with a good one."""

    started_at: datetime
    duration_ms: int
    status: int | None
    reason: str | None
    answer: bytes | None


class Verdict(Struct, frozen=True):
    """What becomes of a delivery. `due_at` says when it is due again; `gone` asks for the endpoint to be disabled."""

    state: str
    due_at: datetime | None = None
    reason: str | None = None
    gone: bool = False


class Result(Struct, frozen=True):
    """What a holder writes down: the verdict, when it was reached, and the try that led to it, where there was one.

    `outcome` is what the try told of the endpoint, None when it told nothing.
    """

    claimed: Claimed
    verdict: Verdict
    at: datetime
    tried: Try | None
    outcome: Outcome | None = None

    @property
    def is_news(self) -> bool:
        """Whether the endpoint's health is to be judged anew. A success of a healthy one changes nothing."""
        return self.outcome is not None and (self.outcome.kind is not Kind.GOOD or self.claimed.health.ailing)


class Choice(NamedTuple):
    """What to take now, and the endpoints that had to leave something for lack of room or tokens."""

    taken: list[Seen]
    crowded: set[EndpointKey]


def choose(
    due: Sequence[Seen],
    in_flight: Mapping[EndpointKey, int],
    *,
    at: datetime,
    places: int,
    share_max: int,
    tokens: Callable[[EndpointKey], int],
) -> Choice:
    """Those of `due` to take now: at most `places`, in their order, no endpoint beyond its share and its tokens."""
    taken: dict[EndpointKey, int] = {}
    chosen: list[Seen] = []
    crowded: set[EndpointKey] = set()
    for seen in due:
        key, count = seen.endpoint, taken.get(seen.endpoint, 0)
        full = in_flight.get(key, 0) + count >= share_of(seen.health, at, share_max)
        if full or (count >= tokens(key) and not seen.health.is_broken(at)):
            crowded.add(key)
        elif len(chosen) < places:
            taken[key] = count + 1
            chosen.append(seen)
    return Choice(chosen, crowded)


def share_of(health: Health, at: datetime, share_max: int) -> int:
    """How many deliveries to one endpoint a dispatcher holds at once. One that is broken is not called at all."""
    return share_max if health.is_broken(at) else health.share(share_max)


def without_sending(endpoint: Endpoint | None) -> Verdict | None:
    """What becomes of a delivery whose endpoint takes none, or None when it is to be sent."""
    if endpoint is None:
        return Verdict(states.DEAD, reason=states.ENDPOINT_DELETED)
    if not endpoint.enabled:
        return Verdict(states.HELD, reason=states.ENDPOINT_DISABLED)
    return None


def prepare(
    claimed: Claimed, endpoint: Endpoint, limits: Limits, *, at: datetime, trace: str | None = None
) -> HttpRequest | NotSent:
    """The request of a try at `at`: the stored bytes, signed both ways with every live secret. RULES §6. `trace` is the
    `traceparent` of this try, where somebody follows it."""
    if claimed.body is None:
        return NotSent(states.MESSAGE_MISSING)
    timestamp = int(at.timestamp())
    try:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
            "webhook-id": claimed.message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_standard(endpoint.secrets, claimed.message, timestamp, claimed.body),
            "Stripe-Signature": sign_stripe(endpoint.secrets, timestamp, claimed.body),
        }
    except ValueError:
        return NotSent(states.UNSIGNABLE)
    if trace is not None:
        headers["traceparent"] = trace
    return HttpRequest(
        "POST",
        endpoint.url,
        headers,
        claimed.body,
        limits.deadline_s,
        limits.answer_bytes_max,
        on_behalf_of=claimed.owner_id,
    )


def judge(exchange: Exchange, schedule: Schedule, *, tries: int, at: datetime, chance: float) -> Verdict:
    """What follows from a try that ended at `at`, the `tries`-th. 2xx is success and nothing else. RULES §6."""
    asked_s = None
    if isinstance(exchange, Answered):
        if is_success(exchange.status):
            return Verdict(states.DELIVERED)
        if exchange.status == GONE:
            return Verdict(states.HELD, reason=states.ENDPOINT_GONE, gone=True)
        asked_s = retry_after_s(exchange.headers.get("retry-after"), at)
    reason = failure(exchange)
    due_at = next_try_at(schedule, tries=tries, failed_at=at, chance=chance, asked_s=asked_s)
    if due_at is None:
        return Verdict(states.DEAD, reason=reason)
    return Verdict(states.DUE, due_at=due_at, reason=reason)


def spare(claimed: Claimed, schedule: Schedule, *, at: datetime, chance: float) -> tuple[Verdict, Try | None]:
    """What becomes at `at` of a delivery whose endpoint is broken: it fails as if it had been sent.

    Its last try is not given away like that: it waits for the breaker, unless the endpoint has answered nothing since
    before the delivery was made, so that there is nothing to hope for.
    """
    health = claimed.health
    assert health.broken_until is not None
    tries, reason = claimed.tries + 1, health.reason or states.ENDPOINT_FAILING
    attempt = Try(at, 0, None, states.ENDPOINT_FAILING, None)
    due_at = next_try_at(schedule, tries=tries, failed_at=at, chance=chance)
    if due_at is not None:
        return Verdict(states.DUE, due_at=due_at, reason=reason), attempt
    if health.failing_since is not None and health.failing_since <= claimed.created_at:
        return Verdict(states.DEAD, reason=reason), attempt
    wait = (health.broken_until - at) * (1 + JITTER_SHARE * chance)
    return Verdict(states.DUE, due_at=at + max(wait, timedelta(seconds=1)), reason=reason), None


def outcome(exchange: Exchange, *, started_at: datetime, at: datetime) -> Outcome | None:
    """What a try tells of its endpoint; nothing where the fault is ours, or where it asked to be left alone."""
    if not isinstance(exchange, Answered):
        return None if exchange.reason in states.OUR_FAULTS else Outcome(Kind.BAD, started_at, exchange.reason)
    if is_success(exchange.status):
        return Outcome(Kind.GOOD, started_at)
    if exchange.status == GONE:
        return None
    asked_s = retry_after_s(exchange.headers.get("retry-after"), at)
    kind = kind_of(exchange.status, asked_s)
    return Outcome(kind, started_at, failure(exchange), asked_s, breaks=exchange.status != TOO_MANY)


def tried(exchange: Exchange, *, started_at: datetime, duration_s: float) -> Try:
    """The record of a try."""
    duration_ms = max(int(duration_s * 1000), 0)
    if isinstance(exchange, Answered):
        return Try(started_at, duration_ms, exchange.status, failure(exchange), exchange.body or None)
    return Try(started_at, duration_ms, None, exchange.reason, None)


def failure(exchange: Exchange) -> str | None:
    """Why a try failed, in a word, or None when it did not: `http_503`, or the port's reason."""
    if isinstance(exchange, Answered):
        return None if is_success(exchange.status) else f"http_{exchange.status}"
    return exchange.reason


def is_success(status: int) -> bool:
    """2xx and nothing else."""
    return 200 <= status <= 299
