"""Payments flow while Vault is sealed, stopped, and its tokens end, and while every secret is rotated: none is lost,
and no process is started again (RULES §12, §14)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tallystick.cli.endpoints import create_endpoint
from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ServiceApiError
from tallystick.demo.browser import Browser, Lost
from tallystick.demo.shoppers import VISA
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import Answered, HttpRequest
from tallystick.ports.postgres import EmbeddedPostgres
from tallystick.ports.postgres_roles import give_database, make_roles

TEST_BOUND_S = 180
PAID_IN_EACH_PHASE = 3
TOKEN_S = 3  # so that a token's life ends while Vault is away
SERVICES = ("gateway", "merchant")


class Passwords:
    """A server that asks both services' roles for a password, and what is so far."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedPostgres(folder, fast_and_unsafe=True)
        self.now = dict.fromkeys(SERVICES, "")
        self.all: list[str] = []

    def set_up(self) -> None:
        self.server.start()
        self.server.create_databases([f"tallystick_{service}" for service in SERVICES])
        make_roles(self.server.dsn(), {f"tallystick_{name}": "first" for name in ("owner", *SERVICES)})
        for service in SERVICES:
            give_database(self.server.dsn(f"tallystick_{service}"), "tallystick_owner")
            self.rotate(service)

    def rotate(self, service: str) -> str:
        """A new password of a service's role; its DSN. Whoever is connected with the old one is thrown out."""
        self.now[service] = f"pw-{service}-{len(self.all)}-kqzj"
        self.all.append(self.now[service])
        self._tell(f"ALTER ROLE tallystick_{service} PASSWORD '{self.now[service]}'")
        self._tell(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tallystick_{service}'",
        )
        return self._dsn(service, f"tallystick_{service}:{self.now[service]}")

    def owner(self, service: str) -> str:
        return self._dsn(service, "tallystick_owner:first")

    def _dsn(self, service: str, user: str) -> str:
        return self.server.dsn(f"tallystick_{service}").replace("postgres@", f"{user}@", 1)

    def _tell(self, statement: str) -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture
def passwords(tmp_path: Path) -> Iterator[Passwords]:
    found = Passwords(tmp_path / "postgres")
    try:
        found.set_up()
        yield found
    finally:
        found.server.stop()


class Shoppers:
    """Order and pay, one after the other, for as long as they are let; whatever fails for a moment is tried again."""

    def __init__(self, http: AiohttpClient, api: MerchantApi) -> None:
        self._http = http
        self._api = api
        self.orders: list[str] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        while True:
            key = f"basket-{len(self.orders)}"
            order = await self._again(lambda key=key: self._api.place({"amount": 2500, "currency": "EUR"}, key=key))
            await self._again(lambda url=order["redirect_url"]: self._pay(url))
            self.orders.append(order["id"])

    async def _again(self, work: Any) -> Any:
        while True:
            try:
                return await work()
            except (ServiceApiError, Lost) as error:
                self.failures.append(str(error))
                await asyncio.sleep(0.3)

    async def _pay(self, url: str) -> None:
        browser = Browser(self._http)
        page = await browser.open(url)
        form = next((form for form in page.forms if form.field_for("cc-number")), None)
        if form is not None:  # else it is paid, and it was the answer that did not come
            page = await browser.submit(page, form, {"cc-number": VISA, "cc-exp": "12/34", "cc-csc": "123"})
        if page.status != 200:
            raise Lost(f"a page answered {page.status}: {page.text[:200]}")


class Told:
    """What the services' logs say."""

    def __init__(self, folder: Path) -> None:
        self.files = {service: folder / f"{service}.log" for service in SERVICES}

    def lines(self, service: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[service].read_text().splitlines() if line.startswith("{")]

    def count(self, words: str) -> int:
        return sum(words in line["event"] for service in SERVICES for line in self.lines(service))


