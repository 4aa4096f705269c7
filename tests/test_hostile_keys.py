"""A hundred thousand keys and signatures that are none: nothing is accepted, nothing answered above 4xx (RULES §12).

Seeded, so that it is the same every time, and sent to the applications themselves, past the sockets.
"""

import base64
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.gateway import app as gateway_app
from tallystick.gateway.accounts.accounts import create_account
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.signatures import sign_stripe
from tallystick.merchant import app as merchant_app
from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.ports.aiohttp_http import AiohttpClient, SystemNames
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

SEED = 20261128
WIRE, OPERATORS, MERCHANTS, SIGNATURES = 45_000, 5_000, 10_000, 40_000
assert WIRE + OPERATORS + MERCHANTS + SIGNATURES == 100_000

HOOK_SECRET = "whsec_of_no_value"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ODD = [b"\x00", b"\xff", b"\xc3\xa9", b" ", b"\t", b",", b"=", b":", b"\n", b"'", b'"', b"%00", b"\xe2\x80\x8b"]

Headers = list[tuple[bytes, bytes]]
Asgi = Callable[..., Any]


def spoiled(chance: random.Random, good: bytes) -> bytes:
    """A good value with something wrong, or nothing like it at all."""
    match chance.randrange(8):
        case 0:  # one character of it is another one
            at = chance.randrange(len(good))
            return good[:at] + chance.choice(ALPHABET).encode() + good[at + 1 :]
        case 1:
            return good[: chance.randrange(len(good))]
        case 2:
            return good + chance.choice([*ODD, chance.choice(ALPHABET).encode()]) * chance.choice((1, 10, 5_000))
        case 3:
            at = chance.randrange(len(good))
            return good[:at] + chance.choice(ODD) + good[at:]
        case 4:
            return good.swapcase()
        case 5:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(80)))
        case 6:
            head = good[: good.rfind(b"_") + 1]
            return head + "".join(chance.choices(ALPHABET, k=chance.choice((15, 16, 24, 64, 65)))).encode()
        case _:
            return good[::-1]


def as_credentials(chance: random.Random, key: bytes) -> Headers:
    """An Authorization header as somebody might send it, or two."""
    one = (b"authorization", chance.choice((b"Bearer ", b"bearer ", b"Bearer  ", b"", b"Token ", b"Bearer\t")) + key)
    basic = (b"authorization", b"Basic " + base64.b64encode(key + chance.choice((b":", b"", b":x"))))
    broken = (b"authorization", b"Basic " + key)
    return chance.choice(([one], [basic], [broken], [one, one], [one, basic]))


def holds(headers: Headers, keys: list[bytes]) -> bool:
    """Whether one good key stands in them after all, however it is wrapped."""
    for _, value in headers:
        rest = value.partition(b" ")[2].strip()
        try:
            decoded = base64.b64decode(rest, validate=True).partition(b":")[0]
        except ValueError:
            decoded = b""
        if rest in keys or decoded in keys or value in keys:
            return True
    return False


def hostile(seed: int, keys: list[bytes], count: int) -> Iterator[Headers]:
    chance = random.Random(seed)
    made = 0
    while made < count:
        headers = as_credentials(chance, spoiled(chance, chance.choice(keys)))
        if not holds(headers, keys):
            made += 1
            yield headers


@pytest.fixture
async def gateway(gateway_dsn: str, gateway_database: Database) -> tuple[Asgi, list[bytes]]:
    clock, entropy = SystemClock(), SystemEntropy()
    http: Any = None
    ports = gateway_app.Ports(gateway_database, http, SystemNames(), clock, entropy)
    service = gateway_app.build(GatewaySettings(database_dsn=gateway_dsn), ports)
    _, [pair] = await create_account(gateway_database, "Shop", at=clock.now(), entropy=entropy)
    made = await create_key(gateway_database, "ada", role=Role.ADMIN, at=clock.now(), entropy=entropy)
    keys = [pair.secret_key, pair.publishable_key, made.key]
    return service.asgi, [key.encode() for key in keys]


class OneSecret:
    """The connection's secrets."""

    async def read(self, reference: str) -> str:
        return HOOK_SECRET


