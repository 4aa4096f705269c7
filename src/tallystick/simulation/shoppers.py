"""Those who act from outside: shops that place orders, shoppers who pay for them, callers of the gateway's own API.

They know what any client knows, repeat what failed under the same key, give up, come back, come twice and come late.
What they saw is told to the auditor, who holds the services to it at the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tallystick.demo.browser import Browser, Lost, Page
from tallystick.merchant.customers.people import FORGOTTEN_AFTER
from tallystick.simulation.browsing import Browsing, card_form
from tallystick.simulation.callers import Callers
from tallystick.simulation.clients import TRIES_MAX, Clients
from tallystick.simulation.installation import MERCHANT_URL, SHOP_URL, Shop
from tallystick.simulation.network import VirtualHttp
from tallystick.simulation.savers import Savers

if TYPE_CHECKING:
    from tallystick.simulation.auditor import Auditor
    from tallystick.simulation.nodes import Node
    from tallystick.simulation.scenario import Scenario
    from tallystick.simulation.world import World

VISA: Final = "4242 4242 4242 4242"
MASTERCARD: Final = "5555 5555 5555 4444"
DECLINED: Final = ("4000 0000 0000 0002", "4000 0000 0000 9995", "4000 0000 0000 0119")
CHALLENGED: Final = ("4000 0025 0000 3155", "4000 0027 6000 3184", "4000 0084 0000 1629")

LATE: Final = "4000 0000 0000 7007"
TIMEOUT_APPROVED: Final = "4000 0000 0000 7015"
TIMEOUT_DECLINED: Final = "4000 0000 0000 7023"
AFTER_CANCEL: Final = "4000 0000 0000 7031"
REFUND_BOUNCES: Final = "4000 0000 0000 5126"
OTHER_AMOUNT: Final = "4000 0000 0000 7049"

BANK_FAULTS: Final = {
    LATE: "acquirer_late_approval",
    TIMEOUT_APPROVED: "acquirer_timeout_approved",
    TIMEOUT_DECLINED: "acquirer_timeout_declined",
    AFTER_CANCEL: "acquirer_approval_after_cancel",
    OTHER_AMOUNT: "acquirer_wrong_amount",
}

Act = Callable[[int, Mapping[str, Any]], Awaitable[None]]

DECLINES_MAX: Final = 5
CUSTOMER_SHARE: Final = 0.7
RETURNING_SHARE: Final = 0.5
DROPPED: Final = 4  # orders that a shop asks for once
DIES_WITHIN_S: Final = 0.06  # about as long as it takes until an order is stored
FORGOTTEN_S: Final = FORGOTTEN_AFTER.total_seconds()


class Outsiders:
    """Everybody outside the two services. `node` is their place in the network."""

    def __init__(self, world: "World", node: "Node", scenario: "Scenario", auditor: "Auditor") -> None:
        self._world = world
        self._node = node
        self._scenario = scenario
        self._auditor = auditor
        self._web = Browsing(world, VirtualHttp(world.network, node))
        self._clients = Clients(node)
        self._callers = Callers(node, auditor)
        self._savers = Savers(node, auditor, self._web)
        self._people = max(2, scenario.orders // 2)
        self._acts: dict[str, Act] = {
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
            "bank_late": self._with_card(LATE),
            "bank_timeout_approved": self._with_card(TIMEOUT_APPROVED),
            "bank_timeout_declined": self._with_card(TIMEOUT_DECLINED),
            "bank_after_cancel": self._with_card(AFTER_CANCEL),
            "bank_wrong_amount": self._with_card(OTHER_AMOUNT),
            "comes_after_the_end": self._comes_after_the_end,
            "pays_again": self._does_not_pay,
            "shop_refunds": self._pays_with_any,
            "comes_again": self._pays,
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
            await self._callers.act(number, kind, shop)
            return
        if kind == "saves_card":
            await self._savers.act(number, shop)
            return
        who = self._customer()
        if kind == "comes_again":
            await self._left_over(number, shop, who)
        order = await self._place(number, shop, who)
        if order is None:
            return
        order = order | {"shop": shop}
        try:
            await self._acts[kind](number, order)
        except Lost as lost:
            self._world.tell(f"shopper {number}", f"gives up: {lost}")
        if kind == "pays_again":
            await self._pay_again(number, shop, order)
        elif kind == "shop_refunds":
            await self._refund(number, shop, order)

    async def _pay_again(self, number: int, shop: Shop, order: Mapping[str, Any]) -> None:
        """The order ended unpaid; its shop lets the shopper try again."""
        chance = self._world.chance
        await asyncio.sleep(self._auditor.ttl_s(order["id"]) + chance.choice((1.0, 30.0, 400.0)) * chance.random())
        again = await self._clients.merchant(shop, f"/v1/orders/{order['id']}/attempts", {}, f"again-{number}")
        if again is None:
            return
        try:
            await self._pays(number, again)
        except Lost as lost:
            self._world.tell(f"shopper {number}", f"gives up again: {lost}")

    async def _refund(self, number: int, shop: Shop, order: Mapping[str, Any]) -> None:
        """The shop gives back a part, or two parts at once, or more than there is."""
        chance = self._world.chance
        await asyncio.sleep(60.0 * chance.random())
        amounts = [max(1, order["amount"] // chance.choice((1, 2, 3))) for _ in range(chance.choice((1, 2, 3)))]
        path = f"/v1/orders/{order['id']}/refunds"
        asked = [
            self._node.begin(self._clients.merchant(shop, path, {"amount": amount}, f"refund-{number}-{place}"))
            for place, amount in enumerate(amounts)
        ]
        for each in asked:
            await each

    # --- the shop --------------------------------------------------------------------------------------------------

    def _customer(self) -> dict[str, str] | None:
        """Whom an order names, if anybody: half of them are of a few who come again and again."""
        chance, breadth = self._world.chance, self._scenario.breadth
        if not breadth.people or chance.random() >= CUSTOMER_SHARE:
            return None
        person = chance.randrange(self._people) if chance.random() < RETURNING_SHARE else chance.randrange(10**6)
        return {"email": f"shopper{person}@example.org", "name": f"Shopper {person}"}

    async def _left_over(self, number: int, shop: Shop, who: Mapping[str, str] | None) -> None:
        """A merchant service dies while the shop asks for orders, once and no more: some of their customers are left
        over. About when they would be forgotten the first of them comes again."""
        chance, world = self._world.chance, self._world
        node = chance.choice([node for node in world.nodes if node.service == "merchant"])
        if world.faults.active:
            world.loop.call_later(DIES_WITHIN_S * chance.random(), world.crash, node)
            world.faults.made("killed_process")
        customers = [who, *(self._customer() for _ in range(DROPPED - 1))]
        dropping = [
            self._node.begin(self._place(number, shop, each, key=f"dropped-{number}-{place}", tries_max=1))
            for place, each in enumerate(customers)
        ]
        for each in dropping:
            await each
        await asyncio.sleep(FORGOTTEN_S + chance.choice((1.0, 400.0)) * (chance.random() - 0.5))

    async def _place(
        self,
        number: int,
        shop: Shop,
        who: Mapping[str, str] | None,
        *,
        key: str | None = None,
        tries_max: int = TRIES_MAX,
    ) -> dict[str, Any] | None:
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
        if who is not None:
            fields["customer"] = who
        key = key or f"basket-{number}"
        twice = chance.random() < 0.2
        calls = [
            self._node.begin(self._clients.merchant(shop, "/v1/orders", fields, key, tries_max=tries_max))
            for _ in range(2 if twice else 1)
        ]
        answers = [await call for call in calls]
        placed = [answer for answer in answers if answer is not None]
        for answer in placed:
            self._auditor.order_answered(shop, key, fields, answer)
        return placed[0] if placed else None

    # --- the shopper -------------------------------------------------------------------------------------------------

    async def _pays(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._web.pay(browser, page, VISA)
        await self._read_the_outcome(number, order, browser, page)

    def _with_card(self, card: str) -> Act:
        async def pay(number: int, order: Mapping[str, Any]) -> None:
            browser, page = await self._at_the_page(order)
            if card_form(page) is not None:
                self._world.faults.made(BANK_FAULTS[card])
            page = await self._web.pay(browser, page, card)
            await self._read_the_outcome(number, order, browser, page)

        return pay

    async def _pays_with_any(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._web.pay(browser, page, self._world.chance.choice((VISA, MASTERCARD, REFUND_BOUNCES)))
        await self._read_the_outcome(number, order, browser, page)

    async def _does_not_pay(self, number: int, order: Mapping[str, Any]) -> None:
        if self._world.chance.random() < 0.5:
            await self._declined_until_closed(number, order)

    async def _double_click(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        clicks = [self._node.begin(self._web.try_to_pay(browser, page, VISA)) for _ in range(2)]
        pages = [await click for click in clicks]
        reached = [page for page in pages if page is not None]
        if reached:
            await self._read_the_outcome(number, order, browser, reached[0])

    async def _two_tabs(self, number: int, order: Mapping[str, Any]) -> None:
        tabs = [await self._at_the_page(order) for _ in range(2)]
        cards = (VISA, MASTERCARD)
        paying = [
            self._node.begin(self._web.try_to_pay(browser, page, card))
            for (browser, page), card in zip(tabs, cards, strict=True)
        ]
        for (browser, _), paid in zip(tabs, paying, strict=True):
            page = await paid
            if page is not None:
                await self._read_the_outcome(number, order, browser, page)

    async def _closes_tab(self, _number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        await self._web.try_to_pay(browser, page, VISA)

    async def _abandons(self, _number: int, order: Mapping[str, Any]) -> None:
        await self._at_the_page(order)

    async def _declined_then_pays(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._web.pay(browser, page, self._world.chance.choice(DECLINED))
        page = await self._web.pay(browser, page, MASTERCARD)
        await self._read_the_outcome(number, order, browser, page)

    async def _declined_until_closed(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        for _ in range(DECLINES_MAX):
            await self._web.think()
            if card_form(page) is None:
                break
            page = await self._web.pay(browser, page, self._world.chance.choice(DECLINED))
        await self._read_the_outcome(number, order, browser, page)

    async def _challenge_met(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._web.pay(browser, page, self._world.chance.choice(CHALLENGED))
        page = await self._web.answer_the_bank(browser, page, "succeeded")
        await self._read_the_outcome(number, order, browser, page)

    async def _challenge_failed(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._web.pay(browser, page, CHALLENGED[0])
        page = await self._web.answer_the_bank(browser, page, self._world.chance.choice(("failed", "canceled")))
        page = await self._web.pay(browser, page, VISA)
        await self._read_the_outcome(number, order, browser, page)

    async def _challenge_left(self, _number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        await self._web.pay(browser, page, CHALLENGED[0])

    async def _challenge_twice(self, number: int, order: Mapping[str, Any]) -> None:
        browser, page = await self._at_the_page(order)
        page = await self._web.pay(browser, page, CHALLENGED[1])
        first = await self._web.answer_the_bank(browser, page, "succeeded")
        await self._web.answer_the_bank(browser, page, self._world.chance.choice(("succeeded", "failed")))
        await self._read_the_outcome(number, order, browser, first)

    async def _comes_late(self, number: int, order: Mapping[str, Any]) -> None:
        """Pays about when the time is over: before, in the same moment, or after."""
        browser, page = await self._at_the_page(order)
        chance, ttl_s = self._world.chance, self._auditor.ttl_s(order["id"])
        around_s = chance.choice((0.05, 1.0, 20.0))
        await asyncio.sleep(max(0.0, ttl_s - 5.0 + around_s * (2 * chance.random() - 1)))
        if around_s <= 1.0:
            self._world.faults.made("expiry_as_it_is_paid")
        page = await self._web.pay(browser, page, VISA)
        await self._read_the_outcome(number, order, browser, page)

    async def _comes_after_the_end(self, number: int, order: Mapping[str, Any]) -> None:
        """Pays when the order has ended; where the gateway takes it all the same, the money is late."""
        browser, page = await self._at_the_page(order)
        chance = self._world.chance
        await asyncio.sleep(self._auditor.ttl_s(order["id"]) + 10.0 + 240.0 * chance.random())
        if chance.random() < 0.3:
            await self._clients.merchant(order["shop"], f"/v1/orders/{order['id']}/attempts", {}, f"again-{number}")
        page = await self._web.pay(browser, page, chance.choice((VISA, MASTERCARD, REFUND_BOUNCES)))
        await self._read_the_outcome(number, order, browser, page)

    async def _at_the_page(self, order: Mapping[str, Any]) -> tuple[Browser, Page]:
        browser = self._web.browser()
        if not order.get("redirect_url"):
            raise Lost("no way to the page")
        return browser, await self._web.open(browser, order["redirect_url"])

    async def _read_the_outcome(self, number: int, order: Mapping[str, Any], browser: Browser, page: Page) -> None:
        """To where the payment page leads, until the shop's own page says how it ended."""
        if not page.url.startswith((SHOP_URL, MERCHANT_URL)):
            back = next((link for link, _ in page.links if link.startswith(MERCHANT_URL)), None)
            if back is None:
                return
            page = await self._web.follow(browser, await self._web.open(browser, back))
        if page.url.startswith(f"{SHOP_URL}/paid/"):
            self._auditor.saw_paid(order["id"])
            self._world.tell(f"shopper {number}", "sees: paid")
