"""The demo's shop as a person uses it: a real browser, both ways to pay."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tallystick.demo.shoppers import VISA

TEST_BOUND_S = 180
PAGE_DEADLINE_MS = 60_000

pytestmark = pytest.mark.browser


async def test_hosted_and_embedded_payment(processes: Any, chromium: str, tmp_path: Path) -> None:
    base = processes.free_ports(1)[0]
    arguments = ("demo", "--json", "--no-shoppers", "--data-dir", str(tmp_path), "--port-base", str(base))
    async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments) as demo:
        line = await demo.line()
        async with async_playwright() as playwright:
            options = ["--no-sandbox", "--disable-background-networking"]
            browser = await playwright.chromium.launch(executable_path=chromium, args=options)
            await _pay_on_the_hosted_page(browser, line)
            await _pay_on_the_embedded_page(browser, line)
            await browser.close()
        assert await demo.stop() == 0


async def _pay_on_the_hosted_page(browser: Browser, line: dict[str, Any]) -> None:
    page, complaints = await _at_the_check_out(browser, line)
    await page.click("button[value=hosted]")
    await page.wait_for_url(f"{line['gateway']['url']}/pay/**")
    await page.fill("[autocomplete=cc-number]", VISA)
    await page.fill("[autocomplete=cc-exp]", "12/34")
    await page.fill("[autocomplete=cc-csc]", "123")
    await page.click("form.card button")
    await _paid(page, line)
    assert complaints == []


async def _pay_on_the_embedded_page(browser: Browser, line: dict[str, Any]) -> None:
    page, complaints = await _at_the_check_out(browser, line)
    await page.click("button[value=embedded]")
    frame = page.frame_locator("#checkout iframe")
    await frame.locator("[autocomplete=cc-number]").fill(VISA)
    await frame.locator("[autocomplete=cc-exp]").fill("12/34")
    await frame.locator("[autocomplete=cc-csc]").fill("123")
    assert page.url.startswith(line["shop"]["url"]), "the shopper never left the shop"
    await frame.locator("form.card button").click()
    await _paid(page, line)
    assert complaints == []


async def _at_the_check_out(browser: Browser, line: dict[str, Any]) -> tuple[Page, list[str]]:
    """A fresh visitor with one thing in the basket, and what the browser will complain about (policies, errors)."""
    context = await browser.new_context(ignore_https_errors=True)  # the demo's authority is not this browser's
    page = await context.new_page()
    page.set_default_timeout(PAGE_DEADLINE_MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(line["shop"]["url"])
    await page.click("form[action='/basket/cloth'] button")
    await page.click("a[href='/basket']")
    return page, complaints


async def _paid(page: Page, line: dict[str, Any]) -> None:
    """Back in the shop, the order's page says PAID, as the merchant service does."""
    await page.wait_for_url(f"{line['shop']['url']}/orders/NH-*")
    await page.wait_for_selector("[data-state=PAID]")
