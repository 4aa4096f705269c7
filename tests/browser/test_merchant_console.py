"""The merchant's console in a real browser: every page on a phone and in the dark, by keyboard alone, examined by
axe-core, and live (RULES §12, §13). What the pages say and do is proved in tests/merchant/console.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tallystick.kernel.logins.users import add_user
from tallystick.kernel.operators.roles import Role
from tallystick.merchant.access import CONSOLE
from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.merchant.app import Ports, build
from tallystick.merchant.settings import Settings
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery"
ROWS = Path(__file__).parents[2] / "benchmarks" / "console.sql"
ORDERS = 6_000  # eight an hour
PAGE_BYTES_MAX = 200_000
PHONE_PX = 360
REFUSED = {"/console/orders?state=PAID&amount=x": 422, "/console/nothing": 404}
"""Pages that are asked for what they cannot do or show, and how they are answered."""

Examine = Callable[[Page], Awaitable[list[Any]]]


class Console:
    """The merchant service, one merchant, and where its things are."""

    def __init__(self, url: str, merchant: str, pending: str, paid: str) -> None:
        self.url, self.merchant, self.pending, self.paid = url, merchant, pending, paid

    def pages(self) -> list[str]:
        """Every page that there is to see."""
        of_merchant = f"/console/merchants/{self.merchant}"
        yesterday = datetime.fromtimestamp(datetime.now(UTC).timestamp() - 86400, UTC)
        return [
            "/console",
            "/console/overview",
            "/console/orders",
            "/console/orders?state=PAID&amount=x",
            f"/console/orders/{self.pending}",
            f"/console/orders/{self.paid}",
            "/console/inbox",
            "/console/dead-letters",
            "/console/redrives/rdr_1",
            "/console/reconciliations",
            f"{of_merchant}/reconciliations/rec_{yesterday:%Y%m%d}",
            "/console/cases",
            f"{of_merchant}/cases/cas_000000004",
            "/console/customers",
            f"{of_merchant}/customers/cus_{3:025d}",
            f"{of_merchant}/accesses",
            "/console/audit",
            "/console/account",
            "/console/nothing",
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def console(lasting_merchant_dsn: str, serve: Any) -> AsyncIterator[Console]:
    """A merchant service with a merchant whose shop has sold for a month."""
    database, clock, entropy = await open_database(lasting_merchant_dsn), SystemClock(), SystemEntropy()
    made = await create_merchant(database, clock, entropy, name="Tea & Sons", return_origins=[])
    connection = await add_connection(
        database,
        clock,
        entropy,
        merchant_id=made.merchant_id,
        url="http://127.0.0.1:1",
        secret_key_ref="env:KEY",
        webhook_secret_refs=["env:HOOK"],
    )
    await add_user(database, "ada", PASSWORD, clock, entropy, role=Role.ADMIN)
    ids = await asyncio.to_thread(_fill, lasting_merchant_dsn, made.merchant_id, connection)
    nothing: Any = None
    service = build(Settings(database_dsn=lasting_merchant_dsn), Ports(database, nothing, nothing, clock, entropy))
    async with serve(service.asgi) as url:
        yield Console(url, made.merchant_id, *ids)
    await database.close()


def _fill(dsn: str, merchant: str, connection: str) -> tuple[str, str]:
    """The rows of the benchmark, a few of them; the ids of an order that is PENDING and of one that is PAID."""
    text = ROWS.read_text().replace(":orders", str(ORDERS)).replace(":merchant", f"'{merchant}'")
    text = text.replace(":connection", f"'{connection}'").replace(":now", f"'{datetime.now(UTC).isoformat()}'")
    with psycopg.connect(dsn, autocommit=True) as database:
        for statement in text.split(";\n"):
            database.execute(statement.encode())
        database.execute(
            "UPDATE orders SET state = 'PENDING', facts = '{\"attempts\": {\"1\": {}}}', keeper = NULL,"
            " fulfilment = 'none', amount_captured_minor = 0, attention = NULL WHERE order_id IN"
            " (SELECT order_id FROM orders ORDER BY order_id DESC LIMIT 1)"
        )
        database.execute(
            "UPDATE attempt a SET state = 'open' FROM orders o WHERE o.state = 'PENDING' AND a.order_id = o.order_id"
        )
        database.execute(
            "INSERT INTO redrive (id, state, filter, rate_max, matched, due_at, created_by, created_at)"
            " VALUES ('rdr_1', 'canceled', '{}', 50, 60, now(), 'ada', now())"
        )
        rows = database.execute("SELECT order_id FROM orders WHERE state = 'PENDING' ORDER BY order_id DESC").fetchall()
        paid = database.execute("SELECT order_id FROM orders WHERE state = 'PAID' ORDER BY order_id DESC").fetchone()
    assert paid is not None
    return rows[0][0], paid[0]


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


async def test_an_order_is_found_and_cancelled_by_keyboard_alone(open_page: Any, console: Console) -> None:
    """Without a script: past the bar on top by its first link, search, open, cancel, confirm."""
    page = await open_page(java_script_enabled=False)
    await page.goto(f"{console.url}/console")
    await expect(page.get_by_label("Name")).to_be_focused()
    await page.keyboard.type("ada")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="To the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.type(console.pending)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text(console.pending).first).to_be_visible()
    await tab_to(page, page.get_by_role("button", name="Cancel the order …"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Cancel this order?")).to_be_visible()
    await tab_to(page, page.get_by_role("button", name="Cancel this order"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    await expect(page.locator(".timeline")).to_contain_text("console:cok_")


@pytest.mark.parametrize(
    ("path", "name", "width_px", "scheme"),
    [
        ("/console/overview", "console-overview.png", 1200, "light"),
        ("/console/orders/{paid}", "console-order.png", 1200, "light"),
        ("/console/orders", "console-orders-phone.png", 390, "dark"),
    ],
)
async def test_pictures_for_the_readme(
    open_page: Any,
    console: Console,
    log_in: Any,
    tmp_path: Path,
    path: str,
    name: str,
    width_px: int,
    scheme: str,
) -> None:
    """`make screenshots` keeps them in docs/images. No personal data are in them: there are none."""
    sharp = 2 if width_px < 600 else 1
    page = await open_page(color_scheme=scheme, viewport={"width": width_px, "height": 900}, device_scale_factor=sharp)
    await log_in(page, console.url, "ada")
    await page.goto(f"{console.url}{path.format(paid=console.paid)}")
    picture = Path(os.environ.get("TALLYSTICK_PICTURES") or tmp_path) / name
    await page.screenshot(path=picture)
    assert picture.stat().st_size < 500_000


async def tab_to(page: Page, wanted: Any) -> None:
    """Press the tabulator until something has the focus."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("element => element.matches(':focus')"):
            return
    raise AssertionError("the keyboard does not lead there")


async def test_a_page_keeps_itself_new_while_somebody_looks(open_page: Any, console: Console, log_in: Any) -> None:
    """It asks again, and puts in place what changed; not while the tab is hidden, and not when told to leave it."""
    page = await open_page()
    await page.clock.install()
    await log_in(page, console.url, "ada")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{console.url}/console/cases")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await page.evaluate("document.querySelector('#rows td').textContent = 'old'")
    asked.clear()
    await page.clock.run_for(16_000)
    await expect(page.get_by_text("old", exact=True)).to_have_count(0)
    assert asked == [f"{console.url}/console/cases"]

    await page.evaluate(
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    asked.clear()
    await page.clock.run_for(60_000)
    assert asked == [], "nobody looks"
    await page.evaluate("delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))")
    await page.wait_for_timeout(200)
    assert len(asked) == 1, "whoever comes back sees what is"

    await page.get_by_role("button", name="Live").press("Enter")
    asked.clear()
    await page.clock.run_for(60_000)
    assert asked == [], "it was switched off"
