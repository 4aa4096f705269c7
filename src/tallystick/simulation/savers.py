"""Shoppers of programs that keep customers at the gateway: they save a card on its page, come again and pay with it.

No order names these payments; they are those of the gateway's own API, as a program with the official SDK makes them.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from tallystick.demo.browser import Lost
from tallystick.simulation.browsing import Browsing
from tallystick.simulation.clients import Clients, Json
from tallystick.simulation.installation import SHOP_URL, Shop

if TYPE_CHECKING:
    from tallystick.simulation.auditor import Auditor
    from tallystick.simulation.nodes import Node

CARDS: Final = ("4242 4242 4242 4242", "5555 5555 5555 4444")
AWAY_S: Final = (1.0, 60.0, 600.0)
COMES_AGAIN: Final = 2


class Savers:
    """Each is a customer of one shop, and tells the auditor what was seen."""

    def __init__(self, node: "Node", auditor: "Auditor", web: Browsing) -> None:
        self._world = node.world
        self._clients = Clients(node)
        self._auditor = auditor
        self._web = web

    async def act(self, number: int, shop: Shop) -> None:
        """One shopper: saves a card with the first payment, and comes again."""
        chance = self._world.chance
        who = {"email": f"saver{number}@example.org", "name": f"Saver {number}"}
        customer = await self._clients.gateway(shop, "/v1/customers", who, f"customer-{number}")
        if customer is None:
            return
        await self._at_the_page(number, 0, shop, customer["id"], saved=False)
        for visit in range(1, 1 + COMES_AGAIN):
            await asyncio.sleep(chance.choice(AWAY_S) * chance.random())
            listed = await self._clients.look(shop, f"/v1/payment_methods?customer={customer['id']}&type=card")
            cards = [card["id"] for card in (listed or {}).get("data", ())]
            for card in cards:
                self._auditor.card_saved(shop, card)
            if not cards:
                await self._at_the_page(number, visit, shop, customer["id"], saved=False)
            elif chance.random() < 0.5:
                await self._at_the_page(number, visit, shop, customer["id"], saved=True)
            else:
                await self._off_session(number, visit, shop, customer["id"], chance.choice(cards))

    async def _at_the_page(self, number: int, visit: int, shop: Shop, customer: str, *, saved: bool) -> None:
        """Pay on the gateway's page: with a card that is typed and saved, or with one that was."""
        fields = {
            "mode": "payment",
            "line_items[0][quantity]": "1",
            "line_items[0][price_data][currency]": "eur",
            "line_items[0][price_data][unit_amount]": str(self._world.chance.randint(100, 50_000)),
            "line_items[0][price_data][product_data][name]": "Tea",
            "customer": customer,
            "saved_payment_method_options[payment_method_save]": "enabled",
            "success_url": f"{SHOP_URL}/saved/{number}/{visit}",
            "cancel_url": f"{SHOP_URL}/unpaid/{number}/{visit}",
        }
        session = await self._clients.gateway(shop, "/v1/checkout/sessions", fields, f"saver-{number}-{visit}")
        if session is None:
            return
        browser = self._web.browser()
        try:
            page = await self._web.open(browser, session["url"])
            if saved:
                page = await self._web.pay_saved(browser, page)
            else:
                page = await self._web.pay(browser, page, self._world.chance.choice(CARDS), save=True)
        except Lost as lost:
            self._world.tell(f"shopper {number}", f"gives up: {lost}")
            return
        if page.url.startswith(fields["success_url"]):
            self._world.tell(f"shopper {number}", f"has paid with a card that {'was' if saved else 'is'} saved")
            await self._ended(shop, session)

    async def _ended(self, shop: Shop, session: Json) -> None:
        """The shopper was sent on as somebody who has paid; what the session says of it."""
        found: Any = await self._clients.look(shop, f"/v1/checkout/sessions/{session['id']}")
        if found is not None:
            self._auditor.session_ended(shop, found)

    async def _off_session(self, number: int, visit: int, shop: Shop, customer: str, card: str) -> None:
        """The shop charges a saved card while its holder is away."""
        fields = {
            "amount": str(self._world.chance.randint(100, 50_000)),
            "currency": "eur",
            "customer": customer,
            "payment_method": card,
            "off_session": "true",
            "confirm": "true",
        }
        intent = await self._clients.gateway(shop, "/v1/payment_intents", fields, f"off-session-{number}-{visit}")
        if intent is not None and intent["status"] == "succeeded":
            self._world.tell(f"shopper {number}", "is charged with a saved card")
            self._auditor.intent_ended(shop, intent)