async def test_no_payment_is_lost_whatever_happens_to_vault(
    processes: Any, http: AiohttpClient, openbao: Any, passwords: Passwords, tmp_path: Path
) -> None:
    ports = dict(zip(SERVICES, processes.free_ports(2), strict=True))
    urls = {service: f"http://127.0.0.1:{ports[service]}" for service in SERVICES}
    told = Told(tmp_path)
    async with asyncio.timeout(TEST_BOUND_S), contextlib.AsyncExitStack() as opened:
        admin = {f"TALLYSTICK_{service.upper()}_DATABASE_DSN": passwords.owner(service) for service in SERVICES}
        await processes.json("database", "migrate", environment=admin)
        account = await processes.json("gateway", "accounts", "create", "--name", "Hazel", environment=admin)
        merchant = await processes.json("merchant", "accounts", "create", "--name", "Hazel", environment=admin)
        secret_key = account["keys"][0]["secret_key"]

        openbao.put("tallystick/merchant/hazel", secret_key=secret_key)
        environment = {
            "TALLYSTICK_GATEWAY_WEBHOOKS_TO_LOOPBACK": "true",
            "TALLYSTICK_GATEWAY_WEBHOOK_SCHEDULE_S": "0,1,1,1,1,1,2,2,2,2,5,5,5,5",
        }
        for service in SERVICES:
            environment |= _identity(openbao, service, tmp_path)
            environment[f"TALLYSTICK_{service.upper()}_PORT"] = str(ports[service])
            openbao.put(f"tallystick/{service}/database", dsn=passwords.rotate(service))
        connection = await processes.json(
            *("merchant", "connections", "add", "--gateway", "stripe", "--url", urls["gateway"]),
            *("--secret-key-from", "vault:tallystick/merchant/hazel#secret_key"),
            *("--webhook-secret-from", "vault:tallystick/merchant/hazel#webhook_secret"),
            environment=environment,
        )
        running = {
            service: await opened.enter_async_context(
                processes.running(service, "serve", environment=environment, log=told.files[service])
            )
            for service in SERVICES
        }
        for service in SERVICES:
            answer = await processes.answer(HttpRequest("GET", f"{urls[service]}/readyz", {}, b"", 5))
            assert answer.status == 200
        endpoint = await create_endpoint(http, urls["gateway"], secret_key, connection["webhook_url"])
        openbao.put("tallystick/merchant/hazel", secret_key=secret_key, webhook_secret=endpoint.secret)

        api = MerchantApi(http, urls["merchant"], merchant["api_key"])
        shoppers = Shoppers(http, api)
        await opened.enter_async_context(_going_on(shoppers))
        hooks = [endpoint.secret]

        async def paid_meanwhile(count: int = PAID_IN_EACH_PHASE) -> None:
            """Orders that begin from now on become PAID."""
            after = len(shoppers.orders) + 1
            while len(shoppers.orders) < after + count:  # noqa: ASYNC110 - it is elsewhere that it changes
                await asyncio.sleep(0.05)
            for order in shoppers.orders[after : after + count]:
                await _until_paid(api, order)

        await paid_meanwhile()

        # Every token is revoked.
        for accessor in openbao.logins("auth/approle"):
            openbao.revoke(accessor)
        await paid_meanwhile()

        # Sealed, for longer than a token lives.
        openbao.seal()
        await asyncio.gather(asyncio.sleep(TOKEN_S + 1), paid_meanwhile())
        await asyncio.to_thread(openbao.unseal)
        await _until(lambda: told.count("Vault is back") >= 2)

        # Stopped, and started again.
        openbao.stop()
        await asyncio.gather(asyncio.sleep(TOKEN_S + 1), paid_meanwhile())
        await asyncio.to_thread(openbao.start)
        await asyncio.to_thread(openbao.unseal)
        await _until(lambda: told.count("Vault is back") >= 4)

        # The webhook secret: both sign for a moment, then the new one alone.
        hooks.append(await _rolled(http, urls["gateway"], secret_key, endpoint.id))
        openbao.put("tallystick/merchant/hazel", secret_key=secret_key, webhook_secret=hooks[-1])
        await asyncio.sleep(5)
        await paid_meanwhile()

        # The databases' passwords: changed there first, everybody thrown out, told to Vault a moment later.
        for service in SERVICES:
            dsn = passwords.rotate(service)
            await asyncio.sleep(0.5)
            openbao.put(f"tallystick/{service}/database", dsn=dsn)
            await paid_meanwhile()

        # And while Vault is sealed: told to it before, so that it is taken up when it comes back.
        dsn = passwords.rotate("gateway")
        openbao.put("tallystick/gateway/database", dsn=dsn)
        openbao.seal()
        await asyncio.sleep(1)
        await asyncio.to_thread(openbao.unseal)
        await paid_meanwhile()

        orders = list(shoppers.orders)
        for order in orders:
            await _until_paid(api, order)
        for service in SERVICES:
            assert running[service].process.returncode is None, "no restart"
            assert told.count("logged in to Vault") >= 4
            assert await running[service].stop() == 0

    assert told.count("Vault is sealed") >= 2
    secrets = [secret_key, merchant["api_key"], *hooks, *passwords.all]
    secrets += [value for name, value in environment.items() if name.endswith("_ROLE_ID")]
    secrets += [(tmp_path / f"{service}-secret-id").read_text() for service in SERVICES]
    everything = "".join(told.files[service].read_text() for service in SERVICES) + "".join(shoppers.failures)
    assert [secret for secret in secrets if secret in everything] == [], "nothing secret in logs and answers"


def _identity(openbao: Any, service: str, folder: Path) -> dict[str, str]:
    """A service's role at Vault, and the settings that tell it so."""
    openbao.policy(f"tallystick-{service}", f"read secret/data/tallystick/{service}/*")
    ids = openbao.approle(
        f"tallystick-{service}",
        f"tallystick-{service}",
        token_ttl=f"{TOKEN_S}s",
        token_max_ttl=f"{2 * TOKEN_S}s",
        secret_id_num_uses=0,
    )
    file = folder / f"{service}-secret-id"
    file.write_text(ids["secret_id"])
    prefix = f"TALLYSTICK_{service.upper()}"
    return {
        f"{prefix}_VAULT_URL": openbao.url,
        f"{prefix}_VAULT_ROLE_ID": ids["role_id"],
        f"{prefix}_VAULT_SECRET_ID_FILE": str(file),
        f"{prefix}_VAULT_POLL_S": "0.5",
        f"{prefix}_DATABASE_DSN_VAULT": f"tallystick/{service}/database#dsn",
    }


@contextlib.asynccontextmanager
async def _going_on(shoppers: Shoppers) -> AsyncIterator[None]:
    task = asyncio.create_task(shoppers.run())
    try:
        yield
        assert not task.done(), task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(true: Any) -> None:
    while not true():  # noqa: ASYNC110 - it is elsewhere that it changes
        await asyncio.sleep(0.1)


async def _until_paid(api: MerchantApi, order: str) -> None:
    while True:
        with contextlib.suppress(ServiceApiError):
            if (await api.order(order))["state"] == "PAID":
                return
        await asyncio.sleep(0.1)


async def _rolled(http: AiohttpClient, url: str, secret_key: str, endpoint: str) -> str:
    headers = {"Authorization": f"Bearer {secret_key}", "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"overlap_s": "3"}).encode()
    path = f"/v1/webhook_endpoints/{endpoint}/roll_secret"
    answer = await http.send(HttpRequest("POST", f"{url}{path}", headers, body, 10))
    assert isinstance(answer, Answered)
    assert answer.status == 200, answer.body
    return str(json.loads(answer.body)["secret"])
