"""Anything but `true` denies, and every fault does (RULES §12). The rules themselves are tested in tests/policies."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.policy import OpaPolicy, PolicyInvalid, RegoPolicy, Ruling

RULES = """
package door
import rego.v1
default open := false
open if input.word == "please"
word := input.word
"""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


@asynccontextmanager
async def opa(serve: Serve) -> AsyncIterator[OpaPolicy]:
    """The port, and at its other side a server that does as it is told."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    http = AiohttpClient()
    port = server.sockets[0].getsockname()[1]
    try:
        yield OpaPolicy(http, f"http://127.0.0.1:{port}", "pii/access", "a-token")
    finally:
        await http.close()
        server.close()


def saying(told: bytes, *, after_s: float = 0.0) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(after_s)
        writer.write(told)
        writer.close()

    return serve


async def test_true_is_granted_and_anything_else_is_not() -> None:
    assert await RegoPolicy({"door.rego": RULES}, "door/open").rule({"word": "please"}) == Ruling(True)
    assert await RegoPolicy({"door.rego": RULES}, "door/open").rule({"word": "now"}) == Ruling(False, "policy")
    word = RegoPolicy({"door.rego": RULES}, "door/word")
    for instead in ("true", 1, [True], {"true": True}, None, False):
        assert not (await word.rule({"word": instead})).allowed, instead
    assert (await word.rule({"word": True})).allowed
    assert not (await word.rule({})).allowed, "undefined is not true"


async def test_each_thread_has_an_engine_of_its_own() -> None:
    policy, rulings = RegoPolicy({"door.rego": RULES}, "door/open"), []

    def ask() -> None:
        rulings.append(asyncio.run(policy.rule({"word": "please"})))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rulings == [Ruling(True)] * 3


def test_rules_that_cannot_be_used_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match=r"door\.rego"):
        RegoPolicy({"door.rego": "package door\nopen if {"}, "door/open")
    with pytest.raises(PolicyInvalid):
        RegoPolicy({"door.rego": RULES}, "door/shut")
    with pytest.raises(PolicyInvalid, match="no policies"):
        RegoPolicy.of_folder(tmp_path, "door/open")
    (tmp_path / "door_test.rego").write_text("this is not looked at")
    (tmp_path / "door.rego").write_text(RULES)
    RegoPolicy.of_folder(tmp_path, "door/open")


async def test_a_server_is_asked_as_opa_documents_it() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        heard.append(head + await reader.readexactly(length))
        writer.write(answer(b'{"result": true}'))

    async with opa(serve) as policy:
        assert await policy.rule({"fields": ["name"]}) == Ruling(True)
    [sent] = heard
    assert sent.startswith(b"POST /v1/data/pii/access HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in sent
    assert b"Authorization: Bearer a-token\r\n" in sent
    assert sent.endswith(b'\r\n\r\n{"input":{"fields":["name"]}}')


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (answer(b'{"result": false}'), "policy"),
        (answer(b'{"result": "true"}'), "policy"),
        (answer(b'{"result": {"allow": true}}'), "policy"),
        (answer(b"{}"), "policy_faulty"),
        (answer(b'{"decision_id": "1"}'), "policy_faulty"),
        (answer(b"true"), "policy_faulty"),
        (answer(b"[true]"), "policy_faulty"),
        (answer(b'{"result": tru'), "policy_faulty"),
        (answer(b"\xff\xfe"), "policy_faulty"),
        (answer(b""), "policy_faulty"),
        (answer(b'{"result": true}', "500 Internal Server Error"), "policy_faulty"),
        (answer(b'{"result": true}', "401 Unauthorized"), "policy_faulty"),
        (answer(b'{"result": true}', "302 Found"), "policy_faulty"),
        (answer(b'{"result": true, "more": "' + b"x" * 20_000 + b'"}'), "policy_faulty"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + b'{"result": true}', "policy_unclear"),
        (b"no HTTP at all\r\n\r\n", "policy_unclear"),
        (b"", "policy_unclear"),
    ],
)
async def test_what_a_server_says_amiss_denies(told: bytes, reason: str) -> None:
    async with opa(saying(told)) as policy:
        assert await policy.rule({}) == Ruling(False, reason)


async def test_a_slow_server_denies_in_time() -> None:
    async with opa(saying(answer(b'{"result": true}'), after_s=5.0)) as policy:
        began = time.monotonic()
        assert await policy.rule({}) == Ruling(False, "policy_unclear")
        assert time.monotonic() - began < 1.5, "a quarter of a second, and what a busy machine adds"


async def test_a_server_that_is_gone_denies() -> None:
    async with opa(saying(b"")) as policy:
        pass
    http = AiohttpClient()
    gone = OpaPolicy(http, policy._url.partition("/v1/")[0], "pii/access")
    assert await gone.rule({}) == Ruling(False, "policy_unreachable")
    await http.close()
