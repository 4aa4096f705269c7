"""The gateway's console in a real browser: every page on a phone and in the dark, examined by axe-core, by keyboard
alone, and live (RULES §12, §13). What the pages say and do is proved in tests/gateway/console.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from playwright.async_api import Page, expect

from tallystick.gateway.access import CONSOLE
from tallystick.kernel.logins.users import add_user
from tallystick.kernel.operators.roles import Role
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery"
ROWS = Path(__file__).parents[2] / "benchmarks" / "gateway_console.sql"
PAYMENTS = 400
ACCOUNT = "acct_0000000000000001"
PAGE_BYTES_MAX = 200_000
PHONE_PX = 360
REFUSED = {"/console/payments?since=x": 422}
"""Pages that are asked for what they cannot do, and how they are answered."""

Examine = Callable[[Page], Awaitable[list[Any]]]


class Console:
    """A gateway whose accounts have sold for a hundred days."""

    def __init__(self, url: str, payment: str, unknown: str, dead: str) -> None:
        self.url, self.payment, self.unknown, self.dead = url, payment, unknown, dead

    def pages(self) -> list[str]:
        """Every page that there is to see."""
        return [
            "/console",
            "/console/overview",
            "/console/payments",
            "/console/payments?q=4242",
            "/console/payments?since=x",
            f"/console/payments/{self.payment}",
            f"/console/payments/{self.unknown}",
            "/console/accounts",
            f"/console/accounts/{ACCOUNT}",
            "/console/endpoints",
            "/console/dead-letters",
            f"/console/dead-letters/{self.dead}",
            "/console/redrives",
            "/console/redrives/rdr_7",
            "/console/unknown-outcomes",
            "/console/cases?state=any",
            "/console/disputes",
            f"/console/settlements?account={ACCOUNT}",
            "/console/payouts",
            "/console/reports",
            f"/console/balance?account={ACCOUNT}&check=true",
            "/console/card-testing",
            "/console/faults",
            "/console/audit",
            "/console/account",
        ]


@pytest.fixture(scope="module")
def console(gateway_supply: Any, run_gateway_on: Any) -> Iterator[Console]:
    """One for all tests of this file."""
    with gateway_supply.database() as dsn:
        asyncio.run(_employ(dsn))
        with run_gateway_on(dsn, sandbox_clock=True) as gateway:
            yield Console(gateway.url, *_fill(dsn))


async def _employ(dsn: str) -> None:
    database = await open_database(dsn, connections_max=2)
    try:
        await add_user(database, "ada", PASSWORD, SystemClock(), SystemEntropy(), role=Role.ADMIN)
    finally:
        await database.close()


def _fill(dsn: str) -> list[str]:
    """The rows of the benchmark, a few of them; a payment that succeeded, one of which nobody knows, a dead letter."""
    text = ROWS.read_text(encoding="utf-8").replace(":payments", str(PAYMENTS))
    text = text.replace(":now", f"'{datetime.now(UTC).isoformat()}'")
    with psycopg.connect(dsn, autocommit=True) as database:
        for statement in text.split(";\n"):
            database.execute(statement.encode())
        paid = "SELECT payment_intent FROM charge WHERE state = $$approved$$ ORDER BY id DESC LIMIT 1"
        unknown = "SELECT payment_intent FROM charge WHERE state = $$unknown$$ LIMIT 1"
        dead = "SELECT id FROM delivery WHERE state = $$dead$$ LIMIT 1"
        rows = [database.execute(each.encode()).fetchone() for each in (paid, unknown, dead)]
    return [row[0] for row in rows if row is not None]


@pytest.mark.node
@pytest.mark.parametrize(("scheme", "width_px"), [("light", 1280), ("dark", PHONE_PX)])
async def test_every_page_is_for_everyone(
    open_page: Any,
    console: Console,
    log_in: Any,
    examine: Examine,
    unseen: Any,
    scheme: Literal["light", "dark"],
    width_px: int,
) -> None:
    """axe-core finds nothing serious, nothing is wider than the screen, no page is large, and none is left out."""
    assert unseen(CONSOLE, console.pages()) == set()
    page = await open_page(color_scheme=scheme, viewport={"width": width_px, "height": 800}, reduced_motion="reduce")
    await log_in(page, console.url, "ada")
    for path in console.pages():
        answer = await page.goto(f"{console.url}{path}")
        assert answer is not None
        assert answer.status == REFUSED.get(path, 200), path
        assert len(await answer.body()) < PAGE_BYTES_MAX, path
        await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width_px, path
        assert await examine(page) == [], path
    for path, status in REFUSED.items():
        open_page.refused(status, path)


async def test_a_payment_is_found_and_its_outcome_resolved_by_keyboard_alone(open_page: Any, console: Console) -> None:
    """Without a script: search, open, say what the bank did."""
    page = await open_page(java_script_enabled=False)
    await page.goto(f"{console.url}/console")
    await expect(page.get_by_label("Name")).to_be_focused()  # a page takes a moment to give its first field the focus
    await page.keyboard.type("ada")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await page.get_by_role("link", name="Payments", exact=True).focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Search").focus()
    await page.keyboard.type(console.unknown)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=f"Payment {console.unknown}")).to_be_visible()
    await page.locator("summary").first.focus()
    await page.keyboard.press("Enter")  # opens the form
    await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")  # did not do it
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.type("their list of the day")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Unknown outcomes")).to_be_visible()
    await expect(page.get_by_text(console.unknown)).to_have_count(0)


async def test_endpoints_keep_themselves_new(open_page: Any, console: Console, log_in: Any) -> None:
    page = await open_page()
    await log_in(page, console.url, "ada")
    await page.goto(f"{console.url}/console/endpoints?account={ACCOUNT}")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await expect(page.get_by_role("region", name="Endpoints")).to_contain_text("well")
