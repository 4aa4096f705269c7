"""Addresses that strangers give us do not lead inside, wherever they are given and whatever they turn out to mean: each
is refused when it is registered, and again when a connection is made. RULES §12, SSRF.

The services are wired as in production; names are looked up at a name server that we made up, and connections end where
they would leave the machine.
"""

import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallystick.gateway import app as gateway_app
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.kernel.addresses import UrlRefused, check_own_url, own_address_allowed
from tallystick.merchant import app as merchant_app
from tallystick.merchant.accounts.commands import (
    AccountRefused,
    add_connection,
    create_merchant,
    set_connection_url,
    set_stock_hook,
)
from tallystick.merchant.notifications.endpoints import add_endpoint, move_endpoint
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.http import HttpRequest, NotSent
from tallystick.ports.http1 import Http1Client

# Names and what the name server says of them. A list of several is what it says one time after the other.
NAMES: dict[str, list[str]] = {
    "inside.example.com": ["10.0.0.5"],
    "loopback.example.com": ["127.0.0.1"],
    "metadata.example.com": ["169.254.169.254"],
    "mapped.example.com": ["::ffff:169.254.169.254"],
    "nat64.example.com": ["64:ff9b::a9fe:a9fe"],
    "6to4.example.com": ["2002:a9fe:a9fe::1"],
    "unspecified.example.com": ["0.0.0.0"],
    "site.example.com": ["fec0::1"],
    "cgnat.example.com": ["100.64.0.1"],
    "both.example.com": ["93.184.215.14", "127.0.0.1"],
    "both6.example.com": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"],
    "shop.example.com": ["93.184.215.14"],
    "shop6.example.com": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
}

