"""Every form of the gateway's console, sent by a real browser, and what the page shows afterwards (RULES §3, §6, §12).

Behind it stands a gateway with its workers. A test says which forms it clicks; the fixture `open_page` looks whether
the browser has sent them, and the first test here whether any form is left out.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.async_api import Page, expect

from tallystick.gateway.access import CONSOLE, CONSOLE_SANDBOX
from tallystick.kernel.logins.users import add_user
from tallystick.kernel.operators.roles import Role
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery"
PEOPLE = {"ada": Role.ADMIN, "eve": Role.AUDITOR}
SLOW = 3_000  # dead letters that a redrive needs a minute for, so that it can be stopped
WAIT_MS = 60_000  # for what workers do, which takes them milliseconds on a machine that is not busy


class Office:
    """A gateway that runs, and one of its accounts."""

    def __init__(self, gateway: Any, shop: Any) -> None:
        self.url, self.dsn, self.account = gateway.url, gateway.dsn, gateway.account_id
        self._shop = shop

    async def pay(self, method: str = "pm_card_visa", **fields: str) -> str:
        """A payment of €25.00 that was tried with a card; its id."""
        form = {"amount": "2500", "currency": "eur", "payment_method": method, "confirm": "true", **fields}
        answer = await asyncio.to_thread(self._shop.post, "/v1/payment_intents", form)
        return str(answer.json["id"])

    def put(self, statement: str, *parameters: Any) -> None:
        """Change something that no click of this test brings about."""
        with psycopg.connect(self.dsn) as database:
            database.execute(statement.encode(), parameters)


@pytest.fixture(scope="module")
def office(gateway_supply: Any, run_gateway_on: Any, client: Any) -> Iterator[Office]:
    """One for all tests of this file, whose time may be moved."""
    with gateway_supply.database() as dsn, run_gateway_on(dsn, sandbox_clock=True) as gateway:
        asyncio.run(_employ(dsn))
        yield Office(gateway, client(gateway.url, gateway.test.secret_key))


async def _employ(dsn: str) -> None:
    database = await open_database(dsn, connections_max=2)
    try:
        for name, role in PEOPLE.items():
            await add_user(database, name, PASSWORD, SystemClock(), SystemEntropy(), role=role)
    finally:
        await database.close()


async def test_no_form_is_left_out(forms: Any, clicked_in: Any) -> None:
    """Whoever adds one adds a click, and its route to the list of the test that clicks it."""
    assert clicked_in(globals()) == forms({**CONSOLE, **CONSOLE_SANDBOX})


async def click(page: Page, button: str) -> None:
    """Press a button of the page itself."""
    await page.locator("main").get_by_role("button", name=button, exact=True).click()


async def go(page: Page, name: str) -> None:
    """To a page of the bar on top."""
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()


@pytest.mark.clicks(
    "POST /console/login",
    "POST /console/payments/{payment_id}/refund",
    "POST /console/payments/{payment_id}/cancel",
    "POST /console/payments/{payment_id}/inquire",
)
async def test_money_goes_back_and_the_bank_is_asked(
    open_page: Any, office: Office, log_in: Any, for_everyone: Any
) -> None:
    paid, held, lost = (
        await office.pay(),
        await office.pay(capture_method="manual"),
        await office.pay("pm_card_timeoutApproved"),
    )
    office.put("UPDATE charge SET due_at = due_at + interval '1 day' WHERE payment_intent = %s", lost)
    page = await open_page()
    await log_in(page, office.url, "ada")
    await page.goto(f"{office.url}/console/payments/{lost}")
    await click(page, "Ask the bank now")
    await expect(page.get_by_text("The bank was asked, and has told.")).to_be_visible()
    await expect(page.locator(".facts")).to_contain_text("succeeded")

    await page.goto(f"{office.url}/console/payments/{paid}")
    await page.get_by_label("Amount in EUR").fill("99.00")
    await click(page, "Give money back …")
    await expect(page.get_by_text("€99.00 go back")).to_be_visible()
    await for_everyone(page)
    await click(page, "Give money back")
    await expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    open_page.refused(409, f"/console/payments/{paid}/refund")
    await for_everyone(page)
    await page.goto(f"{office.url}/console/payments/{paid}")
    await page.get_by_label("Amount in EUR").fill("7.00")
    await click(page, "Give money back …")
    await click(page, "Give money back")
    await expect(page.get_by_role("region", name="Refunds")).to_contain_text("€7.00")

    await page.goto(f"{office.url}/console/payments/{held}")
    await click(page, "Cancel the payment …")
    await page.get_by_role("link", name="No, back").click()
    await expect(page.locator(".facts")).to_contain_text("requires_capture")
    await click(page, "Cancel the payment …")
    await click(page, "Cancel the payment")
    await expect(page.locator(".facts")).to_contain_text("canceled")


@pytest.mark.clicks("POST /console/redrives", "POST /console/redrives/{redrive_id}/cancel")
async def test_dead_letters_are_redriven(open_page: Any, office: Office, log_in: Any, for_everyone: Any) -> None:
    """One, and those that fit; and a redrive that is under way is stopped."""
    office.put(
        "INSERT INTO webhook_endpoint (account_id, livemode, id, url, status, enabled_events, secrets, created_at)"
        " VALUES (%s, false, 'we_1', 'http://127.0.0.1:1/', 'disabled', '{*}', '{whsec_eA==}', now())",
        office.account,
    )
    office.put(
        "INSERT INTO event (account_id, livemode, id, type, object_id, object, created_at) SELECT %s, false,"
        " 'evt_' || n, 'charge.updated', 'ch_1', '{}', now() FROM generate_series(0, %s) AS n",
        office.account,
        SLOW,
    )
    office.put(
        "INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, tries, due_at, reason,"
        " created_at, finished_at) SELECT %s, 'dlv_' || n, false, 'evt_' || n, 'v', 'we_1', 'dead', 1, now(),"
        " CASE WHEN n < 2 THEN 'http_50' || n ELSE 'timeout' END, now(), now() FROM generate_series(0, %s) AS n",
        office.account,
        SLOW,
    )
    office.put(
        "INSERT INTO delivery_attempt (owner_id, delivery, number, started_at, duration_ms, status, reason, answer)"
        " VALUES (%s, 'dlv_0', 1, now(), 12, 500, 'http_500', 'down for repair')",
        office.account,
    )
    page, nobody = await open_page(), await open_page()
    await nobody.goto(f"{office.url}/console/dead-letters")
    await expect(nobody.get_by_role("heading", name="Log in")).to_be_visible()
    await log_in(page, office.url, "ada")
    for reason, found in (("http_500", 1), ("http_501", 1), ("timeout", SLOW - 1)):
        await go(page, "Dead letters")
        await page.get_by_label("Reason").fill(reason)
        await click(page, "Filter")
        if reason == "http_500":
            await page.get_by_role("link", name="dlv_0", exact=True).click()
            await expect(page.get_by_text("down for repair")).to_be_visible()
            await click(page, "Redrive it …")
        else:
            await click(page, "Redrive what fits …")
        letters = "1 dead letter" if found == 1 else f"{found} dead letters"
        await expect(page.get_by_role("heading", name=f"Redrive {letters}?")).to_be_visible()
        if found > 1:
            await for_everyone(page)
        await click(page, "Redrive")
        if found == 1:
            await expect(page.get_by_text("1 of 1 dead letters, done")).to_be_visible(timeout=WAIT_MS)
    await page.wait_for_url("**/console/redrives/*")
    await for_everyone(page)
    await click(page, "Stop it")
    await expect(page.get_by_text(f"of {SLOW - 1} dead letters, canceled")).to_be_visible()
    await expect(page.locator("main").get_by_role("button", name="Stop it")).to_have_count(0)


@pytest.mark.clicks(
    "POST /console/unknown-outcomes/{object_id}/resolve",
    "POST /console/cases/{case_id}/close",
)
async def test_what_only_a_person_knows_is_said(open_page: Any, office: Office, log_in: Any, for_everyone: Any) -> None:
    """What the bank did, with evidence, which a page that was left open cannot say twice; and what was done about a
    case."""
    paid, lost = await office.pay(), await office.pay("pm_card_timeoutApproved")
    office.put("UPDATE charge SET due_at = due_at + interval '1 day' WHERE payment_intent = %s", lost)
    office.put(
        "INSERT INTO cases (account_id, livemode, id, kind, subject, payment_intent, charge, amount, currency,"
        " opened_at) SELECT account_id, false, 'cas_1', 'over_refunded', 're_1', payment_intent, id, 700, 'EUR', now()"
        " FROM charge WHERE payment_intent = %s",
        paid,
    )
    page, stale = await open_page(), await open_page()
    await log_in(page, office.url, "ada")
    await log_in(stale, office.url, "ada")
    for each in (page, stale):
        await go(each, "Unknown outcomes")
        await each.get_by_text("Say what became of").click()
        await each.get_by_label("The acquirer").select_option("refused")
        await each.get_by_label("How do you know?").fill("their list of the day")
    address = await stale.locator("form[action$='/resolve']").get_attribute("action")
    await click(page, "Record it")
    await expect(page.get_by_text("There are none.")).to_be_visible()
    await click(stale, "Record it")
    await expect(stale.get_by_role("heading", name="That did not work")).to_be_visible()
    open_page.refused(409, address)
    await for_everyone(stale)

    await go(page, "Cases")
    await page.get_by_text("Close cas_1").click()
    await page.get_by_label("What was done about it?").fill("the shop was asked")
    await click(page, "Close the case")
    await expect(page.get_by_role("link", name=paid)).to_have_count(0)
    await page.get_by_label("State").select_option("closed")
    await click(page, "Filter")
    await expect(page.get_by_role("region", name="Cases")).to_contain_text("the shop was asked")


@pytest.mark.clicks("POST /console/faults", "POST /console/faults/clear", "POST /console/faults/{fault_id}/clear")
async def test_faults_are_set_and_cleared(open_page: Any, office: Office, log_in: Any, for_everyone: Any) -> None:
    """One at each place of an account that nobody pays at; what cannot be set is told."""
    page = await open_page()
    await log_in(page, office.url, "ada")
    await go(page, "Sandbox")
    for kind, calls in (("At acquirer", "x"), ("At acquirer", "3"), ("At webhooks", "3"), ("At api", "3")):
        details = page.locator("details").filter(has=page.get_by_text(kind, exact=True))
        await details.locator("summary").click()
        await details.get_by_label("Account, or none for all").fill("acct_nobody")
        await details.get_by_label("Calls, or none until").fill(calls)
        await details.get_by_role("button", name="Set it").click()
        if calls == "x":
            await expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
            open_page.refused(422, "/console/faults")
            await go(page, "Sandbox")
    faults = page.get_by_role("region", name="Faults")
    await expect(faults.get_by_role("button", name="Clear")).to_have_count(3)
    await for_everyone(page)
    await faults.get_by_role("button", name="Clear").first.click()
    await expect(faults.get_by_role("button", name="Clear")).to_have_count(2)
    await click(page, "Clear all")
    await expect(page.get_by_text("None is set.")).to_be_visible()


@pytest.mark.clicks(
    "POST /console/account/password",
    "POST /console/account/second-factor",
    "POST /console/account/second-factor/confirm",
    "POST /console/account/second-factor/remove",
    "POST /console/account/logout-everywhere",
    "POST /console/logout",
)
async def test_people_keep_their_own_account(open_page: Any, office: Office, log_in: Any, keep_an_account: Any) -> None:
    """Without a script."""
    page = await open_page(java_script_enabled=False)
    await log_in(page, office.url, "eve")
    await keep_an_account(page, open_page, "eve")


@pytest.mark.clicks("POST /console/clock", "POST /console/settlements", "POST /console/settlements/correct")
async def test_a_day_ends_and_is_closed_and_corrected(open_page: Any, office: Office, log_in: Any) -> None:
    """Without a script. The last test of this file, since the time goes on for all."""
    await office.pay()
    page = await open_page(java_script_enabled=False)
    await log_in(page, office.url, "ada")
    await go(page, "Sandbox")
    time = page.locator("#time")
    before = await time.inner_text()
    await click(page, "A day on")
    async with asyncio.timeout(WAIT_MS / 1000):
        while "on its way" in (now := await time.inner_text()) or now == before:
            await page.reload()
    today, tomorrow = before[6:16], now[6:16]
    assert today < tomorrow

    settlements = f"{office.url}/console/settlements?account={office.account}"
    await page.goto(settlements)
    form = page.locator("form[action='/console/settlements']").filter(has=page.get_by_role("button", name="Close them"))
    await page.get_by_text("Close days that have ended").click()
    await form.get_by_label("Up to").fill(today)
    await click(page, "Close them")
    reports = page.get_by_role("region", name="Reports")
    await expect(reports).to_contain_text(today)
    await page.get_by_text("Correct reports").click()
    await page.locator("form[action='/console/settlements/correct']").get_by_label("From the day on").fill("soon")
    await click(page, "Write new revisions")
    await expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    open_page.refused(422, "/console/settlements/correct")
    await page.goto(settlements)
    await page.get_by_text("Correct reports").click()
    await page.locator("form[action='/console/settlements/correct']").get_by_label("From the day on").fill(today)
    await click(page, "Write new revisions")
    await expect(page.get_by_role("region", name="Reports")).to_contain_text(today)
    await page.goto(f"{office.url}/console/audit?act=settlements")
    await expect(page.get_by_role("region", name="Acts")).to_contain_text("POST /console/settlements/correct")
