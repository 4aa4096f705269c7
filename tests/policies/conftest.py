"""The engines that decide: regorus in this process, and OPA behind HTTP in a process of its own."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.policy import OpaPolicy, Policy, RegoPolicy

FOLDER = Path(__file__).parents[2] / "policies"
STAND_IN = Path(__file__).parent / "opa_stand_in.py"
START_S = 20.0
NO_ENGINE = "POLICY TESTS SKIPPED: no second engine here; see requirements/opa.txt"

SERVERS = ["engine", *(["opa"] if shutil.which("opa") else [])]


@pytest.fixture(scope="session")
def opa_server() -> Iterator[Callable[[str], str]]:
    """Gives the address of a server by its name; started once, when first asked for."""
    with ExitStack() as running:
        urls: dict[str, str] = {}

        def url_of(name: str) -> str:
            if name not in urls:
                urls[name] = running.enter_context(_opa() if name == "opa" else _stand_in())
            return urls[name]

        yield url_of


@pytest.fixture(params=SERVERS)
def opa_url(request: pytest.FixtureRequest, opa_server: Callable[[str], str]) -> str:
    """Where a server answers `POST /v1/data/…` with OPA's engine: our stand-in, and `opa` itself where it is."""
    return opa_server(request.param)


@pytest.fixture(params=["regorus", *SERVERS])
async def policy(request: pytest.FixtureRequest, opa_server: Callable[[str], str]) -> AsyncIterator[Policy]:
    """The decision `pii/access` in each engine: in this process, and over HTTP."""
    if request.param == "regorus":
        yield RegoPolicy.of_folder(FOLDER, "pii/access")
        return
    http = AiohttpClient()
    yield OpaPolicy(http, opa_server(request.param), "pii/access")
    await http.close()


@contextmanager
def _stand_in() -> Iterator[str]:
    if importlib.util.find_spec("opa_bindings") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NO_ENGINE.replace("SKIPPED", "CANNOT RUN"))
        pytest.skip(NO_ENGINE)
    command = [sys.executable, str(STAND_IN), str(FOLDER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


@contextmanager
def _opa() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["opa", "run", "--server", "--addr", address, "--log-level", "error", str(FOLDER)]
    with subprocess.Popen(command) as server:
        try:
            _wait_for(f"http://{address}/health")
            yield f"http://{address}"
        finally:
            server.kill()


def _wait_for(url: str) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=1.0).close()
            return
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < until, "opa answers"
            time.sleep(0.05)