# fmt: off
WRITTEN = {  # refused by what is written
    "decimal": ["https://2130706433/", "https://3232235777/", "https://2852039166/", "https://0/"],
    "octal": ["https://0177.0.0.1/", "https://017700000001/", "https://0251.0376.0251.0376/", "https://127.0.0.01/"],
    "hex": ["https://0x7f000001/", "https://0x7f.0x0.0x0.0x1/", "https://0xa9fea9fe/", "https://0x7f.1/"],
    "short": ["https://127.1/", "https://127.0.1/", "https://10.1/"],
    "loopback": ["https://127.0.0.1/", "https://127.255.255.254/", "https://[::1]/", "https://localhost/", "https://a.localhost/"],
    "unspecified": ["https://0.0.0.0/", "https://0.1.2.3/", "https://[::]/"],
    "private": ["https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.254/", "https://192.168.0.1/", "https://[fd12::1]/"],
    "CGNAT": ["https://100.64.0.1/", "https://100.127.255.254/"],
    "metadata": ["https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/", "https://100.100.100.200/",
                 "https://192.0.0.192/", "https://168.63.129.16/", "https://[fd00:ec2::254]/",
                 "https://metadata.google.internal/", "https://metadata/"],
    "link-local": ["https://169.254.1.1/", "https://[fe80::1]/"],
    "zone ids": ["https://[fe80::1%25eth0]/", "https://[::1%25lo]/", "https://[2606:4700::1%25eth0]/"],
    "site-local": ["https://[fec0::1]/"],
    "documentation": ["https://192.0.2.1/", "https://198.51.100.1/", "https://203.0.113.1/", "https://[2001:db8::1]/",
                      "https://[3fff::1]/"],
    "multicast, reserved": ["https://224.0.0.1/", "https://255.255.255.255/", "https://240.0.0.1/", "https://198.18.0.1/",
                            "https://[ff02::1]/"],
    "v4-mapped": ["https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:169.254.169.254]/",
                  "https://[0:0:0:0:0:ffff:10.0.0.1]/"],
    "v4-compatible": ["https://[::127.0.0.1]/", "https://[::7f00:1]/"],
    "6to4, NAT64, Teredo": ["https://[2002:7f00:1::1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::1]/",
                            "https://[2001::1]/", "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/"],
    "userinfo": ["https://shop.example.com@127.0.0.1/", "https://a:b@shop.example.com/", "https://8.8.8.8:443@10.0.0.1/",
                 "https://@127.0.0.1/", "https://shop.example.com%40127.0.0.1/"],
    "odd ports": ["https://shop.example.com:22/", "https://shop.example.com:6379/", "https://shop.example.com:80/",
                  "https://shop.example.com:0/", "https://shop.example.com:99999/", "https://1.1.1.1:5432/"],
    "trailing dots": ["https://127.0.0.1./", "https://localhost./", "https://metadata.google.internal./",
                      "https://shop.example.com../"],
    "IDNA": ["https://\u2460\u2461\u2466.0.0.1/", "https://127\u30020\u30020\u30021/", "https://\uff11\uff12\uff17.0.0.1/",
             "https://b\u00fccher.example.com/", "https://\u24c1ocalhost/"],
    "schemes": ["http://shop.example.com/", "http://1.1.1.1/", "ftp://shop.example.com/", "file:///etc/passwd",
                "gopher://127.0.0.1:6379/_x", "javascript:alert(1)"],
    "parsers at odds": ["https://shop.example.com\\@127.0.0.1/", "https://127.0.0.1#@shop.example.com/",
                        "https:127.0.0.1/",
                        "https:///127.0.0.1/", "https://shop.example.com\t.internal/", "https://[127.0.0.1]/",
                        "https://%31%32%37.0.0.1/", "https://127.0.0.1%00.example.com/", "//127.0.0.1/"],
}
# fmt: on
MEANT = {f"https://{name}/hook" for name in NAMES if not name.startswith("shop")}  # refused by what a name means
HOSTILE = [url for group in WRITTEN.values() for url in group]
PUBLIC = {
    "https://shop.example.com/hook": "93.184.215.14",
    "https://shop6.example.com/hook": "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "https://shop.example.com:8443/hook": "93.184.215.14",
    "https://shop.example.com./hook": "93.184.215.14",
    "https://1.1.1.1/hook": "1.1.1.1",
    "https://[2606:4700:4700::1111]/hook": "2606:4700:4700::1111",
}


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names mean; a test may change it. Addresses in any of their forms mean what they mean to the C library."""
    answers = {name: list(addresses) for name, addresses in NAMES.items()}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *rest: Any, **more: Any) -> list[tuple[Any, ...]]:
        found = answers.get(str(host).removesuffix(".").lower())
        if found is None:
            if any(character.isalpha() and character not in "xabcdefABCDEF" for character in str(host)):
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return list(real(host, port, *rest, **more))
        return [
            (
                socket.AF_INET6 if ":" in each else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (each, port),
            )
            for each in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch, name_server: dict[str, list[str]]) -> list[str]:
    """The addresses to which a connection was about to be made; none is."""
    assert name_server
    seen: list[str] = []

    real = BaseSelectorEventLoop.sock_connect

    async def sock_connect(loop: Any, end: socket.socket, address: Any) -> None:
        if end.family == socket.AF_UNIX:  # the database
            return await real(loop, end, address)
        seen.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", sock_connect)
    return seen


Dial = Callable[[str], Any]


@pytest.fixture(params=["webhooks", "shops"])
async def dial(
    request: pytest.FixtureRequest, dialled: list[str], gateway_dsn: str, merchant_dsn: str
) -> AsyncIterator[Dial]:
    """Sends to a URL as the services do that call strangers."""
    assert dialled == []
    if request.param == "webhooks":
        gateway = await gateway_app.open_ports(GatewaySettings(database_dsn=gateway_dsn))
        client, close = gateway.http, gateway.close
    else:
        merchant = await merchant_app.open_ports(MerchantSettings(database_dsn=merchant_dsn))
        assert merchant.shops is not None
        client, close = merchant.shops, merchant.close

    async def send(url: str) -> Any:
        return await client.send(HttpRequest("POST", url, {}, b"{}", 5.0))

    yield send
    await close()


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60
    assert len(set(HOSTILE)) == len(HOSTILE)
    assert len(MEANT) >= 10


def test_the_gateway_refuses_them_as_webhook_endpoints(
    run_gateway: Callable[..., AbstractContextManager[Any]], client: Any, name_server: dict[str, list[str]]
) -> None:
    """When they are created, and when an endpoint is moved there."""
    assert name_server
    with run_gateway(webhooks_to_loopback=False) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        for url in PUBLIC:
            made = api.post("/v1/webhook_endpoints", {"url": url, "enabled_events[]": "*"})
            assert made.status == 200, (url, made.body)
        for url in [*HOSTILE, *MEANT]:
            created = api.post("/v1/webhook_endpoints", {"url": url, "enabled_events[]": "*"})
            assert created.status == 400, url
            assert created.error["param"] == "url", url
            moved = api.post(f"/v1/webhook_endpoints/{made.json['id']}", {"url": url})
            assert moved.status == 400, url
        with psycopg.connect(gateway.dsn) as connection:
            urls = {url for (url,) in connection.execute("SELECT url FROM webhook_endpoint")}
        assert urls == set(PUBLIC)


async def test_the_merchant_service_refuses_them_as_endpoints_and_stock_hooks_of_shops(
    merchant_database: Database,
) -> None:
    clock, entropy = SystemClock(), SystemEntropy()
    merchant = await create_merchant(merchant_database, clock, entropy, name="Hazel", return_origins=[])
    places: dict[str, Any] = {"merchant_id": merchant.merchant_id}
    for url in PUBLIC:
        made = await add_endpoint(merchant_database, clock, entropy, **places, url=url, events=[], loopback=False)
        await move_endpoint(merchant_database, **places, endpoint_id=made.endpoint_id, url=url, loopback=False)
        assert await set_stock_hook(merchant_database, entropy, **places, url=url)
    for url in HOSTILE:
        for refused in (
            add_endpoint(merchant_database, clock, entropy, **places, url=url, events=[], loopback=False),
            move_endpoint(merchant_database, **places, endpoint_id=made.endpoint_id, url=url, loopback=False),
            set_stock_hook(merchant_database, entropy, **places, url=url),
        ):
            with pytest.raises(AccountRefused):
                await refused


async def test_no_connection_is_made_there_however_they_got_in(dial: Dial, dialled: list[str]) -> None:
    """Rows of an older version, a restored dump, an operator's UPDATE: what is dialled is looked at once more."""
    for url in [*HOSTILE, *MEANT]:
        assert await dial(url) in (NotSent("address_refused"), NotSent("invalid_url")), url
    assert dialled == []


