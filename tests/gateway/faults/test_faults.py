"""Faults on demand: what users have the sandbox do wrong happens, as often as they asked for, to whom they asked."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from http.client import IncompleteRead
from typing import Any

import pytest

from tallystick.gateway.acquirers.port import Approved, CaptureRequest, ChargeRequest, Declined, NotFound
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.faults.acquirer import FaultyAcquirer
from tallystick.gateway.faults.faults import DELAY_S_MAX, KINDS, KNOWN_FOR_S, Faults, NewFault
from tallystick.gateway.faults.webhooks import FaultyHttp
from tallystick.kernel.delivery.protocol import Limits
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, DatabaseUnavailable
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.http import Answered, Exchange, HttpRequest

ACCOUNT = "acct_0000000000000001"
Run = Callable[..., AbstractContextManager[Any]]


class JumpingClock(SystemClock):
    """A clock on which nobody waits."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []
        self.passed = timedelta()

    def monotonic_s(self) -> float:
        return self.passed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


class Chance(SystemEntropy):
    """Draws that a test knows."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[float] = []

    def uniform(self, low: float, high: float) -> float:
        return self.draws.pop(0) if self.draws else super().uniform(low, high)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def chance() -> Chance:
    return Chance()


@pytest.fixture
def faults(gateway_database: Database, clock: JumpingClock, chance: Chance) -> Faults:
    return Faults(gateway_database, clock, chance)


@pytest.fixture
def bank(gateway_database: Database, clock: JumpingClock, faults: Faults) -> FaultyAcquirer:
    simulated = SimulatedAcquirer(
        gateway_database, clock, pages_url="http://127.0.0.1:1", fingerprint_key=bytes(32), delay_s=0
    )
    return FaultyAcquirer(simulated, faults, clock)


def charge(key: str = "ch_1", account: str = ACCOUNT) -> ChargeRequest:
    return ChargeRequest(
        account_id=account, key=key, card_reference="sim_visa", code=None, amount=5, currency="EUR", capture=True
    )


def capture(key: str = "acr_1") -> CaptureRequest:
    return CaptureRequest(account_id=ACCOUNT, key=key, charge_reference="c", amount=5, currency="EUR", final=True)


async def one(call: Any, request: Any) -> Any:
    (outcome,) = await call([request])
    return outcome


async def test_it_strikes_as_often_as_was_asked_for_and_whom(faults: Faults, chance: Chance) -> None:
    await faults.add(NewFault(place="acquirer", kind="decline", calls=2, account=ACCOUNT), "Ada")
    assert await faults.strike("acquirer", "acct_else") is None
    assert await faults.strike("webhooks", ACCOUNT) is None
    struck = [await faults.strike("acquirer", ACCOUNT) for _ in range(4)]
    assert [fault is not None for fault in struck] == [True, True, False, False]
    [spent] = await faults.all()
    assert (spent.calls_left, spent.struck, spent.operator) == (0, 2, "Ada")
    assert await faults.clear(spent.id) == 1

    await faults.add(NewFault(place="api", kind="error_before", share_pct=20), "Ada")
    chance.draws = [19.9, 20.0, 99.0, 0.0]
    struck = [await faults.strike("api", ACCOUNT) for _ in range(4)]
    assert [fault is not None for fault in struck] == [True, False, False, True]
    assert await faults.clear() == 1
    assert await faults.strike("api", ACCOUNT) is None


async def test_another_process_knows_within_half_a_second_and_calls_are_shared(
    faults: Faults, gateway_database: Database, clock: JumpingClock, chance: Chance
) -> None:
    other = Faults(gateway_database, clock, chance)
    assert await other.strike("api", ACCOUNT) is None
    await faults.add(NewFault(place="api", kind="error_before", calls=1), "Ada")
    assert await other.strike("api", ACCOUNT) is None
    clock.passed += timedelta(seconds=KNOWN_FOR_S)
    assert await other.strike("api", ACCOUNT) is not None
    assert await faults.strike("api", ACCOUNT) is None, "its one call was used by the other process"


async def test_while_none_is_set_nobody_asks_the_database(
    faults: Faults, gateway_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await faults.strike("api", ACCOUNT)

    async def forbidden(*_: object) -> list[object]:
        raise AssertionError("the hot path stays as it is")

    monkeypatch.setattr(gateway_database, "rows", forbidden)
    assert await faults.strike("api", ACCOUNT) is None


async def test_a_database_that_is_away_makes_no_faults(
    faults: Faults, gateway_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> list[object]:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(gateway_database, "rows", away)
    assert await faults.strike("api", ACCOUNT) is None


@pytest.mark.parametrize(
    ("kind", "outcome", "inquired"),
    [
        ("drop_answer", Unknown, Approved),
        ("timeout", Unknown, NotFound),
        ("refuse_connection", NotSent, None),
        ("decline", Declined, Declined),
        ("slow", Approved, Approved),
    ],
)
async def test_charges(
    faults: Faults, bank: FaultyAcquirer, clock: JumpingClock, kind: str, outcome: type, inquired: type | None
) -> None:
    """What the bank did, an inquiry finds; what was lost, it does not."""
    await faults.add(NewFault(place="acquirer", kind=kind, calls=1), "Ada")
    assert isinstance(await one(bank.charge, charge()), outcome)
    if inquired is not None:
        assert isinstance(await one(bank.inquire_charges, charge()), inquired)
    assert clock.slept_s == ([5.0] if kind == "slow" else [])
    assert await one(bank.charge, charge("ch_2")) == Approved("simch_ch_2")


@pytest.mark.parametrize("kind", ["timeout", "decline"])
async def test_a_bank_without_its_database_does_not_answer(
    faults: Faults, bank: FaultyAcquirer, gateway_database: Database, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nothing ends in a bare exception at the port of the acquirer, not even what a fault does."""
    await faults.add(NewFault(place="acquirer", kind=kind), "Ada")
    assert await faults.strike("acquirer", ACCOUNT) is not None

    async def away(*_: object) -> list[object]:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(gateway_database, "rows", away)
    assert isinstance(await one(bank.charge, charge()), Unknown)


