"""Where an account hears of its events: created, changed, deleted, and never an address inside (RULES §6, §12)."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tallystick.gateway.stripe_wire.call import Call, Caller, Reply
from tallystick.gateway.stripe_wire.errors import WireError
from tallystick.gateway.stripe_wire.parameters import Retrieve
from tallystick.gateway.webhooks.endpoints import ENDPOINTS_MAX, Endpoints
from tallystick.gateway.webhooks.parameters import CreateEndpoint, RollSecret, UpdateEndpoint
from tallystick.kernel.idempotency import Claim, ClaimRequest, Idempotency
from tallystick.kernel.idempotency.engine import Scope
from tallystick.kernel.signatures import standard_key
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy

CLOCK = SystemClock()
HOOK = "https://shop.example.com/hook"


class MadeUpNames:
    """A name server that knows what the test says."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self.addresses = {f"{name}.example.com": found for name, found in addresses.items()}

    async def addresses_of(self, host: str) -> Sequence[str]:
        if host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]


def _call(account_id: str = "acct_a", *, livemode: bool = False, claim: Claim | None = None) -> Call:
    return Call(Caller(account_id, livemode), "req_1", None, claim)


def _endpoints(database: Database, **settings: Any) -> Endpoints:
    return Endpoints(database, Idempotency(database), CLOCK, SystemEntropy(), **settings)


async def _create(endpoints: Endpoints, url: str = HOOK, call: Call | None = None, **sent: Any) -> Any:
    parameters = CreateEndpoint(url=url, **{"enabled_events": ["*"], **sent})
    (answer,) = await endpoints.create([(call or _call(), parameters)])
    return _told(answer)


async def _update(endpoints: Endpoints, id: str, call: Call | None = None, **sent: Any) -> Any:
    (answer,) = await endpoints.update([(call or _call(), id, UpdateEndpoint(**sent))])
    return _told(answer)


def _told(answer: Reply | WireError) -> Any:
    """The object of an answer, or its error."""
    return msgspec.json.decode(answer.body) if isinstance(answer, Reply) else answer


async def test_an_endpoint_is_created_with_a_secret_that_is_shown_once(gateway_database: Database, bench: Any) -> None:
    """`whsec_` + base64 of 32 bytes: good for both schemes."""
    endpoints = _endpoints(gateway_database)
    made = await _create(
        endpoints,
        enabled_events=["payment_intent.succeeded", "charge.failed"],
        api_version="2024-06-20",
        description="the shop",
        metadata={"a": "b"},
    )
    secret = made.pop("secret")
    assert len(standard_key(secret)) == 32
    assert secret == "whsec_" + base64.b64encode(standard_key(secret)).decode()
    assert made.pop("created") > 0
    assert made.pop("id").startswith("we_")
    assert made == {
        "object": "webhook_endpoint",
        "api_version": "2024-06-20",
        "application": None,
        "description": "the shop",
        "enabled_events": ["payment_intent.succeeded", "charge.failed"],
        "livemode": False,
        "metadata": {"a": "b"},
        "status": "enabled",
        "url": HOOK,
    }
    assert bench.sql("SELECT secrets, enabled_events FROM webhook_endpoint") == [
        ([secret], ["payment_intent.succeeded", "charge.failed"])
    ]
    changed = await _update(endpoints, bench.sql("SELECT id FROM webhook_endpoint")[0][0], description="x")
    assert "secret" not in changed


async def test_nobody_has_more_endpoints_than_there_may_be_however_many_are_asked_for_at_once(
    gateway_database: Database, bench: Any
) -> None:
    """Every event is signed and sent as often as there are endpoints."""
    endpoints = _endpoints(gateway_database)
    answers = await asyncio.gather(*(_create(endpoints) for _ in range(ENDPOINTS_MAX + 4)))
    assert [answer.message for answer in answers if isinstance(answer, WireError)] == [
        f"You have reached the maximum of {ENDPOINTS_MAX} webhook endpoints."
    ] * 4
    assert bench.sql("SELECT count(*)::int FROM webhook_endpoint") == [(ENDPOINTS_MAX,)]
    assert "id" in await _create(endpoints, call=_call(livemode=True)), "each mode has its own"


