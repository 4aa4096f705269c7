"""From a fault to a person: something goes wrong in the sandbox, and the right alert, and only it, is told within a
minute, and told to be over afterwards (RULES §13).

Both ways at once, over the same faults: real Prometheus and Alertmanager, and the services' own judgement. Windows and
waits are a thirtieth of what they are in use (`rules.shortened`); thresholds and numbers are the same. `make alerts`
runs all of it; TALLYSTICK_ALERTS=short a worker that is killed and a dead letter alone.

The long form needs a machine that does nothing else: on one that is busy webhooks are slow indeed, and that is told.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from aiohttp import ClientSession, ClientTimeout, web

from tallystick.cli.endpoints import create_endpoint
from tallystick.kernel.monitoring.prometheus import rules_file
from tallystick.kernel.monitoring.rules import RULES, shortened
from tallystick.kernel.operators.roles import Role
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import HttpRequest

pytestmark = [
    pytest.mark.proof,
    pytest.mark.alone,
    pytest.mark.skipif("TALLYSTICK_ALERTS" not in os.environ, reason="faults and alerts end to end are `make alerts`"),
]

MONITORING = Path(__file__).parents[2] / "monitoring"
TIMES = 30  # by which windows and waits are shorter
TOLD_WITHIN_S = 60.0
ALL = os.environ.get("TALLYSTICK_ALERTS") == "all"
PAYMENTS_PER_S = 8 if ALL else 1  # few enough that a machine that does other things too has no rate to be judged
QUIET_S = 20.0 if ALL else 0.0  # of sound traffic before the first fault: a window of the longest kind that matters
PROMETHEUS, OWN = "Prometheus", "own"
IN_CI = os.environ.get("CI") == "true"


class People:
    """Who is told, by whom, of what: the receiver of Alertmanager, the target of the services, and broken receivers of
    webhooks beside them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []  # who told, the alert, firing or resolved
        self.url = ""

    def since(self, place: int) -> set[str]:
        """The alerts that anybody was told of since then."""
        return {name for _, name, _ in self.told[place:]}

    def know(self, place: int, alert: str, status: str) -> bool:
        """Whether both ways have told it since then."""
        return {who for who, name, what in self.told[place:] if (name, what) == (alert, status)} == {PROMETHEUS, OWN}

    async def of_alertmanager(self, request: web.Request) -> web.Response:
        for alert in (await request.json())["alerts"]:
            self.told.append((PROMETHEUS, alert["labels"]["alertname"], alert["status"]))
        return web.Response()

    async def of_services(self, request: web.Request) -> web.Response:
        """An alert's title is `Gateway: WorkersDead: …`; other things are told there too: dead letters, cases."""
        said = await request.json()
        service, _, rest = said["title"].partition(": ")
        name = rest.partition(":")[0]
        if service in ("Gateway", "Merchant service"):
            self.told.append((OWN, name, "firing" if said["type"] == "failure" else "resolved"))
        return web.Response()

    async def broken(self, _: web.Request) -> web.Response:
        return web.Response(status=500)


@pytest.fixture
async def people() -> AsyncIterator[People]:
    these = People()
    application = web.Application()
    application.router.add_post("/alertmanager", these.of_alertmanager)
    application.router.add_post("/own", these.of_services)
    application.router.add_post("/broken/{number}", these.broken)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    these.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield these
    await runner.cleanup()