@pytest.mark.parametrize(
    ("kind", "outcome", "inquired"),
    [("drop_answer", Unknown, Done), ("timeout", Unknown, NotFound), ("decline", Refused, Refused)],
)
async def test_captures(faults: Faults, bank: FaultyAcquirer, kind: str, outcome: type, inquired: type) -> None:
    await faults.add(NewFault(place="acquirer", kind=kind, calls=1), "Ada")
    assert isinstance(await one(bank.capture, capture()), outcome)
    assert isinstance(await one(bank.inquire_requests, capture()), inquired)
    if kind == "timeout":
        assert await one(bank.capture, capture()) == Done("simcap_acr_1"), "sent again under its key, it arrives"


async def test_each_of_a_batch_has_its_own_fate(faults: Faults, bank: FaultyAcquirer) -> None:
    await faults.add(NewFault(place="acquirer", kind="decline", account="acct_else"), "Ada")
    outcomes = await bank.charge([charge("ch_1"), charge("ch_2", "acct_else"), charge("ch_3")])
    assert [type(outcome) for outcome in outcomes] == [Approved, Declined, Approved]


class Line:
    """What goes out, and its answers."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, request: HttpRequest) -> Exchange:
        self.sent.append(request.url)
        return Answered(204, {}, b"")


def delivery(url: str = "https://a.example") -> HttpRequest:
    return HttpRequest("POST", url, {}, b"{}", 15.0, on_behalf_of=ACCOUNT)


@pytest.mark.parametrize(
    ("kind", "sent", "slept_s", "answered"),
    [("duplicate", 2, [], True), ("delay", 1, [7.0], True), ("drop_answer", 1, [], False), ("reorder", 1, [5.0], True)],
)
async def test_deliveries(
    faults: Faults, clock: JumpingClock, kind: str, sent: int, slept_s: list[float], answered: bool
) -> None:
    line = Line()
    http = FaultyHttp(line, faults, clock)
    delay_s = 7.0 if kind == "delay" else None
    await faults.add(NewFault(place="webhooks", kind=kind, calls=1, delay_s=delay_s), "Ada")
    exchange = await http.send(delivery())
    assert (len(line.sent), clock.slept_s, isinstance(exchange, Answered)) == (sent, slept_s, answered)
    await http.send(delivery())
    assert len(line.sent) == sent + 1


def test_what_comes_late_comes_within_the_lease() -> None:
    limits = Limits()
    assert DELAY_S_MAX + limits.deadline_s < limits.lease_s


INTENT = {"amount": "500", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}


def test_the_api_breaks_before_and_after(gateway: Any, client: Any, command: Any) -> None:
    """RULES §5: an unhandled 500 is never replayed; the retry under the same key finds what was done."""
    api = client(gateway.url, gateway.test.secret_key)
    command(f"gateway faults add api error_before --calls 1 --account {gateway.account_id}")
    other = client(gateway.url, gateway.other.secret_key)
    assert other.get("/v1/payment_intents").status == 200
    broken = api.post("/v1/payment_intents", INTENT, "key-1")
    assert (broken.status, broken.error["type"]) == (500, "api_error")
    assert api.get("/v1/payment_intents").json["data"] == [], "nothing was done"
    done = api.post("/v1/payment_intents", INTENT, "key-1")
    assert done.json["status"] == "succeeded"

    command("gateway faults add api error_after --calls 1")
    assert api.post("/v1/payment_intents", INTENT, "key-2").status == 500
    again = api.post("/v1/payment_intents", INTENT, "key-2")
    assert (again.status, dict(again.headers)["idempotent-replayed"]) == (200, "true")
    assert len(api.get("/v1/payment_intents").json["data"]) == 2


def test_the_answer_is_dropped(gateway: Any, client: Any, command: Any) -> None:
    api = client(gateway.url, gateway.test.secret_key)
    command("gateway faults add api drop_answer --calls 1")
    with pytest.raises(IncompleteRead):
        api.post("/v1/payment_intents", INTENT, "key-1")
    assert api.post("/v1/payment_intents", INTENT, "key-1").json["status"] == "succeeded"
    assert len(api.get("/v1/payment_intents").json["data"]) == 1


def test_faults_by_command(gateway: Any, client: Any, command: Any) -> None:
    api = client(gateway.url, gateway.test.secret_key)
    added = command("gateway faults add acquirer drop_answer --calls 1 --share 100")["id"]
    assert api.post("/v1/payment_intents", INTENT).json["status"] == "processing"
    [listed] = command("gateway faults list")["faults"]
    assert (listed["id"], listed["struck"], listed["calls_left"]) == (added, 1, 0)
    assert api.post("/v1/payment_intents", INTENT).json["status"] == "succeeded"
    assert command(f"gateway faults clear {added}") == {"cleared": 1}
    for kind in KINDS["webhooks"]:
        command(f"gateway faults add webhooks {kind}")
    assert command("gateway faults clear") == {"cleared": 4}

    operator = client(gateway.url, os.environ["TALLYSTICK_GATEWAY_OPERATOR_KEY"])
    for wrong in (
        {"place": "bank", "kind": "slow"},
        {"place": "acquirer", "kind": "explode"},
        {"place": "acquirer", "kind": "decline", "delay_s": 3},
        {"place": "acquirer", "kind": "slow", "delay_s": 31},
        {"place": "api", "kind": "error_after", "calls": 0},
        {"place": "api", "kind": "error_after", "share_pct": 101},
        {"place": "api", "kind": "error_after", "colour": "red"},
    ):
        answer = operator.send(
            "POST", "/operator/v1/faults", json.dumps(wrong).encode(), [("Content-Type", "application/json")]
        )
        assert answer.status == 422, wrong
    assert operator.send("DELETE", "/operator/v1/faults/flt_none", None).status == 404
    assert client(gateway.url).get("/operator/v1/faults").status == 401