async def test_public_ones_are_dialled(dial: Dial, dialled: list[str]) -> None:
    for url, address in PUBLIC.items():
        dialled.clear()
        assert await dial(url) == NotSent("connection_refused"), url
        assert dialled == [address]


async def test_a_name_that_comes_to_mean_something_inside_is_not_followed(
    dial: Dial, dialled: list[str], name_server: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it was registered and at the first delivery, inside at the next lookup."""
    monkeypatch.setattr("tallystick.ports.aiohttp_http.RESOLVED_FOR_S", 0)
    for inside in ("127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "::ffff:127.0.0.1"):
        name = f"rebound-{inside.replace('.', '-').replace(':', '-')}.example.com"
        name_server[name] = ["93.184.215.14"]
        assert await dial(f"https://{name}/") == NotSent("connection_refused")
        assert dialled == ["93.184.215.14"]
        dialled.clear()
        name_server[name] = [inside]
        for _ in range(3):
            assert await dial(f"https://{name}/") in (NotSent("address_refused"), NotSent("connection_refused"))
        assert set(dialled) <= {"93.184.215.14"}, "at most the address that was checked is dialled"
        dialled.clear()


async def test_plain_http_goes_to_this_machine_alone(dialled: list[str], name_server: dict[str, list[str]]) -> None:
    """Also to whom the operator named, whatever the name. RULES §12."""
    name_server["gateway.example.com"] = ["93.184.215.14"]
    name_server["near.example.com"] = ["127.0.0.1"]
    clients: Sequence[AiohttpClient | Http1Client] = (AiohttpClient(), Http1Client())
    for client in clients:
        for host in ("gateway.example.com", "93.184.215.14", "10.0.0.1", "[fd12::1]", "0.0.0.0", "[::ffff:127.0.0.1]"):
            assert await client.send(HttpRequest("POST", f"http://{host}:8410/", {}, b"", 5)) == NotSent(
                "plain_http"
            ), host
        assert dialled == []
        for host, address in {"127.0.0.1": "127.0.0.1", "near.example.com": "127.0.0.1", "[::1]": "::1"}.items():
            assert await client.send(HttpRequest("POST", f"http://{host}:1/", {}, b"", 5)) == NotSent(
                "connection_refused"
            )
            assert dialled.pop() == address
        await client.close()


# What the operator names: a merchant's gateway


OWN = [
    "https://gateway.example.com",
    "https://gateway.example.com:9443/base",
    "https://gateway",
    "https://10.0.0.7:8410",
    "https://gateway.internal",
    "http://127.0.0.1:8410",
    "http://localhost:8410",
    "http://[::1]:8410",
    "https://[fd12::1]",
]
NOT_OWN = [
    "http://gateway.example.com", "http://10.0.0.7:8410", "https://169.254.169.254", "https://[fd00:ec2::254]",
    "https://0.0.0.0", "https://[::]", "https://[::ffff:127.0.0.1]", "https://[64:ff9b::7f00:1]", "https://[fe80::1%25eth0]",
    "https://2852039166", "https://0xa9fea9fe", "https://0251.0376.0251.0376", "https://127.1", "https://user:word@gateway.example.com",
    "https://gateway.example.com?x=y", "https://gateway.example.com#x", "https://224.0.0.1", "ftp://gateway.example.com",
    "https://gateway.example.com:0", "https://g\u00e4teway.example.com", "gateway.example.com", "https://100.100.100.200",
]  # fmt: skip


async def test_a_connections_gateway_may_stand_inside_the_network_and_not_at_a_metadata_service(
    merchant_database: Database, tmp_path: Path
) -> None:
    """Connections are made on the command line, by who holds the database's credentials."""
    clock, entropy = SystemClock(), SystemEntropy()
    merchant = await create_merchant(merchant_database, clock, entropy, name="Hazel", return_origins=[])
    places: dict[str, Any] = {"merchant_id": merchant.merchant_id}
    secrets: dict[str, Any] = {"secret_key_ref": f"file:{tmp_path}/k", "webhook_secret_refs": [f"file:{tmp_path}/w"]}
    for url in OWN:
        made = await add_connection(merchant_database, clock, entropy, **places, gateway="stripe", url=url, **secrets)
        await set_connection_url(merchant_database, **places, connection_id=made, url=url)
    for url in NOT_OWN:
        with pytest.raises(AccountRefused):
            await add_connection(merchant_database, clock, entropy, **places, gateway="stripe", url=url, **secrets)
        with pytest.raises(AccountRefused):
            await set_connection_url(merchant_database, **places, connection_id=made, url=url)


async def test_a_gateways_name_that_comes_to_mean_a_metadata_service_is_not_followed(
    dialled: list[str], name_server: dict[str, list[str]], merchant_dsn: str
) -> None:
    ports = await merchant_app.open_ports(MerchantSettings(database_dsn=merchant_dsn))
    for number, (address, allowed) in enumerate(
        {"10.0.0.7": True, "127.0.0.1": True, "fd12::1": True, "169.254.169.254": False, "fd00:ec2::254": False,
         "::ffff:169.254.169.254": False, "0.0.0.0": False, "64:ff9b::a9fe:a9fe": False, "fe80::1": False}.items()
    ):  # fmt: skip
        name_server[f"gateway{number}.example.com"] = [address]
        end = await ports.http.send(HttpRequest("GET", f"https://gateway{number}.example.com/", {}, b"", 5))
        assert end == NotSent("connection_refused" if allowed else "address_refused"), address
        assert dialled == ([address] if allowed else [])
        dialled.clear()
        assert own_address_allowed(address) == allowed
    await ports.close()


def test_a_refusal_repeats_nothing_of_the_address() -> None:
    for url in NOT_OWN:
        with pytest.raises(UrlRefused) as refused:
            check_own_url(url)
        assert "gateway" not in str(refused.value)
        assert "word" not in str(refused.value)
