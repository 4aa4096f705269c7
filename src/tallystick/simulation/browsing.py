"""How shoppers go about pages: they think, load again what did not come, enter cards, answer their bank, follow."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tallystick.demo.browser import Browser, Form, Lost, Page
from tallystick.ports.http import Http
from tallystick.simulation.installation import SHOP_URL

if TYPE_CHECKING:
    from tallystick.simulation.world import World

PAGES_MAX: Final = 15
PATIENCE: Final = 4  # how often a shopper loads a page again that did not come


class Browsing:
    """What all shoppers do. Raises Lost where no way leads on."""

    def __init__(self, world: "World", http: Http) -> None:
        self._world = world
        self._http = http

    def browser(self) -> Browser:
        """A browser of one's own."""
        return Browser(self._http)

    async def open(self, browser: Browser, url: str) -> Page:
        """Load a page, again where it does not come."""
        for _ in range(PATIENCE):
            try:
                page = await browser.open(url)
            except Lost:
                page = None
            if page is not None and page.status < 500:
                return page
            await self.think()
        raise Lost(f"{url} does not come")

    async def pay(self, browser: Browser, page: Page, number: str, *, save: bool = False) -> Page:
        """Enter a card, and ask to save it where the page offers that; where the answer does not come, load the page
        again and look."""
        await self.think()
        form = card_form(page)
        if form is None:
            raise Lost("no form for a card")
        card = {"cc-number": number, "cc-exp": "12 / 34", "cc-name": "A. Shopper"}
        card["cc-csc"] = self._world.security_code
        values = {field.name: card[field.autocomplete] for field in form.fields if field.autocomplete in card}
        if save:
            values["save-card"] = "yes"
        return await self.submit(browser, page, form, values)

    async def try_to_pay(self, browser: Browser, page: Page, number: str) -> Page | None:
        """The same; None where no way leads on."""
        try:
            return await self.pay(browser, page, number)
        except Lost:
            return None

    async def pay_saved(self, browser: Browser, page: Page) -> Page:
        """Pay with the first card that the page offers."""
        await self.think()
        form = next((form for form in page.forms if any(field.name == "saved-card" for field in form.fields)), None)
        if form is None:
            raise Lost("no saved card")
        return await self.submit(browser, page, form, {})

    async def answer_the_bank(self, browser: Browser, page: Page, result: str) -> Page:
        """Tell the shopper's bank, which asks, what came of it."""
        form = next((form for form in page.forms if any(name == "result" for name, _, _ in form.buttons)), None)
        if form is None:
            raise Lost("the bank did not ask")
        await self.think()
        return await self.submit(browser, page, form, {}, f"result={result}")

    async def submit(
        self, browser: Browser, page: Page, form: Form, values: Mapping[str, str], button: str | None = None
    ) -> Page:
        """Send a form, and go to where it leads; where the answer does not come, load the page again and look."""
        try:
            page = await browser.submit(page, form, values, button)
        except Lost:
            page = await self.open(browser, page.url)
        return await self.follow(browser, page)

    async def follow(self, browser: Browser, page: Page) -> Page:
        """Wait as the page says, until it leads nowhere else or to the shop."""
        for _ in range(PAGES_MAX):
            if page.refresh is None or page.url.startswith(SHOP_URL):
                return page
            wait_s, url = page.refresh
            await asyncio.sleep(wait_s)
            page = await self.open(browser, url)
        return page

    async def think(self) -> None:
        """Some moments."""
        await asyncio.sleep(0.05 + 2.0 * self._world.chance.random())


def card_form(page: Page) -> Form | None:
    """The form that asks for a card, where the page has one."""
    return next((form for form in page.forms if form.field_for("cc-number") is not None), None)