async def test_what_is_created_is_delivered_to(gateway_database: Database, bench: Any, receiver: Any) -> None:
    """From the command to the receiver, in development on loopback."""
    await _create(_endpoints(gateway_database, loopback=True), receiver.url)
    await bench.happen()
    async with bench.running():
        await bench.until_states(("delivered", 1, None))


async def test_an_endpoint_is_changed_only_where_the_call_says_so(gateway_database: Database, bench: Any) -> None:
    endpoints = _endpoints(gateway_database)
    made = await _create(endpoints, metadata={"a": "1", "b": "2"}, description="old")
    del made["secret"]
    assert await _update(endpoints, made["id"]) == made
    made |= {"status": "disabled"}
    assert await _update(endpoints, made["id"], disabled=True) == made
    made |= {"metadata": {"b": "2", "c": "3"}, "description": None}
    assert await _update(endpoints, made["id"], metadata={"a": "", "c": "3"}, description="") == made
    made |= {"url": "https://other.example.com:8443/", "enabled_events": ["z.z", "a.a"], "status": "enabled"}
    change = {"url": made["url"], "enabled_events": ["z.z", "a.a"], "disabled": False}
    assert await _update(endpoints, made["id"], **change) == made
    assert await _update(endpoints, made["id"], metadata="") == made | {"metadata": {}}
    assert bench.sql("SELECT cardinality(secrets) FROM webhook_endpoint") == [(1,)]


async def test_a_deleted_endpoint_is_gone(gateway_database: Database, bench: Any) -> None:
    endpoints = _endpoints(gateway_database)
    made = await _create(endpoints)
    answers = await endpoints.delete([(_call(), made["id"], Retrieve()), (_call(), made["id"], Retrieve())])
    assert _told(answers[0]) == {"id": made["id"], "object": "webhook_endpoint", "deleted": True}
    assert (_told(answers[1]).status, _told(answers[1]).code) == (404, "resource_missing")
    assert (await _update(endpoints, made["id"], description="x")).status == 404
    await bench.happen()
    assert bench.states() == []


@pytest.mark.parametrize("caller", [_call("acct_b"), _call(livemode=True)], ids=["another account", "live mode"])
async def test_nobody_else_finds_it(gateway_database: Database, caller: Call, bench: Any) -> None:
    endpoints = _endpoints(gateway_database)
    made = await _create(endpoints)
    assert (await _update(endpoints, made["id"], caller, disabled=True)).status == 404
    (answer,) = await endpoints.delete([(caller, made["id"], Retrieve())])
    assert _told(answer).status == 404
    assert bench.sql("SELECT status, deleted_at FROM webhook_endpoint") == [("enabled", None)]


@pytest.mark.parametrize(
    "url",
    ["http://shop.example.com/", "https://10.0.0.1/", "https://localhost/", "https://127.1/", "https://a@b.example/"],
)
async def test_an_address_inside_is_refused(gateway_database: Database, url: str, bench: Any) -> None:
    """At registration and at every change; RULES §12 has the table."""
    endpoints = _endpoints(gateway_database)
    refused = await _create(endpoints, url)
    assert (refused.status, refused.code, refused.param) == (400, "url_invalid", "url")
    made = await _create(endpoints)
    refused = await _update(endpoints, made["id"], url=url)
    assert (refused.status, refused.code, refused.param) == (400, "url_invalid", "url")
    assert bench.sql("SELECT url FROM webhook_endpoint") == [(HOOK,)]


async def test_a_name_that_leads_inside_is_refused(gateway_database: Database) -> None:
    """RULES §12: resolved at registration too. One that has no address yet may get one; dialling is guarded anyway."""
    names = MadeUpNames(good=["93.184.215.14"], bad=["10.0.0.1"], both=["93.184.215.14", "::1"])
    endpoints = _endpoints(gateway_database, names=names)
    assert (await _create(endpoints, "https://good.example.com/"))["status"] == "enabled"
    assert (await _create(endpoints, "https://unknown.example.com/"))["status"] == "enabled"
    for name in ("bad", "both"):
        assert (await _create(endpoints, f"https://{name}.example.com/")).code == "url_invalid"