class Sandbox:
    """Gateway, another process of its workers, and merchant service, connected; payments that come all the time; and
    Prometheus with its Alertmanager."""

    def __init__(self, processes: Any, people: People, dsns: dict[str, str], folder: Path) -> None:
        self.processes, self.people, self.dsns, self.folder = processes, people, dsns, folder
        names = ("gateway", "merchant", "of_gateway", "of_merchant", "of_worker", "prometheus", "alertmanager")
        self.ports = dict(zip(names, processes.free_ports(len(names)), strict=True))
        self.url = f"http://127.0.0.1:{self.ports['gateway']}"
        self.secret_key = self.operator_key = ""
        self.refused = 0
        self.payment = ""

    def settings(self, service: str, metrics: str) -> dict[str, str]:
        """One process' settings."""
        target = f"json{self.people.url.removeprefix('http')}/own"
        values = {
            "DATABASE_DSN": self.dsns[service],
            "PORT": str(self.ports[service]),
            "METRICS_PORT": str(self.ports[metrics]),
            "ALERT_TARGETS": target,
            "ALERTS_EVERY_S": "2",
            "ALERTS_SHORTENED": str(TIMES),
            **({"WEBHOOKS_TO_LOOPBACK": "true"} if service == "gateway" else {}),
        }
        return {f"TALLYSTICK_{service.upper()}_{name}": value for name, value in values.items()}

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[Any]:
        """A process that runs the gateway's workers alone."""
        arguments = ("gateway", "work")
        environment = self.settings("gateway", "of_worker")
        async with self.processes.running(*arguments, environment=environment, log=self.folder / "work.log") as process:
            await self.processes.answer(HttpRequest("GET", self._metrics("of_worker"), {}, b"", 5))
            yield process

    def _metrics(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}/metrics"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Everything, at work."""
        gateway, merchant = self.settings("gateway", "of_gateway"), self.settings("merchant", "of_merchant")
        create = ("accounts", "create", "--name", "Hazel")
        account, operator, _ = await asyncio.gather(
            self.processes.json("gateway", *create, environment=gateway),
            self.processes.json(
                "gateway", "operators", "create", "--name", "Ann", "--role", Role.ADMIN, environment=gateway
            ),
            self.processes.json("merchant", *create, environment=merchant),
        )
        self.secret_key, self.operator_key = account["keys"][0]["secret_key"], operator["operator_key"]
        (self.folder / "secret-key").write_text(self.secret_key)
        connection = await self.processes.json(
            *("merchant", "connections", "add", "--gateway", "stripe", "--url", self.url),
            *("--secret-key-file", str(self.folder / "secret-key")),
            *("--webhook-secret-file", str(self.folder / "webhook-secret")),
            environment=merchant,
        )
        async with contextlib.AsyncExitStack() as started:
            for service, environment in (("gateway", gateway), ("merchant", merchant)):
                log = self.folder / f"{service}.log"
                running = self.processes.running(service, "serve", environment=environment, log=log)
                await started.enter_async_context(running)
            for port in (self.ports["gateway"], self.ports["merchant"]):
                await self.processes.answer(HttpRequest("GET", f"http://127.0.0.1:{port}/readyz", {}, b"", 5))
            http = AiohttpClient()
            try:
                endpoint = await create_endpoint(http, self.url, self.secret_key, connection["webhook_url"])
            finally:
                await http.close()
            (self.folder / "webhook-secret").write_text(endpoint.secret)
            self.workers = await started.enter_async_context(contextlib.AsyncExitStack())
            self.worker = await self.workers.enter_async_context(self.working())
            await started.enter_async_context(self._seen_by_prometheus())
            self._session = await started.enter_async_context(ClientSession(timeout=ClientTimeout(30)))
            paying = asyncio.create_task(self._pay())
            try:
                yield
            finally:
                paying.cancel()
                await asyncio.gather(paying, return_exceptions=True)

    async def _pay(self) -> None:
        """A payment every moment, whatever becomes of it."""
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                task = asyncio.create_task(self._pay_once())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                await asyncio.sleep(1 / PAYMENTS_PER_S)
        finally:
            for task in list(under_way):
                task.cancel()

    async def _pay_once(self) -> None:
        form = {"amount": "2500", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
        status, answer = await self.call("POST", "/v1/payment_intents", form)
        if status == 200:
            self.payment = answer["id"]
        else:
            self.refused += 1

    async def call(self, method: str, path: str, form: Any = None) -> tuple[int, dict[str, Any]]:
        """A call of the merchant's."""
        headers = {"Authorization": f"Bearer {self.secret_key}"}
        async with self._session.request(method, self.url + path, data=form, headers=headers) as answer:
            return answer.status, await answer.json()

    async def operate(self, method: str, path: str, body: Any = None) -> None:
        """A call of an operator's."""
        headers = {"Authorization": f"Bearer {self.operator_key}"}
        url = f"{self.url}/operator/v1{path}"
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            assert answer.status < 300, await answer.text()

    @contextlib.contextmanager
    def _files_of_prometheus(self) -> Iterator[None]:
        """The committed examples, with the addresses of this trial and in its tempo."""
        prometheus = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        prometheus["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [self._at("alertmanager")]
        gateway, merchant = prometheus["scrape_configs"]
        gateway["static_configs"][0]["targets"] = [self._at("of_gateway"), self._at("of_worker")]
        merchant["static_configs"][0]["targets"] = [self._at("of_merchant")]
        alertmanager = yaml.safe_load((MONITORING / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
        for route in (alertmanager["route"], *alertmanager["route"]["routes"]):
            route["group_wait"], route["group_interval"] = "0s", "1s"
        alertmanager["receivers"][0]["webhook_configs"][0]["url"] = f"{self.people.url}/alertmanager"
        (self.folder / "rules.yml").write_text(rules_file(shortened(RULES, TIMES)))
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(prometheus))
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(alertmanager))
        yield

    def _at(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    @contextlib.asynccontextmanager
    async def _seen_by_prometheus(self) -> AsyncIterator[None]:
        with self._files_of_prometheus():
            commands = {
                "alertmanager": (
                    *(tool("prometheus-alertmanager"), f"--config.file={self.folder / 'alertmanager.yml'}"),
                    *(f"--storage.path={self.folder / 'alertmanager'}", "--cluster.listen-address="),
                    f"--web.listen-address={self._at('alertmanager')}",
                ),
                "prometheus": (
                    *(tool("prometheus"), f"--config.file={self.folder / 'prometheus.yml'}"),
                    *(
                        f"--storage.tsdb.path={self.folder / 'prometheus'}",
                        f"--web.listen-address={self._at('prometheus')}",
                    ),
                    "--rules.alert.resend-delay=1s",
                ),
            }
            started = []
            try:
                for name, command in commands.items():
                    with (self.folder / f"{name}.log").open("wb") as log:
                        started.append(await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log))
                for name in commands:
                    url = f"http://{self._at(name)}/-/ready"
                    await self.processes.answer(HttpRequest("GET", url, {}, b"", 5))
                yield
            finally:
                for process in started:
                    process.terminate()
                    await process.wait()


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        assert not IN_CI, f"{name} is missing, and CI must have it"
        pytest.skip(f"{name} IS MISSING: install Debian's prometheus and prometheus-alertmanager to run this test")
    return found


@pytest.fixture
def sandbox(processes: Any, people: People, gateway_dsn: str, merchant_dsn: str, tmp_path: Path) -> Sandbox:
    return Sandbox(processes, people, {"gateway": gateway_dsn, "merchant": merchant_dsn}, tmp_path)


Fault = Callable[[Sandbox], contextlib.AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def declines_up(sandbox: Sandbox) -> AsyncIterator[None]:
    await sandbox.operate("POST", "/faults", {"place": "acquirer", "kind": "decline"})
    yield
    await sandbox.operate("DELETE", "/faults")


@contextlib.asynccontextmanager
async def webhooks_slow(sandbox: Sandbox) -> AsyncIterator[None]:
    """Somebody holds the inbox for half a second again and again."""
    over = asyncio.Event()

    def hold() -> None:
        with psycopg.connect(sandbox.dsns["merchant"]) as connection:
            while not over.is_set():
                connection.execute("LOCK TABLE inbox IN EXCLUSIVE MODE")
                time.sleep(0.5)
                connection.commit()
                time.sleep(0.3)

    holding = asyncio.create_task(asyncio.to_thread(hold))
    yield
    over.set()
    await holding


@contextlib.asynccontextmanager
async def receivers_answer_500(sandbox: Sandbox) -> AsyncIterator[None]:
    endpoints = [await an_endpoint(sandbox, number, "*") for number in range(3)]
    yield
    for endpoint in endpoints:
        status, _ = await sandbox.call("POST", f"/v1/webhook_endpoints/{endpoint}", {"disabled": "true"})
        assert status == 200


@contextlib.asynccontextmanager
async def a_dead_letter(sandbox: Sandbox) -> AsyncIterator[None]:
    """A delivery that is tried once."""
    endpoint = await an_endpoint(sandbox, 9, "refund.created")
    with psycopg.connect(sandbox.dsns["gateway"]) as connection:
        connection.execute("UPDATE webhook_endpoint SET retry_delays_s = '{}' WHERE id = %s", (endpoint,))
    await sandbox.processes.until(lambda: bool(sandbox.payment), within_s=10)
    status, _ = await sandbox.call("POST", "/v1/refunds", {"payment_intent": sandbox.payment, "amount": "100"})
    assert status == 200
    yield


async def an_endpoint(sandbox: Sandbox, number: int, events: str) -> str:
    form = {"url": f"{sandbox.people.url}/broken/{number}", "enabled_events[0]": events}
    status, endpoint = await sandbox.call("POST", "/v1/webhook_endpoints", form)
    assert status == 200, endpoint
    return str(endpoint["id"])


async def told(sandbox: Sandbox, alert: str, fault: Fault) -> str:
    """The alert comes both ways within a minute, and none beside it; and is over afterwards. How long it took."""
    people, place, began_s = sandbox.people, len(sandbox.people.told), time.monotonic()
    async with fault(sandbox):
        await within(lambda: people.know(place, alert, "firing"), f"{alert} fires", people)
        fired_s = time.monotonic()
    await within(lambda: people.know(place, alert, "resolved"), f"{alert} is over", people)
    over_s = time.monotonic()
    assert people.since(place) == {alert}, people.told[place:]
    return f"{alert}: told after {fired_s - began_s:.0f} s, over after {over_s - fired_s:.0f} s"


async def within(true: Callable[[], bool], what: str, people: People) -> None:
    try:
        async with asyncio.timeout(TOLD_WITHIN_S):
            while not true():  # noqa: ASYNC110 - people are told by other processes
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"{what}: not told within {TOLD_WITHIN_S:.0f} s; told was {people.told}")


@contextlib.asynccontextmanager
async def a_worker_killed(sandbox: Sandbox) -> AsyncIterator[None]:
    """kill -9, and later another one in its place."""
    sandbox.worker.process.kill()
    await sandbox.worker.process.wait()
    yield
    sandbox.worker = await sandbox.workers.enter_async_context(sandbox.working())


SHORT: dict[str, Fault] = {"ProcessDown": a_worker_killed, "DeadLetters": a_dead_letter}
LONG: dict[str, Fault] = {
    "AuthorizationsDropped": declines_up,
    "WebhooksSlow": webhooks_slow,
    "DeliveriesFailing": receivers_answer_500,
}


async def test_a_fault_is_told_alone_and_is_over_when_it_is(sandbox: Sandbox) -> None:
    async with sandbox.serving():
        await asyncio.sleep(QUIET_S + 5.0)
        assert sandbox.people.told == [], "where all is well nobody is told"
        for alert, fault in (SHORT | LONG if ALL else SHORT).items():
            print(await told(sandbox, alert, fault))
            await asyncio.sleep(2.0)
        print(f"declined meanwhile: {sandbox.refused}")
