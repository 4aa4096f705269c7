"""One round of the demo: the shoppers go, their orders are watched, and at the end the two halves are compared."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ServiceApiError
from tallystick.demo.folder import Known
from tallystick.demo.shoppers import SCRIPTS, Shopper
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Answered, Http, HttpRequest

ARRIVE_EVERY_S = 0.25  # the shoppers come one after the other, so that one can see them come
SETTLE_S = 80.0  # for orders to reach their end after the last shopper did something; an unpaid one lives a minute
LOOK_EVERY_S = 0.25
ASK_DEADLINE_S = 10.0
SHOPPERS_DEADLINE_S = 180.0  # a round takes some ten seconds; this long on a machine that is very busy


class Row(Struct, frozen=True):
    """A shopper and the order as the merchant service knows it now."""

    shopper: Shopper
    order: dict[str, Any] | None

    @property
    def state(self) -> str:
        """The order's state, empty while there is none."""
        return self.order["state"] if self.order else ""

    @property
    def as_scripted(self) -> bool:
        """Whether the order is where the script ends."""
        return self.shopper.lost is None and self.state == self.shopper.script.ends


class Round:
    """Sends the shoppers and watches their orders."""

    def __init__(self, known: Known, http: Http, clock: Clock, entropy: Entropy) -> None:
        self._api = MerchantApi(http, known.addresses.merchant, known.merchant_api_key)
        self._known = known
        self._http = http
        self._clock = clock
        self.shoppers = [Shopper(script, http, clock, entropy, known.addresses.shop) for script in SCRIPTS]
        self._orders: dict[str, dict[str, Any]] = {}

    def rows(self) -> list[Row]:
        """Everybody, as it stands."""
        return [Row(shopper, self._orders.get(shopper.reference or "")) for shopper in self.shoppers]

    async def run(self, show: Callable[[], None]) -> list[Row]:
        """Let all shoppers go, and wait until their orders are where they end; `show` is called at every change."""
        going = [asyncio.create_task(self._go(place, shopper)) for place, shopper in enumerate(self.shoppers)]
        try:
            await self._watch(lambda: all(task.done() for task in going), SHOPPERS_DEADLINE_S, show)
            await self._watch(lambda: all(row.as_scripted or row.shopper.lost for row in self.rows()), SETTLE_S, show)
        finally:
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)
        for task in going:
            if not task.cancelled() and (error := task.exception()):
                raise error
        return self.rows()

    async def halves_differ(self, rows: list[Row]) -> list[str]:
        """Where the gateway's half says otherwise than the merchant's: a sentence each; none when the tally matches."""
        return [sentence for row in rows if row.order is not None for sentence in await self._compare(row.order)]

    async def _go(self, place: int, shopper: Shopper) -> None:
        await self._clock.sleep(place * ARRIVE_EVERY_S)
        await shopper.go()

    async def _watch(self, over: Callable[[], bool], deadline_s: float, show: Callable[[], None]) -> None:
        until_s = self._clock.monotonic_s() + deadline_s
        while True:
            finished = over()
            try:
                self._orders = {order["reference"]: order for order in await self._api.orders() if order["reference"]}
            except ServiceApiError:
                finished = False  # just starting again; the next look will tell
            show()
            if finished or self._clock.monotonic_s() > until_s:
                return
            await self._clock.sleep(LOOK_EVERY_S)

    async def _compare(self, order: dict[str, Any]) -> list[str]:
        intents = [attempt["payment_intent"] for attempt in order["attempts"] if attempt["payment_intent"]]
        received = sum([await self._received(intent) for intent in intents])
        due = order["amount"] if order["state"] == "PAID" else 0
        if received == due:
            return []
        return [f"{order['id']} is {order['state']} over {due}, but the gateway received {received} for it"]

    async def _received(self, intent: str) -> int:
        """What the gateway received for a payment intent, in minor units."""
        url = f"{self._known.addresses.gateway}/v1/payment_intents/{intent}"
        headers = {"Authorization": f"Bearer {self._known.secret_key}"}
        answer = await self._http.send(HttpRequest("GET", url, headers, b"", ASK_DEADLINE_S))
        if not isinstance(answer, Answered) or answer.status != 200:
            return -1
        received: int = msgspec.json.decode(answer.body)["amount_received"]
        return received
