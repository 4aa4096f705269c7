"""An installation as docs/operating.md has an operator make it, on this machine: two services over TLS that are started
by their unit files, a PostgreSQL whose roles have passwords, shoppers who pay, and a terminal in which to do what the
pages say. `make walks`.
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import doc_blocks
import psycopg
import pytest
import trustme
from psycopg.rows import dict_row

from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ApiRefused, ServiceApiError
from tallystick.demo.browser import Browser, Lost, Page
from tallystick.demo.shoppers import ASKS_THE_BANK, VISA
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import Answered, HttpRequest
from tallystick.ports.postgres import USER, EmbeddedPostgres, binary

ROOT = Path(__file__).parents[3]
WAIT_S = 90.0  # for anything at all, on a machine that does other things too; the usual time is a fraction of it
SERVICES = ("gateway", "merchant")
FILES = {  # where the unit files have the services look for their DSNs
    "tallystick_gateway": "gateway-dsn",
    "tallystick_vault": "vault-dsn",
    "tallystick_gateway_pii": "gateway-pii-dsn",
    "tallystick_merchant": "merchant-dsn",
    "tallystick_pii": "pii-dsn",
}
HOSTS = {"pay.example": "gateway", "shop-pay.example": "merchant"}  # what they are called on the page
MORE = {  # of a sandbox in which both stand on one machine; everything else is the page's
    "gateway": "webhooks_to_loopback = true\nwebhook_schedule_s = '{schedule_s}'\n",
    "merchant": "shops_on_loopback = true\n",
}
SCHEDULE_S = "0,60,300,3600,14400,43200,86400,86400"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies here is for `make walks`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.walk)


class Manual:
    """A page of docs, as somebody reads it who does what it says."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / "docs" / f"{name}.md"
        self.text = self.path.read_text(encoding="utf-8")
        self.blocks = doc_blocks.blocks_of(self.path)
        lines = [line for block in self.blocks if block.language == "sh" for line in _lines(block.text)]
        spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", self.text, flags=re.DOTALL))
        self._commands = {*lines, *(" ".join(span.split()) for span in spans)}

    def block(self, words: str) -> str:
        """The only block with these words."""
        [found] = [each.text for each in self.blocks if words in each.text]
        return found

    def file(self, name: str) -> str:
        """The block that is kept under this name."""
        [found] = [each.text for each in self.blocks if each.attributes.get("file") == name]
        return found

    def command(self, beginning: str, instead: Mapping[str, str] | None = None) -> str:
        """The only command that begins so, from a block or the running text; `instead` says what stands for words of
        it, and for what the page leaves open (`acct` for `acct_…`)."""
        found = sorted(command for command in self._commands if command.startswith(beginning))
        assert len(found) == 1, f"{self.path.name} has {len(found)} commands that begin with {beginning!r}: {found}"
        command = found[0]
        for word, value in (instead or {}).items():
            command, times = re.subn(rf"{re.escape(word)}(_…)?(?!\w)", value, command)
            assert times, f"{self.path.name}: no {word} in {found[0]!r}"
        assert "…" not in command, f"{self.path.name} leaves something open: {command!r}"
        return command


def _lines(text: str) -> list[str]:
    """The commands of a block, without what is said about them."""
    whole = text.replace("\\\n", " ")
    return [" ".join(re.sub(r"\s{2,}#.*", "", line).split()) for line in whole.splitlines() if line.strip()]


class Terminal:
    """Where the operator types: one shell in the installation's folder, for the whole walk."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._runner = doc_blocks.Runner(folder, environment, {})

    async def does(self, command: str, exits: int = 0) -> str:
        """What a command prints on stdout and stderr; it must end with that status."""
        attributes = {"exits": str(exits)} if exits else {}
        said: str = await asyncio.to_thread(self._runner.run, doc_blocks.Block("sh", attributes, command, 0))
        return said.strip()

    async def json(self, command: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(await self.does(f"{command} --json"))

    async def asks_the_server(self, statements: str) -> None:
        """Statements as the server's administrator, each by itself."""
        block = doc_blocks.Block("sql", {"database": "server"}, statements, 0)
        await asyncio.to_thread(self._runner.run, block)

    def close(self) -> None:
        self._runner.close()


