"""`tallystick demo` as a newcomer runs it."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ServiceApiError
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import HttpRequest

TEST_BOUND_S = 180
KEYS = {
    "gateway": {"url", "secret_key", "publishable_key", "operator_key"},
    "merchant": {"url", "api_key", "webhook_url", "webhook_secret", "operator_key"},
    "shop": {"url"},
    "database": {"merchant", "gateway"},
}


async def test_every_order_ends_as_scripted(processes: Any, tmp_path: Path) -> None:
    """The main job: a dozen shoppers, paid, failed and left; 0 only if every order ended as scripted."""
    ports = processes.free_ports(1)[0]
    arguments = ("demo", "--once", "--plain-http", "--data-dir", str(tmp_path), "--port-base", str(ports))
    async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments) as demo:
        out, error = await demo.rest()
    assert demo.process.returncode == 0, out + error
    assert "every order ended as scripted" in out
    assert "9 PAID" in out
    assert "1 FAILED" in out
    assert "2 EXPIRED" in out


async def test_the_next_day(processes: Any, tmp_path: Path) -> None:
    """Errors are planted in a day, found, and mended where that is safe; the corrected report fits. 0 only then."""
    ports = processes.free_ports(1)[0]
    arguments = ("demo", "--once", "--next-day", "--no-shoppers", "--plain-http", "--data-dir", str(tmp_path))
    async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments, "--port-base", str(ports)) as demo:
        out, error = await demo.rest()
    assert demo.process.returncode == 0, out + error
    for code in ("amount_differs", "settled_twice", "dispute_unknown", "captured_but_pending", "refund_unknown"):
        assert code in out, out
    assert "the halves match again" in " ".join(out.split())
    assert "not found" not in out
    assert "nobody planted it" not in out


async def test_the_line_of_a_demo_that_stays(processes: Any, tmp_path: Path) -> None:
    """One line with exactly these keys, free ports where the documented ones are in use, and restarts that lose
    nothing: of the gateway, of the database, of everything after kill -9 of everything."""
    with socket.socket() as taken:
        base = processes.free_ports(1)[0]
        taken.bind(("127.0.0.1", base))
        taken.listen()
        arguments = ("demo", "--json", "--no-shoppers", "--data-dir", str(tmp_path), "--port-base", str(base))
        async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments) as demo:
            line = await demo.line()
            assert line.keys() == {"gateway", "merchant", "shop", "ca_file", "database"}
            assert {name: set(line[name]) for name in KEYS} == KEYS
            assert line["gateway"]["url"].startswith("https://127.0.0.1:")
            assert not line["gateway"]["url"].endswith(f":{base}"), "that port is in use"
            assert {oct(_mode(Path(line["ca_file"]))), oct(_mode(tmp_path / "demo.json"))} == {"0o600"}
            order = await _an_order(line)
            looked_at = await processes.json("doctor", "--data-dir", str(tmp_path))
            said = [finding for finding in looked_at["findings"] if finding["state"] != "good"]
            assert looked_at["healthy"], said
            assert said == [], "the demo is as the documentation wants it"
            assert {finding["check"] for finding in looked_at["findings"]} >= {"certificate", "peer", "clock", "role"}
            await _gateway_comes_back(processes, demo, line)
            await _database_comes_back(processes, line, tmp_path)
            below = demo.descendants()
            demo.process.kill()
            await processes.until(lambda: not any(processes.alive(pid) for pid in below), within_s=30)

    async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments) as again:
        line_again = await again.line()
        assert line_again["gateway"]["url"].endswith(f":{base}"), "the documented port is free again"
        assert line_again["merchant"]["api_key"] == line["merchant"]["api_key"]
        assert line_again["merchant"]["webhook_secret"] == line["merchant"]["webhook_secret"]
        assert (await _look(line_again, order["id"]))["state"] == "PENDING"
        await _an_order(line_again)
        below = again.descendants()
        assert await again.stop() == 0
        assert not any(processes.alive(pid) for pid in below), "it stops everything that it started"


async def _an_order(line: dict[str, Any]) -> dict[str, Any]:
    """An order placed over HTTPS with the demo's authority alone to trust."""
    http = AiohttpClient(ca_file=line["ca_file"])
    try:
        api = MerchantApi(http, line["merchant"]["url"], line["merchant"]["api_key"])
        order = await api.place({"amount": 999, "currency": "EUR"}, key=os.urandom(8).hex())
        assert order["redirect_url"].startswith(line["gateway"]["url"])
        return order
    finally:
        await http.close()


async def _look(line: dict[str, Any], order_id: str) -> dict[str, Any]:
    http = AiohttpClient(ca_file=line["ca_file"])
    try:
        return await MerchantApi(http, line["merchant"]["url"], line["merchant"]["api_key"]).order(order_id)
    finally:
        await http.close()


async def _gateway_comes_back(processes: Any, demo: Any, line: dict[str, Any]) -> None:
    """Started again within a second of its kill -9, and serving."""
    before = demo.pid_of("gateway serve")
    os.kill(before, signal.SIGKILL)
    await processes.until(lambda: _gateway_of(demo) not in (None, before), within_s=1.0)
    http = AiohttpClient(ca_file=line["ca_file"])
    try:
        answer = await processes.answer(HttpRequest("GET", f"{line['gateway']['url']}/readyz", {}, b"", 5), http)
        assert answer.status == 200
    finally:
        await http.close()


async def _database_comes_back(processes: Any, line: dict[str, Any], data_dir: Path) -> None:
    """After kill -9 of the server's first process, orders can be placed again within seconds."""
    postmaster_file = data_dir / "postgres" / "cluster" / "postmaster.pid"
    before = postmaster_file.read_text().split()[0]
    os.kill(int(before), signal.SIGKILL)
    await processes.until(lambda: postmaster_file.exists() and before not in postmaster_file.read_text(), within_s=10)
    async with asyncio.timeout(20):
        while True:
            try:
                await _an_order(line)
                return
            except ServiceApiError:
                await asyncio.sleep(0.1)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _gateway_of(demo: Any) -> int | None:
    """The gateway's process as it is now; a tether that is about to become it has the same end of its command line."""
    return next((pid for pid, line in demo.descendants().items() if line.endswith("gateway serve")), None)
