"""A dozen scripted shoppers. Each buys in the shop and pays on the real hosted page, in a browser without JavaScript.

What a shopper does is a tuple of acts; what must come of it is the order's state. The acts know the pages by what any
browser or password manager knows them by: the inputs' standard `autocomplete` names, the buttons, the links.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from tallystick.demo.browser import Browser, Form, Lost, Page
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Http

VISA: Final = "4242 4242 4242 4242"
MASTERCARD: Final = "5555 5555 5555 4444"
AMEX: Final = "3782 822463 10005"
DISCOVER: Final = "6011 1111 1111 1117"
MISTYPED: Final = "4242 4242 4242 4241"
ASKS_THE_BANK: Final = "4000 0025 0000 3155"
ASKS_THE_BANK_TOO: Final = "4000 0027 6000 3184"
DECLINED: Final = "4000 0000 0000 0002"
NO_FUNDS: Final = "4000 0000 0000 9995"
LOST_CARD: Final = "4000 0000 0000 9987"

PAGES_MAX = 40  # on the way from one act to the next: refreshes while a bank thinks, or while the order is PENDING
TRIES_MAX = 8  # of a shopper who tries until the page takes no more cards
THINK_S = (0.2, 0.9)  # between two pages: fast, for people who watch, and not all at once
REFERENCE = re.compile(r"/orders/(NH-[0-9A-Z-]+)")


class Pay(Struct, frozen=True):
    """Pay with a card; at the bank, where it asks, press the button with this result."""

    number: str
    at_the_bank: str = "succeeded"


class PayUntilClosed(Struct, frozen=True):
    """Pay with a card that is declined, again and again, until the page takes no more."""

    number: str


class CloseTab(Struct, frozen=True):
    """Leave without a word: from the payment page, or from the bank's page after this card was entered."""

    at_the_bank_with: str | None = None


Act = Pay | PayUntilClosed | CloseTab


class Script(Struct, frozen=True):
    """A shopper: who, what is bought, what is done on the payment page, and the state in which the order must end."""

    name: str
    story: str
    goods: tuple[str, ...]
    acts: tuple[Act, ...]
    ends: str = "PAID"


SCRIPTS: Final = (
    Script("Ada", "pays with Visa", ("tally",), (Pay(VISA),)),
    Script("Bao", "pays with Mastercard", ("ledger", "ink"), (Pay(MASTERCARD),)),
    Script("Chidi", "pays with American Express", ("cloth",), (Pay(AMEX),)),
    Script("Dunja", "mistypes the number, then pays", ("pebbles", "pebbles"), (Pay(MISTYPED), Pay(VISA))),
    Script("Edda", "is asked by the bank, confirms", ("knife",), (Pay(ASKS_THE_BANK),)),
    Script("Farid", "is asked by the bank, confirms", ("tally", "cloth"), (Pay(ASKS_THE_BANK_TOO),)),
    Script("Grete", "says no at the bank, takes another card", ("ink",), (Pay(ASKS_THE_BANK, "failed"), Pay(DISCOVER))),
    Script("Hugo", "is declined, takes another card", ("ledger",), (Pay(NO_FUNDS), Pay(VISA))),
    Script("Ines", "is declined twice, then pays", ("cloth", "ink"), (Pay(LOST_CARD), Pay(DECLINED), Pay(MASTERCARD))),
    Script("Jonas", "is declined until it is over", ("knife", "tally"), (PayUntilClosed(DECLINED),), "FAILED"),
    Script("Kaya", "closes the tab", ("pebbles",), (CloseTab(),), "EXPIRED"),
    Script("Luis", "closes the tab at the bank", ("ink", "ink"), (CloseTab(ASKS_THE_BANK),), "EXPIRED"),
)