class Installation:
    """Everything that runs, and what walks look at. `operating` is the page that it was made by."""

    def __init__(self, folder: Path, processes: Any, server: EmbeddedPostgres) -> None:
        self.folder, self.etc, self.server = folder, folder / "etc", server
        self.operating, self.roles = Manual("operating"), Manual("database-roles")
        self.passwords: dict[str, str] = {}
        self.environment: dict[str, dict[str, str]] = {}
        self.running: dict[str, Any] = {}
        self._processes = processes
        self._open = {service: contextlib.AsyncExitStack() for service in SERVICES}
        ports = processes.free_ports(4)
        self.ports = dict(zip(SERVICES, ports[:2], strict=True))
        self._metrics_ports = dict(zip(SERVICES, ports[2:], strict=True))
        self.urls = {service: f"https://localhost:{self.ports[service]}" for service in SERVICES}
        self.authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.account = self.merchant = self.connection = self.endpoint = ""

    # What the pages say

    async def make(self, schedule_s: str = SCHEDULE_S) -> None:
        """Databases, roles, settings, keys, accounts; both services, and the connection of one with the other."""
        self.etc.mkdir(mode=0o700)
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.terminal = Terminal(self.folder, self._known())
        await self._databases()
        await self.terminal.does(self.operating.block("tallystick gateway vault-key create"))
        for service in SERVICES:
            self._settings(service, schedule_s)
            for name, value in self.environment[service].items():
                await self.terminal.does(f"export {name}={shlex.quote(value)}")
            await self.start(service)
        await self._accounts()
        self.http = AiohttpClient(ca_file=str(self.ca_file))

    async def _databases(self) -> None:
        roles = self.roles.block("CREATE ROLE tallystick_owner")
        for role in re.findall(r"CREATE ROLE (\w+)", roles):
            self.passwords[role] = f"first-of-{role}"
        await self.terminal.asks_the_server(re.sub(r"(ROLE (\w+) .*?)'…'", r"\1'first-of-\2'", roles))
        for role in FILES:
            self.write_dsn(role)
        for service in SERVICES:
            self.write(f"etc/{service}-owner-dsn", self.dsn("tallystick_owner", service))
        await self.migrate()

    def _settings(self, service: str, schedule_s: str) -> None:
        [host] = [host for host, of in HOSTS.items() if of == service]
        text = self.operating.file(f"etc/{service}.toml").replace("/etc/tallystick", str(self.etc))
        text = re.sub(r"metrics_port = \d+", f"metrics_port = {self._metrics_ports[service]}", text)
        text = text.replace(f"https://{host}", self.urls[service])
        text += f"port = {self.ports[service]}\nca_file = '{self.ca_file}'\nsandbox_clock = true\n"
        (self.etc / f"{service}.toml").write_text(text + MORE[service].format(schedule_s=schedule_s))
        (self.etc / "tls").mkdir(exist_ok=True)
        self.new_certificate(service)
        self.environment[service] = dict(self._of_unit(service))

    def _of_unit(self, service: str) -> Iterator[tuple[str, str]]:
        unit = self.operating.file(f"etc/tallystick-{service}.service").replace("/etc/tallystick", str(self.etc))
        for line in unit.splitlines():
            if line.startswith("Environment="):
                name, _, value = line.removeprefix("Environment=").partition("=")
                yield name, value

    async def _accounts(self) -> None:
        does = self.terminal.does
        await does(f"export TALLYSTICK_CA_FILE={self.ca_file}")
        block = self.operating.block("tallystick gateway accounts create")
        for host, service in HOSTS.items():
            block = block.replace(f"https://{host}", self.urls[service])
        assert "connections add " in block, "the gateway runs already, so that it can be told"
        url = await does(block.replace("connections add ", "connections add --create-endpoint "))
        self.connection = url.rpartition("/")[2]
        self.account = json.loads((self.folder / "gateway.json").read_text())["account"]
        shop = json.loads((self.folder / "merchant.json").read_text())
        self.merchant, self.api_key = shop["merchant"], shop["api_key"]
        [self.endpoint] = [row["id"] for row in self.rows("gateway", "SELECT id FROM webhook_endpoint")]
        for service in SERVICES:
            await does(f"export TALLYSTICK_{service.upper()}_URL={self.urls[service]}")
            await does(f"export TALLYSTICK_{service.upper()}_OPERATOR_KEY_FILE={self.folder}/ada-{service}.key")
        await does(f"export TALLYSTICK_MERCHANT_API_KEY={self.api_key}")

    # What an operator does

    async def start(self, service: str) -> None:
        """As its unit does, and wait until it is ready."""
        unit = self.operating.file(f"etc/tallystick-{service}.service")
        [started] = re.findall(r"^ExecStart=\S+/tallystick (.*)$", unit, re.MULTILINE)
        self.running[service] = await self._open[service].enter_async_context(
            self._processes.running(*started.split(), environment=self.environment[service], log=self.log(service))
        )
        await self.until_ready(service)

    async def stop(self, service: str) -> None:
        """As systemd does: SIGTERM; it must end well."""
        assert await self.running.pop(service).stop() == 0, self.log(service).read_text()[-2000:]

    async def kill(self, service: str) -> None:
        """As the kernel does."""
        process = self.running.pop(service).process
        process.kill()
        await process.wait()

    async def until_ready(self, service: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while await self.ready(service) != 200:
                assert self.running[service].process.returncode is None, self.log(service).read_text()[-2000:]
                await asyncio.sleep(0.1)

    async def ready(self, service: str, path: str = "/readyz") -> int:
        """How a health endpoint answers; 0: nobody does."""
        http = AiohttpClient(ca_file=str(self.ca_file))
        answer = await http.send(HttpRequest("GET", f"{self.urls[service]}{path}", {}, b"", 20))
        await http.close()
        return answer.status if isinstance(answer, Answered) else 0

    async def migrate(self) -> None:
        """With the owner's DSNs, which nobody has but who does this."""
        for beginning in ("export TALLYSTICK_GATEWAY_OWNER_DSN_FILE", "tallystick database migrate", "unset TALLY"):
            await self.terminal.does(self.operating.command(beginning))

    async def doctor(self) -> None:
        """It finds no fault."""
        await self.terminal.does(self.operating.command("tallystick doctor"))

    async def pass_time(self, by: str) -> None:
        """In both services, with everything that is due in between."""
        await self.terminal.does(f"tallystick gateway clock advance {by}")

    def set_clock(self, service: str, ahead: Mapping[str, Any]) -> None:
        """Give a service that is away the other one's time: a machine's went on meanwhile, the sandbox's is a row."""
        put = (
            "INSERT INTO sandbox_clock (id, offset_ms, target_ms, step_ms) VALUES (1, %s, %s, %s) ON CONFLICT (id)"
            " DO UPDATE SET offset_ms = excluded.offset_ms, target_ms = excluded.target_ms RETURNING id"
        )
        assert self.rows(service, put, *ahead.values())

    def clock_of(self, service: str) -> dict[str, Any]:
        [ahead] = self.rows(service, "SELECT offset_ms, target_ms, step_ms FROM sandbox_clock")
        assert ahead["offset_ms"] == ahead["target_ms"]
        return ahead

    def write(self, name: str, content: str) -> None:
        """A file that only its user may read."""
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(content)

    def write_dsn(self, role: str) -> None:
        self.write(f"etc/{FILES[role]}", self.dsn(role))

    def new_certificate(self, service: str) -> None:
        """Another one, into the files of the one before: first the certificate, then its key."""
        made = self.authority.issue_cert("localhost", "127.0.0.1")
        name = {"gateway": "pay", "merchant": "shop-pay"}[service]
        (self.etc / "tls" / f"{name}.pem").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        self.write(f"etc/tls/{name}-key.pem", made.private_key_pem.bytes().decode())

    # What walks look at

    def dsn(self, role: str, service: str = "", password: str = "") -> str:
        of = service or ("merchant" if role in ("tallystick_merchant", "tallystick_pii") else "gateway")
        return self.server.dsn(f"tallystick_{of}", role, password or self.passwords[role])

    def log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def said(self, service: str) -> str:
        return self.log(service).read_text(encoding="utf-8")

    def rows(self, service: str, query: str, *values: Any, database: str = "") -> list[dict[str, Any]]:
        """As the server's administrator."""
        dsn = self.server.dsn(database or f"tallystick_{service}")
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def api(self, key: str = "") -> MerchantApi:
        return MerchantApi(self.http, self.urls["merchant"], key or self.api_key)

    async def now(self) -> datetime:
        told = await self.terminal.json("tallystick gateway clock show")
        return datetime.fromisoformat(told["now"])

    async def until(self, true: Callable[[], Any], within_s: float = WAIT_S) -> Any:
        """What `true` gives, once it gives something."""
        async with asyncio.timeout(within_s):
            while not (found := await asyncio.to_thread(true)):  # noqa: ASYNC110 - it is elsewhere that it changes
                await asyncio.sleep(0.1)
        return found

    async def until_order(self, id: str, true: Callable[[dict[str, Any]], Any], within_s: float = WAIT_S) -> None:
        order: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_s):
                while True:
                    with contextlib.suppress(ServiceApiError):
                        if true(order := await self.api().order(id)):
                            return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(order) from None

    async def until_paid(self, id: str, within_s: float = WAIT_S) -> None:
        await self.until_order(id, lambda order: order["state"] == "PAID", within_s)

    async def halves_match(self) -> None:
        """Nothing is under way any more, and both halves keep all rules, theirs and those between them. RULES §14."""
        await self.until(lambda: not self.rows("gateway", UNDER_WAY))
        assert await self.broken_rules() == []

    async def broken_rules(self) -> list[str]:
        """What breaks a rule of either half, or one between them."""
        gateway, merchant = (self.server.dsn(f"tallystick_{service}") for service in SERVICES)
        found: list[str] = await asyncio.to_thread(self._processes.broken_rules, gateway, merchant, await self.now())
        return found

    async def paid_once_each(self, orders: list[str]) -> None:
        """These orders are PAID, and each was charged once. RULES §14."""
        for order in orders:
            await self.until_paid(order)
        await self.halves_match()
        charged = {row["order_id"]: row["charges"] for row in self.rows("gateway", CHARGED)}
        assert {order: charged.get(order) for order in orders} == dict.fromkeys(orders, 1)

    async def close(self) -> None:
        for service in reversed(SERVICES):
            await self._open[service].aclose()
        if hasattr(self, "http"):
            await self.http.close()
        self.terminal.close()

    def _known(self) -> dict[str, str]:
        """What a terminal knows: the commands of this checkout and of PostgreSQL, and the server."""
        postgres = str(binary("psql").parent)
        inherited = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return inherited | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), postgres, os.environ["PATH"]]),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PGHOST": str(Path(self.server.dsn().partition("host=")[2])),
            "PGUSER": USER,
            "DOCS_SERVER": self.server.dsn(),
        }