async def test_development_lets_loopback_through(gateway_database: Database) -> None:
    endpoints = _endpoints(gateway_database, loopback=True)
    assert (await _create(endpoints, "http://127.0.0.1:8000/hook"))["status"] == "enabled"
    assert (await _create(endpoints, "http://10.0.0.1/")).code == "url_invalid"


async def test_one_bad_call_never_fails_its_neighbours(gateway_database: Database, bench: Any) -> None:
    endpoints = _endpoints(gateway_database)
    urls = [HOOK, "https://10.0.0.1/", "https://b.example.com/"]
    answers = await endpoints.create([(_call(), CreateEndpoint(url=url, enabled_events=["*"])) for url in urls])
    assert [isinstance(answer, Reply) for answer in answers] == [True, False, True]
    ids = [_told(answers[0])["id"], "we_unknown", _told(answers[2])["id"]]
    answers = await endpoints.update([(_call(), id, UpdateEndpoint(disabled=True)) for id in ids])
    assert [isinstance(answer, Reply) for answer in answers] == [True, False, True]
    both = [(_call(), ids[0], UpdateEndpoint(description=text)) for text in ("first", "second")]
    assert [_told(answer)["description"] for answer in await endpoints.update(both)] == ["first", "second"]
    assert bench.sql("SELECT url, description FROM webhook_endpoint ORDER BY url DESC") == [
        (HOOK, "second"),
        ("https://b.example.com/", None),
    ]


async def test_an_account_has_at_most_sixteen(gateway_database: Database) -> None:
    endpoints = _endpoints(gateway_database)
    sent = CreateEndpoint(url=HOOK, enabled_events=["*"])
    answers = await endpoints.create([(_call(), sent)] * 18)
    assert [isinstance(answer, Reply) for answer in answers] == [True] * 16 + [False] * 2
    refused = await _create(endpoints)
    assert (refused.status, refused.final) == (400, False)
    assert (await _create(endpoints, call=_call("acct_b")))["status"] == "enabled"
    assert (await _create(endpoints, call=_call(livemode=True)))["livemode"] is True
    assert isinstance(answers[0], Reply)
    await endpoints.delete([(_call(), _told(answers[0])["id"], Retrieve())])
    assert (await _create(endpoints))["status"] == "enabled"


async def test_the_answer_is_kept_under_its_key_in_the_same_commit(gateway_database: Database) -> None:
    """RULES §5: a replay gives the same bytes, and there is one endpoint."""
    idempotency = Idempotency(gateway_database)
    request = ClaimRequest(Scope("acct_a", "test", "key-1"), b"fingerprint")
    (claim,) = await idempotency.claim([request], CLOCK.now())
    assert isinstance(claim, Claim)
    (answer,) = await _endpoints(gateway_database).create(
        [(_call(claim=claim), CreateEndpoint(url=HOOK, enabled_events=["*"]))]
    )
    assert isinstance(answer, Reply)
    (replay,) = await idempotency.claim([request], CLOCK.now() + timedelta(seconds=1))
    assert (replay.status, replay.body) == (200, answer.body)  # type: ignore[union-attr]


async def test_rolling_shows_the_new_secret_once_and_to_its_owner_alone(gateway_database: Database, bench: Any) -> None:
    endpoints = _endpoints(gateway_database)
    made = await _create(endpoints)
    (answer,) = await endpoints.roll_secret([(_call(), made["id"], RollSecret(overlap_s=60))])
    rolled = _told(answer)
    assert standard_key(rolled["secret"])
    assert rolled == made | {"secret": rolled["secret"]}
    assert bench.sql("SELECT secrets FROM webhook_endpoint") == [([rolled["secret"], made["secret"]],)]
    for stranger in (_call("acct_b"), _call(livemode=True)):
        (answer,) = await endpoints.roll_secret([(stranger, made["id"], RollSecret())])
        assert _told(answer).status == 404
    for overlap_s in (-1, 7 * 86_400 + 1):
        with pytest.raises(WireError):
            RollSecret(overlap_s=overlap_s)
