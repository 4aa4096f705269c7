"""The alert port: apprise on real HTTP; a target that fails is told of, and never shown."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tallystick.ports import alerts
from tallystick.ports.alerts import AppriseAlerts, TargetInvalid


@pytest.fixture
async def target() -> AsyncIterator[tuple[str, list[Any]]]:
    """An address that apprise posts JSON to, and what came; the path `/no` refuses."""
    came: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        came.append(json.loads(await request.text()))
        return web.Response(status=500 if request.path.endswith("/no") else 200)

    application = web.Application()
    application.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"json://user:hidden-word@127.0.0.1:{runner.addresses[0][1]}", came
    await runner.cleanup()


async def test_every_target_is_told(target: tuple[str, list[Any]]) -> None:
    address, came = target
    assert await AppriseAlerts([f"{address}/a", f"{address}/b"]).tell("Dead letters", "Look.\nNow.")
    assert [(each["title"], each["message"], each["type"]) for each in came] == [
        ("Dead letters", "Look.\nNow.", "failure")
    ] * 2


async def test_what_is_over_is_told_as_that(target: tuple[str, list[Any]]) -> None:
    """A target that keeps incidents finds its own by the title, and closes it."""
    address, came = target
    assert await AppriseAlerts([address]).tell_over("Dead letters", "Over.")
    assert [(each["title"], each["type"]) for each in came] == [("Dead letters", "success")]


async def test_a_target_that_refuses_is_told_of_and_not_shown(
    target: tuple[str, list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    address, came = target
    assert not await AppriseAlerts([f"{address}/yes", f"{address}/no"]).tell("Dead letters", "Look.")
    assert len(came) == 2, "the others have it all the same"
    assert "hidden-word" not in caplog.text


async def test_without_targets_there_is_nobody_to_tell() -> None:
    assert await AppriseAlerts().tell("Dead letters", "Look.")


def test_an_address_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(TargetInvalid, match="alert target 2") as refused:
        AppriseAlerts(["json://127.0.0.1:1/", "hidden-word"])
    assert "hidden-word" not in str(refused.value)


@pytest.mark.parametrize(
    "target",
    [
        "json://alerts.example/",
        "xml://10.0.0.1/",
        "gotify://alerts.example/abcdefghijklmno",
        "mailto://hazel:hidden-word@mail.example",
        "mailtos://hazel:hidden-word@mail.example?mode=insecure",
        "jsons://alerts.example/?verify=no",
        "json://127.0.0.1:1/?verify=no",
    ],
)
def test_alerts_go_out_encrypted_and_to_a_verified_peer(target: str) -> None:
    """RULES §12."""
    with pytest.raises(TargetInvalid, match="not encrypted") as refused:
        AppriseAlerts([target])
    assert "hidden-word" not in str(refused.value)


@pytest.mark.parametrize(
    "target",
    [
        "jsons://alerts.example/",
        "json://localhost:8000/",
        "mailtos://hazel:hidden-word@mail.example",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
        "syslog://",
    ],
)
def test_targets_that_are_protected_are_taken(target: str) -> None:
    AppriseAlerts([target])


async def test_it_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(alerts, "DEADLINE_S", 0.05)
    over = threading.Event()
    slow = AppriseAlerts(["json://127.0.0.1:1/"])
    monkeypatch.setattr(slow, "_notify", lambda *_: over.wait(5))
    assert not await slow.tell("Dead letters", "Look.")
    over.set()
