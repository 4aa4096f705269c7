"""The operators' first page in a real browser, with JavaScript switched off: log in, look, redrive (RULES §6, §12)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.async_api import expect

from tallystick.cli.command import run

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def gateway_with_letters(run_gateway: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a gateway with two dead letters, whose endpoint is disabled, and an operator."""
    (tmp_path / "password").write_text(PASSWORD)
    with run_gateway() as running:
        monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", running.dsn)
        assert (
            run(["gateway", "users", "add", "ada", "--role", "admin", "--password-file", str(tmp_path / "password")])
            == 0
        )
        with psycopg.connect(running.dsn) as connection:
            connection.execute(
                "INSERT INTO webhook_endpoint"
                " (account_id, livemode, id, url, status, enabled_events, secrets, created_at)"
                " VALUES (%s, false, 'we_1', 'http://127.0.0.1:1/', 'disabled', '{*}', '{whsec_eA==}', %s)",
                (running.account_id, AT),
            )
            for n in range(2):
                connection.execute(
                    "INSERT INTO event (account_id, livemode, id, type, object_id, object, created_at)"
                    " VALUES (%s, false, %s, 'charge.updated', 'ch_1', '{}', %s)",
                    (running.account_id, f"evt_{n}", AT),
                )
                connection.execute(
                    "INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, tries,"
                    " due_at, reason, created_at, finished_at)"
                    " VALUES (%s, %s, false, %s, 'v', 'we_1', 'dead', 1, %s, %s, %s, %s)",
                    (running.account_id, f"dlv_{n}", f"evt_{n}", AT, f"http_50{n}", AT, AT),
                )
                connection.execute(
                    "INSERT INTO delivery_attempt (owner_id, delivery, number, started_at, duration_ms, status, reason,"
                    " answer) VALUES (%s, %s, 1, %s, 12, 500, %s, 'down for repair')",
                    (running.account_id, f"dlv_{n}", AT, f"http_50{n}"),
                )
            connection.execute(
                "INSERT INTO endpoint_health (owner_id, livemode, endpoint, width, failures, reason)"
                " VALUES (%s, false, 'we_1', 1, 4, 'http_501')",
                (running.account_id,),
            )
        yield running.url


async def test_an_operator_sees_how_endpoints_stand(
    open_page: Callable[..., Awaitable[Any]], gateway_with_letters: str
) -> None:
    page = await open_page(java_script_enabled=False)
    await page.goto(f"{gateway_with_letters}/console")
    await page.get_by_label("Name").fill("ada")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name="Dead letters", exact=True).first.click()
    row = page.get_by_role("region", name="Endpoints").get_by_role("row", name="we_1")
    await expect(row).to_contain_text("failing")
    await expect(row).to_contain_text("http_501")


async def test_an_operator_redrives_a_dead_letter(
    open_page: Callable[..., Awaitable[Any]], gateway_with_letters: str
) -> None:
    page = await open_page(java_script_enabled=False)
    await page.goto(f"{gateway_with_letters}/console")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.get_by_label("Name").fill("ada")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name="Dead letters", exact=True).first.click()

    await expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()
    await expect(page.get_by_role("link", name="dlv_")).to_have_count(2)
    await page.get_by_label("Reason").fill("http_501")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("link", name="dlv_")).to_have_count(1)
    await page.get_by_role("link", name="dlv_1").click()
    await expect(page.get_by_text("down for repair")).to_be_visible()

    await page.get_by_role("button", name="Redrive it").click()
    await expect(page.get_by_role("heading", name="Redrive 1 dead letter?")).to_be_visible()
    await page.get_by_role("button", name="Redrive").click()
    async with asyncio.timeout(15):
        while "1 of 1 dead letters, done" not in await page.get_by_role("status").inner_text():
            await asyncio.sleep(0.2)
            await page.reload()

    await page.get_by_role("link", name="Dead letters", exact=True).click()
    await expect(page.get_by_role("link", name="dlv_")).to_have_count(1)
    await page.get_by_role("button", name="Log out").click()
    await page.goto(f"{gateway_with_letters}/console/dead-letters")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
