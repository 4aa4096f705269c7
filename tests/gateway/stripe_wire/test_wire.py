"""The edge of the wire over real HTTP and a real PostgreSQL: who may call, what is read, what every answer carries.

The routes of payment methods are the real ones; a few routes of the tests' own break in ways that no real one should.
"""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from structlog.testing import capture_logs

from tallystick.gateway.accounts.accounts import KeyPair, create_account, create_keys
from tallystick.gateway.accounts.authentication import Authenticator
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.cards import api as cards_api
from tallystick.gateway.cards.commands import Cards
from tallystick.gateway.faults.faults import Faults
from tallystick.gateway.stripe_wire import forms, wire
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.keyed import Keyed
from tallystick.gateway.stripe_wire.objects import API_VERSION
from tallystick.gateway.stripe_wire.parameters import Parameters
from tallystick.gateway.stripe_wire.reading import Reading
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route, Routes
from tallystick.kernel.idempotency import Idempotency
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import SerializationFailed
from tallystick.ports.entropy import SystemEntropy

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
A_CARD = {"type": "card", "card[token]": "tok_visa"}
METHODS = "/v1/payment_methods"


class Breaking:
    """A route that breaks as often as it is told to, and then works."""

    def __init__(self) -> None:
        self.times = 0
        self.error: Exception = RuntimeError("paid with 4242424242424242")
        self.executed = 0
        self.recoveries: list[str | None] = []

    async def run(self, call: Call, _id: str, _parameters: Parameters) -> Reply:
        self.executed += 1
        if self.times:
            self.times -= 1
            raise self.error
        assert call.claim is not None
        return Reply(200, b'{"object": "mended"}')


class Gateway:
    """What a test talks to."""

    def __init__(self, url: str, dsn: str, test: KeyPair, live: KeyPair, other: KeyPair, breaking: Breaking) -> None:
        self.url, self.dsn, self.breaking = url, dsn, breaking
        self.test, self.live, self.other = test, live, other


@pytest.fixture
def gateway(gateway_dsn: str, serve: Any) -> Iterator[Gateway]:
    breaking = Breaking()
    found: list[KeyPair] = []

    @asynccontextmanager
    async def opening(url: str) -> AsyncIterator[wire.Wire]:
        database = await open_database(gateway_dsn)
        at = CLOCK.now()
        account, [test] = await create_account(database, "Shop", at=at, entropy=ENTROPY)
        live = await create_keys(database, account.account_id, livemode=True, live_allowed=True, at=at, entropy=ENTROPY)
        _, [other] = await create_account(database, "Other", at=at, entropy=ENTROPY)
        found.extend([test, live, other])
        idempotency = Idempotency(database)
        acquirer = SimulatedAcquirer(database, CLOCK, pages_url=url, fingerprint_key=b"k" * 32, delay_s=0)
        reads = Reads(Reading(url, CLOCK), database)
        cards = Cards(database, idempotency, acquirer, CLOCK, ENTROPY)
        routes = [
            *cards_api.routes(cards, reads),
            Route(method="POST", path="/v1/breaking", parameters=Parameters, run=breaking.run, kind="breaking"),
        ]
        keyed = Keyed(idempotency, database, CLOCK)
        faults = Faults(database, CLOCK, ENTROPY)
        yield wire.Wire(Routes(routes), Authenticator(database, CLOCK), keyed, faults, CLOCK, ENTROPY)
        await database.close()

    with serve(opening) as url:
        test, live, other = found
        yield Gateway(url, gateway_dsn, test, live, other, breaking)


@pytest.fixture
def api(gateway: Gateway, client: Any) -> Any:
    """A client with the account's secret test key."""
    return client(gateway.url, gateway.test.secret_key)


def keys_stored(gateway: Gateway) -> list[tuple[str, str]]:
    with psycopg.connect(gateway.dsn) as connection:
        return connection.execute("SELECT key, state FROM idempotency_key ORDER BY key").fetchall()


