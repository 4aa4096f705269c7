"""A real browser, the real gateway over real HTTP, and a shop on another origin (127.0.0.1 and 127.0.0.2 are two)."""

import asyncio
import base64
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import stripe
import trustme
import uvicorn
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, FrameLocator, Page, async_playwright, expect

from tallystick.kernel.console.access import LOGIN
from tallystick.kernel.logins.totp import STEP_S, code_at
from tallystick.kernel.operators.roles import Access
from tallystick.ports.clock import SystemClock

BROWSER_ARGUMENTS = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
SHOP_HOST = "127.0.0.2"
HERE = Path(__file__).parent
INSTALL_S = 240
SERIOUS = ("serious", "critical")
EXAMINE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .map(({id, impact, nodes}) => ({id, impact, where: nodes.map(node => node.target.join(" ")).slice(0, 5)}))"""
PASSWORD = "correct horse battery"
PHONE_PX = 360
PAGE_BYTES_MAX = 200_000
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
STEP_TIMEOUT_MS = 15_000  # a page of ours is there in milliseconds; this is for machines under load


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One browser for all tests; each test has contexts of its own."""
    expect.set_options(timeout=STEP_TIMEOUT_MS)
    arguments = [*BROWSER_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def axe(node: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core as npm has it, locked: its text, to be evaluated in a page, which no policy of the page keeps out."""
    folder = tmp_path_factory.mktemp("axe")
    for name in (".npmrc", "package.json", "package-lock.json"):
        shutil.copy(HERE / "node" / name, folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--prefer-offline"]
    subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_S)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def examine(axe: str) -> Callable[[Page], Awaitable[list[Any]]]:
    """What axe-core finds serious on a page as it stands, and where: `await examine(page) == []`."""

    async def examine(page: Page) -> list[Any]:
        await page.evaluate(axe)
        return [each for each in await page.evaluate(EXAMINE) if each["impact"] in SERIOUS]

    return examine


@pytest.fixture(scope="session")
def serve() -> Callable[[Any], AbstractAsyncContextManager[str]]:
    """Serves an ASGI application in the tests' own loop: `async with serve(application) as url`."""

    @asynccontextmanager
    async def serve(application: Any) -> AsyncIterator[str]:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag alone
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = server.force_exit = True
        await serving

    return serve


class Opening:
    """Opens pages in fresh contexts, and keeps what they were answered and what they complained about.

    What a page's policy blocks, a script that fails and a file that is missing all stand in the browser's console. It
    complains about every status of 400 and more as well: one that the test asked for, it names by `refused`.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._refused: set[tuple[int, str]] = set()
        self._complained: set[tuple[int, str]] = set()
        self.answers: list[tuple[str, str, int]] = []
        """Method, address without the origin, and status."""
        self.complaints: list[str] = []

    async def __call__(self, **options: Any) -> Page:
        context = await self._browser.new_context(**{"locale": "en-US", **options})
        context.set_default_timeout(STEP_TIMEOUT_MS)
        self._contexts.append(context)
        page = await context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", lambda answer: self._note(answer.request.method, answer.url, answer.status))
        return page

    def refused(self, status: int, address: str) -> None:
        """What is at an address was answered with this status, as the test expects."""
        assert status in [told for _, asked, told in self.answers if asked == address], (status, address)
        self._refused.add((status, address))

    async def close(self) -> None:
        """Close all, and see that nothing was complained about but what the test named."""
        for context in self._contexts:
            await context.close()
        assert self.complaints == []
        assert self._complained <= self._refused

    def _note(self, method: str, url: str, status: int) -> None:
        self.answers.append((method, _address(url), status))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        status = re.search(r"responded with a status of (4[0-9]{2})", message.text)
        address = _address(message.location["url"])
        if status is None:
            self.complaints.append(message.text)
        elif address != "/favicon.ico":  # asked for where something is shown that is no page, such as a script
            self._complained.add((int(status[1]), address))


def _address(url: str) -> str:
    """What follows the origin."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Opening]:
    """Opens pages; at the end of the test none of them may have complained about anything (`Opening`), and the browser
    must have sent every form that the test says it clicks (`@pytest.mark.clicks("POST /console/…")`)."""
    opening = Opening(browser)
    yield opening
    await opening.close()
    done = [f"{method} {address.partition('?')[0]}" for method, address, status in opening.answers if status < 400]
    for mark in request.node.iter_markers("clicks"):
        for route in mark.args:
            assert any(re.fullmatch(re.sub(r"{\w+}", r"[^/]+", route), one) for one in done), f"not clicked: {route}"


@pytest.fixture(scope="session")
def clicked_in() -> Callable[[dict[str, Any]], set[str]]:
    """The routes that the tests of a module say they click: `clicked_in(globals())`."""

    def clicked_in(module: dict[str, Any]) -> set[str]:
        marks = [mark for one in module.values() for mark in getattr(one, "pytestmark", [])]
        return {route for mark in marks if mark.name == "clicks" for route in mark.args}

    return clicked_in


@pytest.fixture(scope="session")
def forms() -> Callable[[Access], set[str]]:
    """The routes of a console that are forms. A service does not start whose routes are not those of its table."""

    def forms(access: Access) -> set[str]:
        return {f"POST {LOGIN}", *(route for route in access if route.startswith("POST "))}

    return forms


@pytest.fixture(scope="session")
def unseen() -> Callable[[Access, Iterable[str]], set[str]]:
    """The pages of a console that none of these addresses leads to."""

    def unseen(access: Access, addresses: Iterable[str]) -> set[str]:
        paths = [address.partition("?")[0] for address in addresses]
        pages = {route.removeprefix("GET ") for route in access if route.startswith("GET ")}
        return {one for one in pages if not any(re.fullmatch(re.sub(r"{\w+}", r"[^/]+", one), path) for path in paths)}

    return unseen


@pytest.fixture(scope="session")
def log_in() -> Callable[[Page, str, str], Awaitable[None]]:
    """Logs in at a console: `await log_in(page, url, name)`."""

    async def log_in(page: Page, url: str, name: str) -> None:
        await page.goto(f"{url}/console")
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("button", name="Log out")).to_be_visible()

    return log_in


@pytest.fixture(scope="session")
def for_everyone(examine: Callable[[Page], Awaitable[list[Any]]]) -> Callable[[Page], Awaitable[None]]:
    """A page as it stands is for everyone: on a phone, light and dark, examined by axe-core; and it is small."""

    async def for_everyone(page: Page) -> None:
        before = page.viewport_size
        assert before is not None
        await page.set_viewport_size({"width": PHONE_PX, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE_PX
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert await examine(page) == [], scheme
        assert len(await page.content()) < PAGE_BYTES_MAX
        await page.set_viewport_size(before)

    return for_everyone


@pytest.fixture(scope="session")
def keep_an_account() -> Callable[[Page, Opening, str], Awaitable[None]]:
    """What people do about their own account, which is the same in both consoles: another password, a second factor
    and away with it, out everywhere, in again, out. Whoever is logged in has PASSWORD."""

    async def keep_an_account(page: Page, opening: Opening, name: str) -> None:
        other = f"{PASSWORD} staple"
        await page.get_by_role("link", name=name, exact=True).click()
        form = page.locator("form[action='/console/account/password']")
        for typed in (PASSWORD, other):  # the first time the new one is typed twice, and differently
            await form.get_by_label("Password", exact=True).fill(PASSWORD)
            await form.get_by_label("New password").fill(other)
            await form.get_by_label("The new one again").fill(typed)
            await form.get_by_role("button", name="Change it").click()
            if typed == PASSWORD:
                await expect(page.get_by_role("alert")).to_contain_text("not typed the same twice")
                opening.refused(422, "/console/account/password")
        await expect(page.get_by_role("alert")).to_have_count(0)

        await page.locator("form[action='/console/account/second-factor']").get_by_label("Password").fill(other)
        await page.get_by_role("button", name="Show me the secret").click()
        secret = base64.b32decode((await page.locator(".secret").inner_text()).replace(" ", ""))
        await page.get_by_label("The code that the app shows now").fill(_code(secret, 0))
        await page.get_by_role("button", name="Turn it on").click()
        await expect(page.get_by_role("heading", name="Remove the second factor")).to_be_visible()
        form = page.locator("form[action='/console/account/second-factor/remove']")
        await form.get_by_label("Password").fill(other)
        await form.get_by_label("Code").fill(_code(secret, 1))  # each code serves once
        await form.get_by_role("button", name="Remove it").click()
        await expect(page.get_by_role("heading", name="Add a second factor")).to_be_visible()

        await page.get_by_role("button", name="Log out everywhere").click()
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("Password").fill(other)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("button", name="Log out", exact=True).click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        await page.goto(page.url.replace("/login", "/account"))
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()

    return keep_an_account


def _code(secret: bytes, steps: int) -> str:
    """What an authenticator app shows, so many steps of time from now."""
    return code_at(secret, int(SystemClock().now().timestamp()) // STEP_S + steps)


class Shop:
    """A merchant's pages: a landing page for everything, and one that embeds the payment page."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        self.origin = ""
        self.embedding: dict[str, str] = {}

    async def land(self, request: web.Request) -> web.Response:
        self.visits.append(request.path_qs)
        return _document("<h1>Thank you for shopping</h1>")

    async def embed(self, _request: web.Request) -> web.Response:
        """As the documentation says it: one script tag, one call."""
        return _document(
            '<h1>Your basket</h1><div id="checkout"></div>'
            f'<script src="{escape(self.embedding["gateway"])}/js/v1"></script>'
            "<script>window.outcomes = []; window.messages = [];"
            "addEventListener('message', ({origin, data}) => messages.push({origin, data}));"
            "(async () => {"
            f"const tallystick = Tallystick({self.embedding['key']!r});"
            f"const fetchClientSecret = async () => {self.embedding['secret']!r};"
            "const onComplete = () => outcomes.push('complete');"
            f"window.checkout = await tallystick.{self.embedding['call']}({{fetchClientSecret, onComplete}});"
            "checkout.mount('#checkout');"
            "})();</script>"
        )


def _document(body: str) -> web.Response:
    text = (
        f'<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><body>{body}</body></html>'
    )
    return web.Response(text=text, content_type="text/html")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shop() -> AsyncIterator[Shop]:
    """The shop, served on an origin of its own."""
    shop = Shop()
    application = web.Application()
    application.router.add_get("/embed", shop.embed)
    application.router.add_get("/{path:.*}", shop.land)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, SHOP_HOST, 0)
    await site.start()
    shop.origin = f"http://{SHOP_HOST}:{runner.addresses[0][1]}"
    yield shop
    await runner.cleanup()


class Merchant:
    """A merchant's server at the gateway, by the official SDK: opens sessions and looks at what became of them."""

    def __init__(self, running: Any, url: str, shop: Shop) -> None:
        self.url = url
        self.publishable_key = running.test.publishable_key
        self._client = stripe.StripeClient(running.test.secret_key, base_addresses={"api": running.url})
        self._shop = shop

    async def session(self, items: int = 1) -> Any:
        """A hosted session over €25.00 in so many positions."""
        urls = {
            "success_url": f"{self._shop.origin}/thanks?session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{self._shop.origin}/basket",
        }
        return await self._create(items, urls)

    async def customer(self) -> str:
        """A shopper who may come back."""
        made = await asyncio.to_thread(self._client.v1.customers.create, {"name": "Ada Lovelace"})
        return str(made.id)

    async def session_of(self, customer: str) -> Any:
        """A hosted session of a shopper, who is asked whether to save the card."""
        asked = {"payment_method_save": "enabled"}
        urls = {"success_url": f"{self._shop.origin}/thanks?session={{CHECKOUT_SESSION_ID}}"}
        return await self._create(1, {**urls, "customer": customer, "saved_payment_method_options": asked})

    async def embedded_session(self) -> Any:
        """An embedded session over €25.00."""
        return_url = f"{self._shop.origin}/thanks?session={{CHECKOUT_SESSION_ID}}"
        return await self._create(1, {"ui_mode": "embedded_page", "return_url": return_url})

    async def _create(self, items: int, parameters: dict[str, Any]) -> Any:
        amounts = [2500 - (items - 1) * 100, *([100] * (items - 1))]
        positions = [
            {
                "price_data": {"currency": "eur", "unit_amount": amount, "product_data": {"name": f"Thing {number}"}},
                "quantity": 1,
            }
            for number, amount in enumerate(amounts)
        ]
        sessions = self._client.v1.checkout.sessions
        sent: Any = {"mode": "payment", "line_items": positions, **parameters}
        return await asyncio.to_thread(sessions.create, sent)

    async def retrieve(self, session_id: str) -> Any:
        return await asyncio.to_thread(self._client.v1.checkout.sessions.retrieve, session_id)

    async def expire(self, session_id: str) -> Any:
        return await asyncio.to_thread(self._client.v1.checkout.sessions.expire, session_id)

    async def until_processing(self, session_id: str) -> None:
        """Wait until the bank has been asked to pay the session."""
        intent_id = (await self.retrieve(session_id)).payment_intent
        async with asyncio.timeout(10):
            status = ""
            while status != "processing":
                await asyncio.sleep(0.02)
                status = (await asyncio.to_thread(self._client.v1.payment_intents.retrieve, intent_id)).status

    async def charges(self, intent_id: str) -> list[Any]:
        listed = await asyncio.to_thread(self._client.v1.charges.list, {"payment_intent": intent_id})
        return list(listed.data)

    async def bank_of(self, session_id: str) -> str:
        """Where the bank waits for the shopper."""
        intent_id = (await self.retrieve(session_id)).payment_intent
        intent = await asyncio.to_thread(self._client.v1.payment_intents.retrieve, intent_id)
        assert intent.next_action is not None
        assert intent.next_action.redirect_to_url is not None
        url = intent.next_action.redirect_to_url.url
        assert url is not None
        return url


@pytest.fixture(scope="session")
def gateway(
    run_gateway_on: Callable[..., AbstractContextManager[Any]], lasting_gateway_dsn: str, shop: Shop
) -> Iterator[Merchant]:
    """The real gateway, where the shop's origin is registered."""
    with run_gateway_on(lasting_gateway_dsn, origins=[shop.origin]) as running:
        yield Merchant(running, running.url, shop)


@pytest.fixture
def saving_gateway(
    run_gateway_on: Callable[..., AbstractContextManager[Any]],
    lasting_gateway_dsn: str,
    shop: Shop,
    people_keys: dict[str, Any],
) -> Iterator[Merchant]:
    """The same with a vault, so that cards can be saved."""
    key_file = people_keys["pii_key_file"]
    with run_gateway_on(lasting_gateway_dsn, origins=[shop.origin], vault_key_file=key_file) as running:
        yield Merchant(running, running.url, shop)


@pytest.fixture
def slow_gateway(
    run_gateway_on: Callable[..., AbstractContextManager[Any]], lasting_gateway_dsn: str, shop: Shop
) -> Iterator[Merchant]:
    """The same with an acquirer that takes seconds to answer."""
    with run_gateway_on(lasting_gateway_dsn, origins=[shop.origin], acquirer_delay_s=4.0) as running:
        yield Merchant(running, running.url, shop)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def https_gateway(
    run_gateway_on: Callable[..., AbstractContextManager[Any]], lasting_gateway_dsn: str, shop: Shop
) -> AsyncIterator[Merchant]:
    """The same behind a proxy that speaks TLS, as an installation has it."""
    async with _tls_proxy() as (url, forward_to):
        with run_gateway_on(lasting_gateway_dsn, origins=[shop.origin], public_url=url) as running:
            forward_to(running.url)
            yield Merchant(running, url, shop)


@asynccontextmanager
async def _tls_proxy() -> AsyncIterator[tuple[str, Callable[[str], None]]]:
    """Its address, and the way to tell it where to."""
    behind: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = behind[0].removeprefix("http://").split(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", behind.append
    server.close()


@pytest.fixture
def fill_card() -> Callable[..., Awaitable[None]]:
    """Fills in the card, all at once as browsers do, or `typed` key by key as shoppers do."""

    async def fill_card(
        place: Page | FrameLocator, number: str, *, expiry: str = "12/34", code: str = "123", typed: bool = False
    ) -> None:
        texts = {"cc-number": number, "cc-exp": expiry, "cc-csc": code, "cc-name": "Ada Lovelace"}
        for name, text in texts.items():
            field = place.locator(f"[autocomplete={name}]")
            await (field.press_sequentially(text) if typed else field.fill(text))

    return fill_card
