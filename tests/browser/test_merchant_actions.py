"""Every form of the merchant's console, sent by a real browser, and what the page shows afterwards (RULES §6, §12).

Behind it stand a merchant service with its workers and a gateway. A test says which forms it clicks; the fixture
`open_page` looks whether the browser has sent them, and the first test here whether any form is left out.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import psycopg
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tallystick.kernel.logins.users import add_user
from tallystick.kernel.operators.roles import Role
from tallystick.merchant.access import CONSOLE
from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.merchant.app import build, open_ports
from tallystick.merchant.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery"
PEOPLE = {"ada": Role.ADMIN, "ann": Role.FINANCE, "bob": Role.FINANCE, "eve": Role.AUDITOR}
SLOW = 3_000  # dead letters that a redrive needs a minute for, so that it can be stopped
WAIT_S = 60  # for what workers do, which takes them milliseconds on a machine that is not busy
VISA = "4242424242424242"


class Office:
    """A merchant service that runs, with one merchant, and who works there."""

    def __init__(self, dsn: str, url: str, merchant_id: str, connection_id: str, api_key: str) -> None:
        self.dsn, self.url, self.merchant_id, self.connection_id = dsn, url, merchant_id, connection_id
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._numbers = itertools.count(1)

    async def place(self, **fields: Any) -> dict[str, Any]:
        """An order of €25.00 that waits for its shopper."""
        return await self._call("POST", "/v1/orders", {"amount": 2500, "currency": "EUR", **fields})

    async def until(self, order: dict[str, Any], state: str) -> None:
        """Wait until the gateway has told what became of an order."""
        async with asyncio.timeout(WAIT_S):
            while (await self._call("GET", f"/v1/orders/{order['id']}"))["state"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def put(self, statement: str, *parameters: Any) -> None:
        """Change something that no click of this test brings about."""
        with psycopg.connect(self.dsn) as database:
            database.execute(statement.encode(), parameters)

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {**self._headers, "Idempotency-Key": f"key-{next(self._numbers)}"}
        async with aiohttp.request(method, f"{self.url}{path}", json=body, headers=headers) as answer:
            told: dict[str, Any] = await answer.json()
            assert answer.status < 300, told
            return told


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def office(
    merchant_supply: Any,
    gateway_supply: Any,
    run_gateway_on: Any,
    serve: Any,
    people_keys: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Office]:
    """One for all tests of this file."""
    folder = tmp_path_factory.mktemp("office")
    key, hook = folder / "key", folder / "hook"
    with merchant_supply.database() as dsn, gateway_supply.database() as behind, run_gateway_on(behind) as gateway:
        ports = await open_ports(Settings(database_dsn=dsn, **people_keys))
        made = await create_merchant(ports.database, ports.clock, ports.entropy, name="Tea & Sons", return_origins=[])
        key.write_text(gateway.test.secret_key)
        connection_id = await add_connection(
            ports.database,
            ports.clock,
            ports.entropy,
            merchant_id=made.merchant_id,
            url=gateway.url,
            secret_key_ref=f"file:{key}",
            webhook_secret_refs=[f"file:{hook}"],
        )
        for name, role in PEOPLE.items():
            await add_user(ports.database, name, PASSWORD, ports.clock, ports.entropy, role=role)
        service = build(Settings(database_dsn=dsn, **people_keys), ports)
        async with serve(service.asgi) as url:
            hook.write_text(await _registered(gateway, f"{url}/webhooks/{connection_id}"))
            workers = [asyncio.create_task(worker.run()) for worker in service.workers]
            yield Office(dsn, url, made.merchant_id, connection_id, made.api_key)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        await ports.close()


async def _registered(gateway: Any, address: str) -> str:
    """The gateway tells the merchant service from now on; the secret by which it signs."""
    form = {"url": address, "enabled_events[]": "*"}
    headers = {"Authorization": f"Bearer {gateway.test.secret_key}"}
    asked = aiohttp.request("POST", f"{gateway.url}/v1/webhook_endpoints", data=form, headers=headers)
    async with asked as answer:
        return str((await answer.json())["secret"])


async def test_no_form_is_left_out(forms: Any, clicked_in: Any) -> None:
    """Whoever adds one adds a click, and its route to the list of the test that clicks it."""
    assert clicked_in(globals()) == forms(CONSOLE)


async def click(page: Page, button: str) -> None:
    """Press a button of the page itself."""
    await page.locator("main").get_by_role("button", name=button).click()


async def go(page: Page, name: str) -> None:
    """To a page of the bar on top."""
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()


async def search(page: Page, office: Office, sought: str) -> None:
    await page.goto(f"{office.url}/console/orders")
    await page.get_by_label("Search").fill(sought)
    await click(page, "Search")


@pytest.mark.clicks(
    "POST /console/login",
    "POST /console/search",
    "POST /console/orders/{order}/cancel",
    "POST /console/orders/{order}/pay-again",
    "POST /console/orders/{order}/refund",
)
async def test_an_order_is_cancelled_paid_again_and_given_back(
    open_page: Any, office: Office, log_in: Any, fill_card: Any, for_everyone: Any
) -> None:
    """By whoever may; the shopper pays in the same browser. More than is left is refused, and nothing is done."""
    order, page = await office.place(reference="basket-17"), await open_page()
    await log_in(page, office.url, "ada")
    await search(page, office, "basket-17")
    await page.locator("main").get_by_role("link", name=order["id"][-12:]).click()

    await click(page, "Cancel the order …")
    await expect(page.get_by_role("heading", name="Cancel this order?")).to_be_visible()
    await for_everyone(page)
    await page.get_by_role("link", name="No, back").click()
    await expect(page.locator("#standing")).to_contain_text("PENDING")
    await click(page, "Cancel the order …")
    await click(page, "Cancel this order")
    await office.until(order, "CANCELED")
    await page.reload()
    await expect(page.locator("#standing")).to_contain_text("CANCELED")

    await click(page, "Let the shopper pay again …")
    await click(page, "Let the shopper pay again")
    await expect(page.locator("#standing")).to_contain_text("Attempt 2")
    await expect(page.locator("#standing")).to_contain_text("PENDING")

    shopper = await open_page()
    await shopper.goto(str(await page.get_by_role("link", name="the shopper's page").get_attribute("href")))
    await fill_card(shopper, VISA)
    await shopper.get_by_role("button", name="Pay").click()
    await office.until(order, "PAID")

    await page.goto(f"{office.url}/console/orders/{order['id']}")
    await expect(page.locator("#standing")).to_contain_text("PAID")
    refund = f"/console/orders/{order['id']}/refund"
    await page.get_by_label("Amount in EUR").fill("99.00")
    await click(page, "Give money back …")
    await expect(page.get_by_text("€99.00 go back")).to_be_visible()
    await click(page, "Give money back")
    await expect(page.get_by_role("heading", name="That was not done")).to_be_visible()
    open_page.refused(409, refund)
    await for_everyone(page)
    await page.locator("main").get_by_role("link", name="Back").click()
    await page.get_by_label("Amount in EUR").fill("x")
    await click(page, "Give money back …")
    await expect(page.get_by_role("alert")).to_contain_text("The amount cannot be read")
    open_page.refused(422, refund)
    await page.locator("main").get_by_role("link", name="Back").click()
    await page.get_by_label("Amount in EUR").fill("7.00")
    await click(page, "Give money back …")
    await click(page, "Give money back")
    await expect(page.locator("#standing")).to_contain_text("€7.00")
    await expect(page.locator(".timeline")).to_contain_text("console:cok_")


@pytest.mark.clicks("POST /console/inbox/run")
async def test_webhooks_that_came_to_nothing_are_tried_again(
    open_page: Any, office: Office, log_in: Any, for_everyone: Any
) -> None:
    """Those that fit the filters, after the page has said how many."""
    for n in range(3):
        office.put(
            "INSERT INTO inbox (merchant_id, connection_id, event_id, type, state, tries, received_at, raw)"
            " VALUES (%s, %s, %s, %s, 'parked', 6, now(), %s)",
            office.merchant_id,
            office.connection_id,
            f"evt_{n}",
            "charge.refunded" if n else "charge.updated",
            b'{"id": "evt", "type": "charge.refunded", "data": {"object": {}}}',
        )
    page = await open_page()
    await log_in(page, office.url, "ada")
    await go(page, "Inbound")
    await page.get_by_label("Type").fill("charge.refunded")
    await click(page, "Filter")
    await expect(page.locator("#rows code")).to_have_count(2)
    await click(page, "Try what fits again …")
    await expect(page.get_by_role("heading", name="Try 2 webhooks again?")).to_be_visible()
    await for_everyone(page)
    await click(page, "Try again")
    await expect(page.locator(".told")).to_have_text("2 webhooks are tried again now.")


@pytest.mark.clicks("POST /console/redrives", "POST /console/redrives/{redrive}/cancel")
async def test_dead_letters_are_redriven(open_page: Any, office: Office, log_in: Any, for_everyone: Any) -> None:
    """One, and those that fit; and a redrive that is under way is stopped."""
    office.put(
        "INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, tries, due_at, reason,"
        " created_at, finished_at) SELECT %s, 'dlv_' || n, true, 'evt_' || n, 'v', 'nep_1', 'dead', 1, now(),"
        " CASE WHEN n < 2 THEN 'http_500' ELSE 'timeout' END, now(), now() FROM generate_series(0, %s) AS n",
        office.merchant_id,
        SLOW,
    )
    page = await open_page()
    await log_in(page, office.url, "ada")
    for field, value, found in (("Delivery", "dlv_0", 1), ("Reason", "http_500", 1), ("Reason", "timeout", SLOW - 1)):
        await go(page, "Dead letters")
        await page.get_by_label(field).fill(value)
        await click(page, "Filter")
        await expect(page.locator("#rows")).to_contain_text("dlv_")
        await click(page, "Redrive what fits …")
        letters = "1 dead letter" if found == 1 else f"{found} dead letters"
        await expect(page.get_by_role("heading", name=f"Redrive {letters}?")).to_be_visible()
        if found > 1:
            await for_everyone(page)
        await click(page, "Redrive")
        if found == 1:
            await expect(page.locator("#progress")).to_contain_text("1 of 1 dead letters, done", timeout=WAIT_S * 1000)
    await page.wait_for_url("**/console/redrives/*")
    await for_everyone(page)
    await click(page, "Stop it")
    await expect(page.locator("#progress")).to_contain_text(f"of {SLOW - 1} dead letters, canceled")
    await expect(page.locator("main").get_by_role("button", name="Stop it")).to_have_count(0)


@pytest.mark.clicks(
    "POST /console/merchants/{merchant}/cases/{case}/proposals",
    "POST /console/merchants/{merchant}/cases/{case}/approve",
    "POST /console/merchants/{merchant}/cases/{case}/reject",
)
async def test_a_case_takes_two_people(open_page: Any, office: Office, log_in: Any, for_everyone: Any) -> None:
    """One proposes, another rejects, one proposes again, another approves."""
    office.put(
        "INSERT INTO cases (merchant_id, case_id, kind, subject, state, details, opened_at) VALUES (%s, 'cas_1',"
        " 'webhook_unmatched', 'con_1:pi_1', 'open', '{\"event\": \"evt_1\"}', now())",
        office.merchant_id,
    )
    ann, bob = await open_page(), await open_page()
    await log_in(ann, office.url, "ann")
    await log_in(bob, office.url, "bob")
    case = f"{office.url}/console/merchants/{office.merchant_id}/cases/cas_1"
    for note in ("I think so", "It was another shop's"):
        await ann.goto(f"{office.url}/console/cases")
        await ann.get_by_role("link", name="webhook unmatched").first.click()
        await ann.get_by_label("Why").fill(note)
        await click(ann, "Propose")
        await expect(ann.get_by_role("note")).to_have_text("You proposed this. Another person must approve it.")
        await bob.goto(case)
        await expect(bob.get_by_role("region", name="Proposals")).to_contain_text(note)
        if note == "I think so":
            await click(bob, "Reject")
            await expect(bob.get_by_role("region", name="Proposals")).to_contain_text("rejected")
    await click(bob, "Approve …")
    await expect(bob.get_by_text("ann proposed it: It was another shop's")).to_be_visible()
    await for_everyone(bob)
    stale = await open_page()
    await log_in(stale, office.url, "ada")
    await stale.goto(case)
    await click(bob, "Approve and do it")
    await expect(bob.get_by_role("heading", name="Webhook unmatched")).to_contain_text("closed")
    await click(stale, "Reject")  # of a page that was left open
    await expect(stale.get_by_role("heading", name="That was not done")).to_be_visible()
    open_page.refused(409, f"/console/merchants/{office.merchant_id}/cases/cas_1/reject")


@pytest.mark.clicks("POST /console/customers/search", "POST /console/merchants/{merchant}/customers/{customer}/erase")
async def test_a_person_is_found_and_erased(open_page: Any, office: Office, log_in: Any, for_everyone: Any) -> None:
    """By what they are called; what is seen of them is what the purpose grants, and after that there is nothing."""
    order = await office.place(customer={"email": "ann@shop.example", "name": "Ann Example"})
    page = await open_page()
    await log_in(page, office.url, "ada")
    await search(page, office, "ann@shop.example")
    await expect(page.get_by_role("region", name="Customers")).to_contain_text(order["customer"])
    await go(page, "Customers")
    await page.get_by_label("E-mail or phone").fill("ann@shop.example")
    await click(page, "Find")
    await page.get_by_role("link", name=order["customer"]).click()
    await click(page, "Filter")
    await expect(page.locator("main")).to_contain_text("Ann Example")
    await click(page, "Erase this customer …")
    await expect(page.get_by_role("heading", name="Erase this customer?")).to_be_visible()
    await for_everyone(page)
    await click(page, "Erase for ever")
    await expect(page.get_by_role("heading", name="Customer")).to_be_visible()
    await click(page, "Filter")
    await expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    await for_everyone(page)
    of_merchant = f"/console/merchants/{office.merchant_id}"
    open_page.refused(404, f"{of_merchant}/customers/{order['customer']}?purpose=support")
    await page.goto(f"{office.url}{of_merchant}/accesses")
    await expect(page.get_by_role("region", name="Accesses")).to_contain_text(order["customer"])


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