UNDER_WAY = """
SELECT id FROM charge WHERE state IN ('created', 'sent', 'unknown', 'reversing')
UNION ALL SELECT id FROM acquirer_request WHERE state IN ('created', 'sent', 'unknown')
UNION ALL SELECT id FROM delivery WHERE state = 'due'
"""
CHARGED = """
SELECT s.client_reference_id AS order_id, count(*) AS charges
  FROM charge c
  JOIN payment_intent i ON (i.account_id, i.livemode, i.id) = (c.account_id, c.livemode, c.payment_intent)
  JOIN checkout_session s ON (s.account_id, s.livemode, s.id) = (i.account_id, i.livemode, i.checkout_session)
 WHERE c.state = 'approved' AND c.amount_captured > 0
 GROUP BY 1
"""


class Shoppers:
    """Two at a time order and pay, again and again. Whatever fails for a moment is tried again, by the shop under the
    same key, by the shopper from the page on."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._working: list[asyncio.Task[None]] = []
        self.api_key = installation.api_key
        self.orders: list[str] = []  # whose shoppers have seen that they paid, in the order of seeing it
        self.begun = 0
        self.failures: list[tuple[int, str]] = []  # what they were answered instead, with its status; 0: nothing

    @property
    def statuses(self) -> set[int]:
        return {status for status, _ in self.failures}

    def come(self) -> None:
        self._working = [asyncio.create_task(self._shop(number)) for number in (1, 2)]

    async def go(self) -> None:
        """End what is begun, and begin nothing more."""
        working, self._working = self._working, []
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*working)

    async def pay_meanwhile(self, count: int = 3) -> None:
        """Orders that begin from now on become PAID."""
        after = self.begun
        async with asyncio.timeout(WAIT_S):
            while len(self.orders) < after + count:
                assert not any(task.done() for task in self._working), [task for task in self._working if task.done()]
                await asyncio.sleep(0.05)
        for order in self.orders[after : after + count]:
            await self._installation.until_paid(order)

    async def order(self, key: str, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
        """One order, however long it takes until there is one with a page."""
        customer = {"email": f"{key}@example.org", "name": "Ada"}
        wanted = wanted or {"amount": 2500, "currency": "EUR", "customer": customer}
        while True:
            try:
                order = await self._installation.api(self.api_key).place(wanted, key=key)
                if order["redirect_url"] is not None:
                    return order
            except ServiceApiError as error:
                self.failures.append((getattr(error, "status", 0), str(error)))
            await asyncio.sleep(0.3)

    async def pay(self, url: str, card: str = VISA) -> Page:
        """What is shown in the end, however long it takes."""
        while True:
            status = 0
            try:
                browser = Browser(self._installation.http)
                page = await browser.open(url)
                status = page.status
                form = next((form for form in page.forms if form.field_for("cc-number")), None)
                if form is not None and status == 200:  # else it is paid, and it was the answer that did not come
                    page = await browser.submit(page, form, {"cc-number": card, "cc-exp": "12/34", "cc-csc": "123"})
                    status = page.status
                if status == 200 or (card != VISA and 0 < status < 500):
                    return page
                raise Lost(page.text[:200])
            except Lost as lost:
                self.failures.append((status, str(lost)))
            await asyncio.sleep(0.3)

    async def to_the_bank(self, url: str) -> Page:
        """The page of the bank that asks whether it is the cardholder, with its form."""
        page = await self.pay(url, ASKS_THE_BANK)
        async with asyncio.timeout(WAIT_S):
            while not any(name == "result" for form in page.forms for name, _, _ in form.buttons):
                assert page.refresh is not None, page.text
                page = await Browser(self._installation.http).open(page.refresh[1])
        return page

    async def buy(self, key: str, card: str = VISA) -> str:
        """One order that is paid; its id."""
        async with asyncio.timeout(2 * WAIT_S):
            order = await self.order(key)
            await self.pay(order["redirect_url"], card)
        id: str = order["id"]
        return id

    async def _shop(self, number: int) -> None:
        mine = asyncio.current_task()
        count = 0
        while mine in self._working:
            count += 1
            self.begun += 1
            self.orders.append(await self.buy(f"basket-{number}-{count}"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where PostgreSQL keeps its files."""
    return tmp_path / "postgres"


@pytest.fixture
async def installation(processes: Any, tmp_path: Path, disk: Path) -> AsyncIterator[Installation]:
    """One that runs, as the pages have it made."""
    server = EmbeddedPostgres(disk, fast_and_unsafe=True)
    made = Installation(tmp_path, processes, server)
    try:
        await asyncio.to_thread(server.start)
        await made.make()
        yield made
    finally:
        await made.close()
        await asyncio.to_thread(server.stop)


@pytest.fixture
def shoppers(installation: Installation) -> Shoppers:
    """Those who buy there."""
    return Shoppers(installation)


@pytest.fixture
def manual() -> type[Manual]:
    """Opens pages: `manual("secrets")`."""
    return Manual


@pytest.fixture
def refused() -> type[ApiRefused]:
    """What a service's refusal is raised as."""
    return ApiRefused
