"""Those who act from outside: shops that place orders, shoppers who pay for them, callers of the gateway's own API.

They know what any client knows, repeat what failed under the same key, give up, come back, come twice and come late.
What they saw is told to the auditor, who holds the services to it at the end.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from tallystick.demo.browser import Browser, Form, Lost, Page
from tallystick.ports.http import Answered, Exchange, HttpRequest
from tallystick.simulation.installation import GATEWAY_URL, MERCHANT_URL, SHOP_URL, Shop
from tallystick.simulation.network import VirtualHttp

if TYPE_CHECKING:
    from tallystick.simulation.auditor import Auditor
    from tallystick.simulation.nodes import Node
    from tallystick.simulation.scenario import Scenario
    from tallystick.simulation.world import World

VISA: Final = "4242 4242 4242 4242"
MASTERCARD: Final = "5555 5555 5555 4444"
DECLINED: Final = ("4000 0000 0000 0002", "4000 0000 0000 9995", "4000 0000 0000 0119")
CHALLENGED: Final = ("4000 0025 0000 3155", "4000 0027 6000 3184", "4000 0084 0000 1629")

DEADLINE_S: Final = 20.0
TRIES_MAX: Final = 12  # of somebody who waits for the answer
JOB_TRIES_MAX: Final = 60  # of a program that nobody waits for
BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
PAGES_MAX: Final = 15
PATIENCE: Final = 4  # how often a shopper loads a page again that did not come
DECLINES_MAX: Final = 5


class Outsiders:
    """Everybody outside the two services. `node` is their place in the network."""

    def __init__(self, world: "World", node: "Node", scenario: "Scenario", auditor: "Auditor") -> None:
        self._world = world
        self._node = node
        self._scenario = scenario
        self._auditor = auditor
        self._http = VirtualHttp(world.network, node)
        self._acts = {
            "pays": self._pays,
            "double_click": self._double_click,
            "two_tabs": self._two_tabs,
            "closes_tab": self._closes_tab,
            "abandons": self._abandons,
            "declined_then_pays": self._declined_then_pays,
            "declined_until_closed": self._declined_until_closed,
            "challenge_met": self._challenge_met,
            "challenge_failed": self._challenge_failed,
            "challenge_left": self._challenge_left,
            "challenge_twice": self._challenge_twice,
            "comes_late": self._comes_late,
        }

    async def come(self, shops: Sequence[Shop]) -> None:
        """All of them, each in its time; returns when the last one has gone."""
        chance, scenario = self._world.chance, self._scenario
        kinds, weights = zip(*sorted(scenario.shoppers.items()), strict=True)
        visits = []
        for number in range(scenario.orders):
            kind = chance.choices(kinds, weights)[0]
            arrives_s = chance.random() * scenario.arrivals_s
            visits.append(self._node.begin(self._visit(number, kind, chance.choice(shops), arrives_s)))
        for visit in visits:
            await visit

    async def _visit(self, number: int, kind: str, shop: Shop, arrives_s: float) -> None:
        await asyncio.sleep(arrives_s)
        self._world.tell(f"shopper {number}", f"comes: {kind.replace('_', ' ')}")
        if kind.startswith("sdk"):
            await self._sdk(number, kind, shop)
            return
        order = await self._place(number, shop)
        if order is None:
            return
        try:
            await self._acts[kind](number, order)
        except Lost as lost:
            self._world.tell(f"shopper {number}", f"gives up: {lost}")

    # --- the shop --------------------------------------------------------------------------------------------------

    async def _place(self, number: int, shop: Shop) -> dict[str, Any] | None:
        """The shop's server places an order, as often as it takes under the same key; None when it gives up."""
        chance = self._world.chance
        fields = {
            "amount": chance.randint(100, 50_000),
            "currency": "EUR",
            "reference": f"basket-{number}",
            "return_url": f"{SHOP_URL}/paid/{number}",
            "cancel_url": f"{SHOP_URL}/unpaid/{number}",
            "expires_in_s": chance.randint(*self._scenario.ttl_s),
        }
        key = f"basket-{number}"
        twice = chance.random() < 0.2
        calls = [self._node.begin(self._post_order(shop, key, fields)) for _ in range(2 if twice else 1)]
        answers = [await call for call in calls]
        placed = [answer for answer in answers if answer is not None]
        for answer in placed:
            self._auditor.order_answered(shop, key, fields, answer)
        return placed[0] if placed else None

    async def _post_order(self, shop: Shop, key: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        headers = {
            "Authorization": f"Bearer {shop.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        body = json.dumps(fields).encode()
        answer = await self._repeat(HttpRequest("POST", f"{MERCHANT_URL}/v1/orders", headers, body, DEADLINE_S))
        if isinstance(answer, Answered) and answer.status == 201:
            read: dict[str, Any] = json.loads(answer.body)
            return read
        return None

    async def _repeat(self, request: HttpRequest, tries_max: int = TRIES_MAX) -> Exchange:
        """The same call until it has an answer that counts, or patience ends."""
        chance = self._world.chance
        for number in range(tries_max):
            answer = await self._http.send(request)
            if isinstance(answer, Answered) and (answer.status < 300 or answer.status in (402, 422)):
                return answer
            if isinstance(answer, Answered) and _is_refusal(answer):
                return answer
            wait_s = BACKOFF_S[min(number, len(BACKOFF_S) - 1)]
            await asyncio.sleep(wait_s * (0.5 + chance.random()))
        return answer

    # --- the shopper -------------------------------------------------------------------------------------------------

    async def _pays(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._pay(browser, page, VISA)
        await self._read_the_outcome(number, order, browser, page)

    async def _double_click(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        clicks = [self._node.begin(self._try_to_pay(browser, page, VISA)) for _ in range(2)]
        pages = [await click for click in clicks]
        reached = [page for page in pages if page is not None]
        if reached:
            await self._read_the_outcome(number, order, browser, reached[0])

    async def _two_tabs(self, number: int, order: Mapping[str, Any]) -> None:
        tabs = [await self._at_the_page(order) for _ in range(2)]
        cards = (VISA, MASTERCARD)
        paying = [
            self._node.begin(self._try_to_pay(browser, page, card))
            for (browser, page), card in zip(tabs, cards, strict=True)
        ]
        for (browser, _), paid in zip(tabs, paying, strict=True):
            page = await paid
            if page is not None:
                await self._read_the_outcome(number, order, browser, page)

    async def _closes_tab(self, _number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        await self._try_to_pay(browser, page, VISA)

    async def _abandons(self, _number: int, order: Mapping[str, Any]) -> None:
        await self._at_the_page(order)

    async def _declined_then_pays(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._pay(browser, page, self._world.chance.choice(DECLINED))
        page = await self._pay(browser, page, MASTERCARD)
        await self._read_the_outcome(number, order, browser, page)

    async def _declined_until_closed(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        for _ in range(DECLINES_MAX):
            await self._think()
            if _card_form(page) is None:
                break
            page = await self._pay(browser, page, self._world.chance.choice(DECLINED))
        await self._read_the_outcome(number, order, browser, page)

    async def _challenge_met(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._pay(browser, page, self._world.chance.choice(CHALLENGED))
        page = await self._answer_the_bank(browser, page, "succeeded")
        await self._read_the_outcome(number, order, browser, page)

    async def _challenge_failed(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._pay(browser, page, CHALLENGED[0])
        page = await self._answer_the_bank(browser, page, self._world.chance.choice(("failed", "canceled")))
        page = await self._pay(browser, page, VISA)
        await self._read_the_outcome(number, order, browser, page)

    async def _challenge_left(self, _number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        await self._pay(browser, page, CHALLENGED[0])

    async def _challenge_twice(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._pay(browser, page, CHALLENGED[1])
        first = await self._answer_the_bank(browser, page, "succeeded")
        await self._answer_the_bank(browser, page, self._world.chance.choice(("succeeded", "failed")))
        await self._read_the_outcome(number, order, browser, first)

    async def _comes_late(self, number: int, order: Mapping[str, Any]) -> None:
        """Pays about when the time is over: before, in the same moment, or after."""
        browser, page = await self._at_the_page(order)
        chance, ttl_s = self._world.chance, self._auditor.ttl_s(order["id"])
        around_s = chance.choice((0.05, 1.0, 20.0))
        await asyncio.sleep(max(0.0, ttl_s - 5.0 + around_s * (2 * chance.random() - 1)))
        page = await self._pay(browser, page, VISA)
        await self._read_the_outcome(number, order, browser, page)

    async def _at_the_page(self, order: Mapping[str, Any]) -> tuple[Browser, Page]:
        browser = Browser(self._http)
        if not order.get("redirect_url"):
            raise Lost("no way to the page")
        return browser, await self._open(browser, order["redirect_url"])

    async def _open(self, browser: Browser, url: str) -> Page:
        """Load a page, again where it does not come."""
        for _ in range(PATIENCE):
            try:
                page = await browser.open(url)
            except Lost:
                page = None
            if page is not None and page.status < 500:
                return page
            await self._think()
        raise Lost(f"{url} does not come")

    async def _try_to_pay(self, browser: Browser, page: Page, number: str) -> Page | None:
        try:
            return await self._pay(browser, page, number)
        except Lost:
            return None

    async def _pay(self, browser: Browser, page: Page, number: str) -> Page:
        """Enter a card; where the answer does not come, load the page again and look."""
        await self._think()
        form = _card_form(page)
        if form is None:
            raise Lost("no form for a card")
        card = {"cc-number": number, "cc-exp": "12 / 34", "cc-csc": "123", "cc-name": "A. Shopper"}
        values = {field.name: card[field.autocomplete] for field in form.fields if field.autocomplete in card}
        try:
            page = await browser.submit(page, form, values)
        except Lost:
            page = await self._open(browser, page.url)
        return await self._follow(browser, page)

    async def _answer_the_bank(self, browser: Browser, page: Page, result: str) -> Page:
        form = next((form for form in page.forms if any(name == "result" for name, _, _ in form.buttons)), None)
        if form is None:
            raise Lost("the bank did not ask")
        await self._think()
        try:
            page = await browser.submit(page, form, {}, f"result={result}")
        except Lost:
            page = await self._open(browser, page.url)
        return await self._follow(browser, page)

    async def _follow(self, browser: Browser, page: Page) -> Page:
        for _ in range(PAGES_MAX):
            if page.refresh is None or page.url.startswith(SHOP_URL):
                return page
            wait_s, url = page.refresh
            await asyncio.sleep(wait_s)
            page = await self._open(browser, url)
        return page

    async def _read_the_outcome(self, number: int, order: Mapping[str, Any], browser: Browser, page: Page) -> None:
        """To where the payment page leads, until the shop's own page says how it ended."""
        if not page.url.startswith((SHOP_URL, MERCHANT_URL)):
            back = next((link for link, _ in page.links if link.startswith(MERCHANT_URL)), None)
            if back is None:
                return
            page = await self._follow(browser, await self._open(browser, back))
        if page.url.startswith(f"{SHOP_URL}/paid/"):
            self._auditor.saw_paid(order["id"])
            self._world.tell(f"shopper {number}", "sees: paid")

    async def _think(self) -> None:
        await asyncio.sleep(0.05 + 2.0 * self._world.chance.random())

    # --- callers of the gateway's API --------------------------------------------------------------------------------

    async def _sdk(self, number: int, kind: str, shop: Shop) -> None:
        """A program that charges by the official SDK's calls, and repeats them under their keys."""
        chance = self._world.chance
        manual = kind in ("sdk_capture", "sdk_cancel")
        amount = chance.randint(100, 50_000)
        fields = {
            "amount": str(amount),
            "currency": "eur",
            "confirm": "true",
            "payment_method": chance.choice(("pm_card_visa", "pm_card_visa", "pm_card_visa_chargeDeclined")),
            "capture_method": "manual" if manual else "automatic",
        }
        intent = await self._wire(shop, "/v1/payment_intents", fields, f"sdk-{number}")
        if intent is None or intent.get("object") != "payment_intent":
            return
        if kind == "sdk_capture" and intent["status"] == "requires_capture":
            part = {"amount_to_capture": str(max(1, amount // chance.choice((1, 2))))}
            intent = await self._wire(shop, f"/v1/payment_intents/{intent['id']}/capture", part, f"capture-{number}")
        elif kind == "sdk_cancel" and intent["status"] == "requires_capture":
            intent = await self._wire(shop, f"/v1/payment_intents/{intent['id']}/cancel", {}, f"cancel-{number}")
        if intent is not None and intent.get("status") in ("succeeded", "canceled"):
            self._auditor.intent_ended(shop, intent)

    async def _wire(self, shop: Shop, path: str, fields: Mapping[str, str], key: str) -> dict[str, Any] | None:
        headers = {
            "Authorization": f"Bearer {shop.secret_key}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Idempotency-Key": key,
        }
        body = urlencode(fields).encode()
        request = HttpRequest("POST", f"{GATEWAY_URL}{path}", headers, body, DEADLINE_S)
        answer = await self._repeat(request, JOB_TRIES_MAX)
        if isinstance(answer, Answered) and answer.status < 500:
            try:
                read: dict[str, Any] = json.loads(answer.body)
            except ValueError:
                return None
            return read
        return None


def _is_refusal(answer: Answered) -> bool:
    """Whether the service itself said no, for good; what the network makes up carries no JSON."""
    if not 400 <= answer.status < 500 or answer.status in (409, 429):
        return False
    return "json" in answer.headers.get("content-type", "")


def _card_form(page: Page) -> Form | None:
    return next((form for form in page.forms if form.field_for("cc-number") is not None), None)