@pytest.fixture
async def merchant(merchant_dsn: str, merchant_database: Database) -> AsyncIterator[tuple[Asgi, bytes, str]]:
    clock, entropy, http = SystemClock(), SystemEntropy(), AiohttpClient()
    secrets: Any = OneSecret()
    service = merchant_app.build(
        MerchantSettings(database_dsn=merchant_dsn),
        merchant_app.Ports(merchant_database, http, secrets, clock, entropy),
    )
    made = await create_merchant(merchant_database, clock, entropy, name="Tea & Sons", return_origins=[])
    connection = await add_connection(
        merchant_database,
        clock,
        entropy,
        merchant_id=made.merchant_id,
        url="http://127.0.0.1:1",
        secret_key_ref="env:KEY",
        webhook_secret_refs=["env:HOOK"],
    )
    yield service.asgi, made.api_key.encode(), connection
    await http.close()


async def test_no_spoiled_key_opens_the_wire(gateway: tuple[Asgi, list[bytes]], ask: Any) -> None:
    asgi, keys = gateway
    assert (await ask(asgi, "GET", "/v1/balance", [(b"authorization", b"Bearer " + keys[0])])).status == 200
    for headers in hostile(SEED, keys, WIRE):
        status = (await ask(asgi, "GET", "/v1/balance", headers)).status
        assert 400 <= status < 500, headers


async def test_no_spoiled_key_opens_the_operator_api(gateway: tuple[Asgi, list[bytes]], ask: Any) -> None:
    asgi, keys = gateway
    assert (await ask(asgi, "GET", "/operator/v1", [(b"authorization", b"Bearer " + keys[2])])).status == 200
    for headers in hostile(SEED + 1, keys, OPERATORS):
        assert (await ask(asgi, "GET", "/operator/v1", headers)).status == 401, headers


async def test_no_spoiled_key_opens_the_merchants_api(merchant: tuple[Asgi, bytes, str], ask: Any) -> None:
    asgi, key, _ = merchant
    assert (await ask(asgi, "GET", "/v1/orders", [(b"authorization", b"Bearer " + key)])).status == 200
    for headers in hostile(SEED + 2, [key], MERCHANTS):
        assert (await ask(asgi, "GET", "/v1/orders", headers)).status == 401, headers


async def test_no_spoiled_signature_brings_a_webhook_in(
    merchant: tuple[Asgi, bytes, str], merchant_database: Database, ask: Any
) -> None:
    """A right one of another body, time or secret; a right one with something wrong; two at once; none."""
    asgi, _, connection = merchant
    path, body, chance = f"/webhooks/{connection}", a_webhook("evt_forged"), random.Random(SEED + 3)
    at = datetime.now(UTC)
    honest = a_webhook("evt_honest")
    signed = sign_stripe([HOOK_SECRET], int(at.timestamp()), honest).encode()
    told = await ask(asgi, "POST", path, [(b"stripe-signature", signed)], honest)
    assert told.status == 200, "what is signed is taken"
    old = int((at - timedelta(minutes=6)).timestamp())
    for _ in range(SIGNATURES):
        second = int(at.timestamp())
        good = sign_stripe([HOOK_SECRET], second, body).encode()
        others = [
            sign_stripe([HOOK_SECRET], second, body + b" ").encode(),
            sign_stripe([HOOK_SECRET + "x"], second, body).encode(),
            sign_stripe([HOOK_SECRET], old, body).encode(),
            good.replace(b"v1=", b"v0="),
            good.replace(b"t=%d" % second, b"t=%d" % (second + 1)),
        ]
        sent = chance.choice([*others, *(spoiled(chance, good) for _ in range(5))])
        if verifies(sent, good):
            continue
        headers = [(b"stripe-signature", sent)]
        if chance.random() < 0.05:
            headers.append((b"stripe-signature", good))
        status = (await ask(asgi, "POST", path, headers, body)).status
        assert 400 <= status < 500, sent
    stored = Statement("stored", "SELECT event_id FROM inbox")
    assert [row["event_id"] for row in await merchant_database.rows(stored)] == ["evt_honest"]


def a_webhook(id: str) -> bytes:
    """A body that is taken, where its signature is a right one."""
    paid = {"id": "pi_1", "object": "payment_intent", "amount": 2500, "amount_received": 2500, "currency": "eur"}
    about = {**paid, "status": "succeeded", "metadata": {}}
    told = {"id": id, "object": "event", "type": "payment_intent.succeeded", "created": 1_700_000_000}
    return json.dumps({**told, "livemode": False, "data": {"object": about}}).encode()


def verifies(sent: bytes, good: bytes) -> bool:
    """Whether the time and the signature both stand in it, whole: then it is a right one, with something beside."""
    parts = sent.split(b",")
    return all(part in parts for part in good.split(b",")) and sum(part.startswith(b"t=") for part in parts) == 1