def methods_stored(gateway: Gateway) -> int:
    with psycopg.connect(gateway.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM payment_method").fetchone()
        assert row is not None
        return int(row[0])


NOT_THERE = [
    ("GET", "/v1"),
    ("GET", "/v1/"),
    ("GET", "/v1/nothing"),
    ("GET", METHODS),
    ("PUT", METHODS),
    ("PATCH", f"{METHODS}/pm_1"),
    ("DELETE", f"{METHODS}/pm_1"),
    ("POST", f"{METHODS}/pm_1/"),
    ("POST", f"{METHODS}/"),
    ("GET", f"{METHODS}//"),
    ("GET", f"{METHODS}/{{id}}/x"),
    ("OPTIONS", METHODS),
    ("GET", "/v1/payment_methods%00"),
]


def test_what_is_not_there_is_answered_with_stripes_envelope(api: Any) -> None:
    for method, path in NOT_THERE:
        answer = api.send(method, path, None)
        assert answer.status == 404, path
        assert answer.error["type"] == "invalid_request_error"
        assert answer.error["message"].startswith(f"Unrecognized request URL ({method}: /v1")


def test_an_id_that_does_not_exist_is_not_found(api: Any) -> None:
    for id in ("pm_none", "4242424242424242", "a%00b", "%2e%2e", "a%2Fb", "%c3%a9", "%ff", "x" * 300):
        answer = api.get(f"{METHODS}/{id}")
        assert answer.status == 404, id
        assert answer.error["message"]
        assert "42424242" not in answer.body.decode()


def test_the_key_comes_as_basic_user_or_bearer_token(gateway: Gateway, api: Any, client: Any) -> None:
    basic = base64.b64encode(f"{gateway.test.secret_key}:".encode()).decode()
    for header in (f"Basic {basic}", f"bearer {gateway.test.secret_key}"):
        assert api.post(METHODS, A_CARD, headers=[("Authorization", header)]).status == 200
    for header in ("Bearer sk_test_0123456789abcdefghijklmn", "Basic x", "x"):
        answer = client(gateway.url).post(METHODS, A_CARD, headers=[("Authorization", header)])
        assert answer.status == 401
        assert answer.error["type"] == "invalid_request_error"
        assert "www-authenticate" in answer.headers
    assert client(gateway.url).post(METHODS, A_CARD).status == 401


def test_a_publishable_key_may_do_what_stripe_lets_it(gateway: Gateway, client: Any) -> None:
    shopper = client(gateway.url, gateway.test.publishable_key)
    created = shopper.post(METHODS, A_CARD)
    assert created.status == 200
    answer = shopper.get(f"{METHODS}/{created.json['id']}")
    assert (answer.status, answer.error["code"]) == (403, "secret_key_required")


def test_modes_and_accounts_do_not_see_each_other(gateway: Gateway, api: Any, client: Any) -> None:
    """DESIGN §5: the mode stands in every lookup."""
    id = api.post(METHODS, A_CARD).json["id"]
    assert api.get(f"{METHODS}/{id}").json["livemode"] is False
    for stranger in (gateway.live, gateway.other):
        assert client(gateway.url, stranger.secret_key).get(f"{METHODS}/{id}").status == 404


def test_test_tokens_do_not_exist_in_live_mode(gateway: Gateway, client: Any) -> None:
    """DESIGN §5."""
    answer = client(gateway.url, gateway.live.secret_key).post(METHODS, A_CARD)
    assert (answer.status, answer.error["code"]) == (400, "resource_missing")


def test_to_act_for_another_account_is_refused(gateway: Gateway, api: Any) -> None:
    answer = api.post(METHODS, A_CARD, headers=[("Stripe-Account", "acct_other")])
    assert (answer.status, answer.error["code"]) == (403, "account_invalid")


def test_every_answer_has_a_request_id_and_the_version(api: Any) -> None:
    """Any Stripe-Version is accepted and echoed, and does not change shapes (DESIGN §5)."""
    for answer in (api.post(METHODS, A_CARD), api.get("/v1/nothing"), api.post(METHODS, {})):
        assert answer.headers["request-id"].startswith("req_")
        assert answer.headers["stripe-version"] == API_VERSION
        assert answer.headers["content-type"] == "application/json"
    old = api.post(METHODS, A_CARD, headers=[("Stripe-Version", "2019-02-11")])
    assert old.headers["stripe-version"] == "2019-02-11"
    assert old.json.keys() == api.post(METHODS, A_CARD).json.keys()
    assert api.post(METHODS, A_CARD, headers=[("Stripe-Version", "é" * 9)]).headers["stripe-version"] == API_VERSION


def test_the_first_version_seen_becomes_the_accounts_default(gateway: Gateway, api: Any, client: Any) -> None:
    """RULES §6. Of the account's own calls: a shopper who chose it would choose which webhooks its SDK refuses."""
    shopper = client(gateway.url, gateway.test.publishable_key)
    assert shopper.post(METHODS, A_CARD, headers=[("Stripe-Version", "2001-01-01")]).status == 200
    api.post(METHODS, A_CARD, headers=[("Stripe-Version", "2025-01-01.acacia")])
    api.post(METHODS, A_CARD, headers=[("Stripe-Version", "2026-10-28.endive")])
    with psycopg.connect(gateway.dsn) as connection:
        row = connection.execute("SELECT default_api_version FROM account WHERE name = 'Shop'").fetchone()
    assert row == ("2025-01-01.acacia",)


def test_json_is_taken_as_well_as_forms(api: Any) -> None:
    body = json.dumps({"type": "card", "card": {"token": "pm_card_visa"}, "metadata": {"order": 17}}).encode()
    answer = api.send("POST", METHODS, body, [("Content-Type", "application/json")])
    assert answer.status == 200
    assert answer.json["metadata"] == {"order": "17"}


UNREADABLE = [
    (b"{", "application/json"),
    (b"[]", "application/json"),
    (b"[" * 100_000, "application/json"),
    (b'{"type": "\\ud800"}', "application/json"),
    (b"type=%ff", "application/x-www-form-urlencoded"),
    (b"type=%00", "application/x-www-form-urlencoded"),
    (b"type[=card", "application/x-www-form-urlencoded"),
    (b"\x00\xff\xfe", "application/x-www-form-urlencoded"),
    (b"--x\r\n", "multipart/form-data; boundary=x"),
    (b"<a/>", "text/xml"),
    (b"&".join(b"a=%d" % number for number in range(5_000)), ""),
]


def test_a_body_that_cannot_be_read_is_refused(api: Any) -> None:
    for body, content_type in UNREADABLE:
        answer = api.send("POST", METHODS, body, [("Content-Type", content_type)])
        assert answer.status == 400, body[:20]
        assert answer.error["type"] == "invalid_request_error"


def test_a_body_beyond_the_limit_is_refused_unread(gateway: Gateway, api: Any) -> None:
    declared = api.send("POST", METHODS, b"", [("Content-Length", str(10**12))])
    assert declared.status == 413
    endless = b"%x\r\n%b\r\n" % (forms.BODY_BYTES_MAX + 1, b"a" * (forms.BODY_BYTES_MAX + 1))
    streamed = exchange(gateway, METHODS, [b"Transfer-Encoding: chunked"], endless)
    assert streamed.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in streamed, "what follows of the body is no request"
    query = api.get(f"{METHODS}/pm_1?a={'b' * 30_000}")
    assert 400 <= query.status < 500


def exchange(gateway: Gateway, path: str, headers: list[bytes], body: bytes, wait_s: float = 10) -> bytes:
    """The first bytes of the answer to a request that is written byte by byte."""
    host, port = gateway.url.removeprefix("http://").split(":")
    head = [
        b"POST %b HTTP/1.1" % path.encode(),
        b"Host: x",
        b"Authorization: Bearer %b" % gateway.test.secret_key.encode(),
    ]
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        connection.sendall(b"\r\n".join([*head, *headers, b"", b""]) + body)
        return connection.recv(4096)


def test_a_body_that_does_not_come_is_not_waited_for(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BODY_DEADLINE_S", 0.2)
    assert exchange(gateway, METHODS, [b"Content-Length: 50"], b"type=card").startswith(b"HTTP/1.1 408 ")
    assert exchange(gateway, METHODS, [b"Content-Length: 50"], b"").startswith(b"HTTP/1.1 408 ")


def test_a_key_that_is_none_is_refused(gateway: Gateway, api: Any) -> None:
    """RULES §5."""
    for key in ("", " ", "x" * 256, "tab\there", "é", '""'):
        answer = api.post(METHODS, A_CARD, key=key)
        assert (answer.status, answer.error["code"]) == (400, "idempotency_key_invalid"), key
    for control in ("\x01", "\x7f"):  # the server's own parser refuses these before we see them
        assert api.post(METHODS, A_CARD, key=f"a{control}b").status == 400
    assert methods_stored(gateway) == 0


def test_two_keys_are_refused(gateway: Gateway, api: Any) -> None:
    """RULES §5."""
    assert api.post(METHODS, A_CARD, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")]).status == 400
    assert methods_stored(gateway) == 0


def test_a_key_is_echoed_and_the_longest_one_works(api: Any) -> None:
    key = "k" * 255
    answer = api.post(METHODS, A_CARD, key=key)
    assert (answer.status, answer.headers["idempotency-key"]) == (200, key)
    quoted = api.post(METHODS, A_CARD, key=f'"{key}"')
    assert (quoted.body, quoted.headers["idempotent-replayed"]) == (answer.body, "true")


def test_keys_of_reads_are_ignored(gateway: Gateway, api: Any) -> None:
    """RULES §5."""
    id = api.post(METHODS, A_CARD).json["id"]
    for key in ("fine", "", "x" * 300):
        answer = api.get(f"{METHODS}/{id}", headers=[("Idempotency-Key", key)])
        assert answer.status == 200
        assert "idempotent-replayed" not in answer.headers
    assert keys_stored(gateway) == []


def test_a_fault_of_ours_is_a_500_with_a_reference_and_the_key_resumes(gateway: Gateway, api: Any) -> None:
    """RULES §5: an unhandled 500 is never replayed. The log has the reference and nothing that was sent."""
    gateway.breaking.times = 1
    with capture_logs() as logs:
        answer = api.post("/v1/breaking", {}, key="k")
    assert answer.status == 500
    assert answer.error["type"] == "api_error"
    assert answer.headers["request-id"] in answer.error["message"]
    assert answer.headers["stripe-should-retry"] == "true"
    assert "42424242" not in answer.body.decode()
    [line] = [line for line in logs if line["event"] == "request_broke"]
    assert line["request_id"] == answer.headers["request-id"]
    assert not {"body", "fields", "parameters", "headers"} & line.keys()
    assert keys_stored(gateway) == [("k", "running")]

    again = api.post("/v1/breaking", {}, key="k")
    assert (again.status, again.json) == (200, {"object": "mended"})
    assert "idempotent-replayed" not in again.headers
    assert gateway.breaking.executed == 2


def test_with_the_database_away_nothing_is_executed(gateway: Gateway, api: Any) -> None:
    """RULES §5: 503, and the same call works once it is back."""
    name = conninfo_to_dict(gateway.dsn)["dbname"]
    api.get(f"{METHODS}/pm_1")  # the caller is remembered: what fails is the claim
    with psycopg.connect(gateway.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        answer = api.post(METHODS, A_CARD, key="k")
        assert answer.status == 503
        assert answer.error["type"] == "api_error"
        assert (answer.headers["stripe-should-retry"], int(answer.headers["retry-after"]) > 0) == ("true", True)
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert methods_stored(gateway) == 0
    assert api.post(METHODS, A_CARD, key="k").status == 200


def test_a_caller_that_hangs_up_harms_nobody(gateway: Gateway, api: Any) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /v1/payment_methods HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\ntype")
    assert api.post(METHODS, A_CARD).status == 200


async def test_concurrent_calls_share_batches_and_get_their_own_answers(gateway: Gateway, api: Any) -> None:
    """One bad item never fails its neighbours."""

    async def create(number: int) -> tuple[int, Any]:
        fields = {**A_CARD, "metadata[n]": str(number)} | ({"card[token]": "tok_none"} if number % 7 == 0 else {})
        return number, await asyncio.to_thread(api.post, METHODS, fields, f"key {number}")

    for number, answer in await asyncio.gather(*(create(number) for number in range(40))):
        if number % 7 == 0:
            assert (answer.status, answer.error["param"]) == (400, "card[token]")
        else:
            assert answer.json["metadata"] == {"n": str(number)}
    assert [key for key, _ in keys_stored(gateway)] == sorted(f"key {n}" for n in range(40) if n % 7)


def test_transactions_that_stood_in_each_others_way_are_to_be_sent_again(api: Any, gateway: Gateway) -> None:
    """Nothing was done: 503, and the same call under the same key executes."""
    gateway.breaking.times, gateway.breaking.error = 1, SerializationFailed("deadlock")
    refused = api.post("/v1/breaking", {}, "key-1")
    assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "2")
    assert api.post("/v1/breaking", {}, "key-1").status == 200