class Shopper:
    """One shopper on the way. `doing` says what is going on; `reference` is the shop's name for the order."""

    def __init__(self, script: Script, http: Http, clock: Clock, entropy: Entropy, shop_url: str) -> None:
        self.script = script
        self.doing = "has not come yet"
        self.reference: str | None = None
        self.lost: str | None = None
        self._browser = Browser(http)
        self._clock = clock
        self._entropy = entropy
        self._shop_url = shop_url

    async def go(self) -> None:
        """Play the script. Where the way ends, `lost` says why; nothing is raised for what a page does."""
        try:
            page = await self._fill_basket()
            page = await self._check_out(page)
            for act in self.script.acts:
                page = await self._play(act, page)
            self.doing = "gone" if isinstance(act, CloseTab) else await self._read_the_outcome(page)
        except Lost as lost:
            self.doing, self.lost = "lost the way", str(lost)

    async def _fill_basket(self) -> Page:
        self.doing = "looks around"
        page = await self._browser.open(f"{self._shop_url}/")
        for good in self.script.goods:
            await self._think()
            form = _form(page, _goes_to(f"/basket/{good}"), "the good")
            page = await self._browser.submit(page, form, {}, "by=1")
        return await self._browser.open(f"{self._shop_url}/basket")

    async def _check_out(self, page: Page) -> Page:
        self.doing = "checks out"
        await self._think()
        form = _form(page, lambda form: form.field_for("email") is not None, "the check-out")
        who = {"name": self.script.name, "email": f"{self.script.name.lower()}@shopper.example"}
        page = await self._browser.submit(page, form, who, "pay=hosted")
        found = REFERENCE.search(page.url)
        if found is None:
            raise Lost(f"no order at the end of the check-out but {page.url}")
        self.reference = found[1]
        return await self._follow(page)

    async def _play(self, act: Act, page: Page) -> Page:
        match act:
            case Pay(number=number, at_the_bank=result):
                page = await self._pay(page, number)
                return await self._answer_the_bank(page, result) if _bank_form(page) else page
            case PayUntilClosed(number=number):
                return await self._pay_until_closed(page, number)
            case CloseTab(at_the_bank_with=None):
                card_form(page)
                return page
            case CloseTab(at_the_bank_with=number):
                page = await self._pay(page, number or "")
                if _bank_form(page) is None:
                    raise Lost(f"the bank did not ask, at {page.url}")
                return page

    async def _pay_until_closed(self, page: Page, number: str) -> Page:
        for _ in range(TRIES_MAX):
            page = await self._pay(page, number)
            if not any(form.field_for("cc-number") for form in page.forms):
                return page
        raise Lost(f"the page still takes cards after {TRIES_MAX} declined ones")

    async def _pay(self, page: Page, number: str) -> Page:
        self.doing = "enters a card"
        await self._think()
        form = card_form(page)
        return await self._follow(await self._browser.submit(page, form, filled_in(form, number, self.script.name)))

    async def _answer_the_bank(self, page: Page, result: str) -> Page:
        self.doing = "answers the bank"
        await self._think()
        form = _bank_form(page)
        assert form is not None, "asked by the caller"
        return await self._follow(await self._browser.submit(page, form, {}, f"result={result}"))

    async def _read_the_outcome(self, page: Page) -> str:
        """From where the payment page ends back to the shop, until its page says how the order stands."""
        self.doing = "goes back to the shop"
        if not page.url.startswith(self._shop_url):
            back = next((link for link, _ in page.links if not link.startswith(_origin(page.url))), None)
            if back is None:
                raise Lost(f"no way back from {page.url}")
            page = await self._follow(await self._browser.open(back))
        if not page.url.startswith(self._shop_url):
            raise Lost(f"the way back ends at {page.url}")
        return f"reads: {page.title.partition(' · ')[0]}"

    async def _follow(self, page: Page) -> Page:
        """Follow meta refreshes, as long as there are any and they lead on."""
        for _ in range(PAGES_MAX):
            if page.status >= 500:
                raise Lost(f"{page.url} answered {page.status}")
            if page.refresh is None:
                return page
            wait_s, url = page.refresh
            await self._clock.sleep(wait_s)
            page = await self._browser.open(url)
        raise Lost(f"{page.url} leads nowhere")

    async def _think(self) -> None:
        await self._clock.sleep(self._entropy.uniform(*THINK_S))


def _form(page: Page, wanted: Callable[[Form], bool], name: str) -> Form:
    found = next((form for form in page.forms if wanted(form)), None)
    if found is None:
        raise Lost(f"no form for {name} on {page.url} ({page.status})")
    return found


def _goes_to(path: str) -> Callable[[Form], bool]:
    return lambda form: urlsplit(form.action).path == path


def card_form(page: Page) -> Form:
    """The form that takes a card. Raises Lost."""
    return _form(page, lambda form: form.field_for("cc-number") is not None, "a card")


def filled_in(form: Form, number: str, name: str) -> dict[str, str]:
    """The values of a card's form, as a password manager fills them in."""
    card = {"cc-number": number, "cc-exp": "12 / 34", "cc-csc": "1234" if number == AMEX else "123", "cc-name": name}
    return {field.name: card[field.autocomplete] for field in form.fields if field.autocomplete in card}


def _bank_form(page: Page) -> Form | None:
    return next((form for form in page.forms if any(name == "result" for name, _, _ in form.buttons)), None)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
