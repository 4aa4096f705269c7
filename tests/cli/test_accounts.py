"""`accounts create` and `connections add` on a real database: secrets are named there and never stored."""

import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tallystick.cli.failures import CommandRefused
from tallystick.cli.installing import (
    SecretFiles,
    add_gateway_connection,
    add_shop_endpoint,
    create_merchant_account,
)
from tallystick.merchant.gateways.stripe_events import LEARNT_FROM
from tallystick.merchant.settings import Settings, read

SECRET = "whsec_b2Ygbm8gdmFsdWUgYXQgYWxsIHRvIGFueWJvZHk="


@pytest.fixture
def settings(merchant_dsn: str) -> Settings:
    return read({"TALLYSTICK_MERCHANT_DATABASE_DSN": merchant_dsn, "TALLYSTICK_MERCHANT_PORT": "8999"})


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    (tmp_path / "secret-key").write_text("sk_test_of_no_value\n")
    return SecretFiles(tmp_path / "secret-key", tmp_path / "webhook-secret")


@pytest.fixture
async def gateway() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A gateway that creates webhook endpoints, and what it was asked."""
    asked: list[dict[str, Any]] = []

    async def create(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append({**form, "key": request.headers["Authorization"]})
        return web.json_response({"id": "we_1", "object": "webhook_endpoint", "url": form["url"], "secret": SECRET})

    application = web.Application()
    application.router.add_post("/v1/webhook_endpoints", create)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


async def test_the_only_merchant_need_not_be_named(settings: Settings, files: SecretFiles) -> None:
    made = await create_merchant_account(settings, "Hazel", [])
    added = await add_gateway_connection(settings, None, "stripe", "https://gateway.example", files)
    assert added.webhook_url == f"http://127.0.0.1:8999/webhooks/{added.connection_id}"
    assert made.merchant_id.removeprefix("mer_") in added.connection_id


@pytest.mark.parametrize("merchants", [0, 2])
async def test_none_and_several_must_be_told_apart(settings: Settings, files: SecretFiles, merchants: int) -> None:
    for number in range(merchants):
        await create_merchant_account(settings, f"Hazel {number}", [])
    with pytest.raises(CommandRefused, match="--merchant"):
        await add_gateway_connection(settings, None, "stripe", "https://gateway.example", files)


@pytest.mark.parametrize("named", ["mer_1", "acct_0123456789abcdef", "0123456789abcdef", ""])
async def test_a_merchant_that_cannot_be_one_is_refused(settings: Settings, files: SecretFiles, named: str) -> None:
    """A mistyped id ended in a failed assertion."""
    with pytest.raises(CommandRefused, match="there is no merchant"):
        await add_gateway_connection(settings, named, "stripe", "https://gateway.example", files)
    with pytest.raises(CommandRefused, match="there is no merchant"):
        await add_shop_endpoint(settings, named, "https://shop.example/", [])


async def test_the_endpoint_is_created_and_its_secret_written_for_its_owner_alone(
    settings: Settings, files: SecretFiles, gateway: tuple[str, list[dict[str, Any]]]
) -> None:
    url, asked = gateway
    await create_merchant_account(settings, "Hazel", [])
    added = await add_gateway_connection(settings, None, "stripe", url, files, with_endpoint=True)
    assert added.endpoint == "we_1"
    assert asked[0]["key"] == "Bearer sk_test_of_no_value"
    assert asked[0]["url"] == added.webhook_url
    assert [asked[0][f"enabled_events[{place}]"] for place in range(len(LEARNT_FROM))] == list(LEARNT_FROM)
    assert files.webhook_secret.read_text().strip() == SECRET
    assert stat.S_IMODE(files.webhook_secret.stat().st_mode) == 0o600


async def test_a_gateway_that_is_away_leaves_the_connection_and_says_so(
    settings: Settings, files: SecretFiles, free_port: int
) -> None:
    await create_merchant_account(settings, "Hazel", [])
    url = f"http://127.0.0.1:{free_port}"
    added = await add_gateway_connection(settings, None, "stripe", url, files, with_endpoint=True)
    assert added.endpoint is None
    assert "does not answer" in str(added.endpoint_error)
    assert not files.webhook_secret.exists()


async def test_the_address_is_printed_with_what_remains_to_be_done(
    settings: Settings,
    files: SecretFiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    in_a_thread: Callable[..., Any],
) -> None:
    from tallystick.cli.command import run

    monkeypatch.setenv("TALLYSTICK_MERCHANT_DATABASE_DSN", settings.database_dsn)
    assert await in_a_thread(run, ["merchant", "accounts", "create", "--name", "Hazel", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["api_key"].startswith("tsk_")
    arguments = ["merchant", "connections", "add", "--gateway", "stripe", "--url", "https://gateway.example"]
    arguments += ["--secret-key-file", str(files.secret_key), "--webhook-secret-file", str(files.webhook_secret)]
    assert await in_a_thread(run, arguments) == 0
    shown = capsys.readouterr().out
    assert "/webhooks/con_" in shown
    assert f"into {files.webhook_secret}" in shown
    assert "https://gateway.example/v1/webhook_endpoints" in shown
    assert "sk_test_of_no_value" not in shown


async def test_a_secret_that_cannot_be_written_is_not_lost_in_silence(
    settings: Settings, files: SecretFiles, gateway: tuple[str, list[dict[str, Any]]]
) -> None:
    """The endpoint is there by then, and what it signs with was shown once."""
    await create_merchant_account(settings, "Hazel", [])
    nowhere = SecretFiles(files.secret_key, files.secret_key / "webhook-secret")
    added = await add_gateway_connection(settings, None, "stripe", gateway[0], nowhere, with_endpoint=True)
    assert "we_1 is there" in str(added.endpoint_error)
    assert "roll it" in str(added.endpoint_error)
    assert SECRET not in str(added.endpoint_error)


async def test_a_key_that_cannot_be_read_leaves_a_connection_that_is_told(settings: Settings, tmp_path: Path) -> None:
    await create_merchant_account(settings, "Hazel", [])
    folder = SecretFiles(tmp_path, tmp_path / "webhook-secret")
    added = await add_gateway_connection(
        settings, None, "stripe", "https://gateway.example", folder, with_endpoint=True
    )
    assert added.webhook_url.endswith(added.connection_id)
    assert "cannot be read" in str(added.endpoint_error)
