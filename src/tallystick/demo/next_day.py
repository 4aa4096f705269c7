"""The demo's next day: errors are planted, both clocks move past midnight, the gateway settles, the merchant compares.

What no webhook told is lost on purpose: the endpoint is disabled for the last minute of the day, in which somebody pays
and closes the tab, and a refund is made at the gateway. What is wrong in the report comes of the gateway's test cards.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from tallystick.cli.clock import Moving
from tallystick.cli.failures import CommandFailed
from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ServiceApi
from tallystick.demo.browser import Browser
from tallystick.demo.folder import Known
from tallystick.demo.shoppers import VISA, card_form, filled_in
from tallystick.merchant.gateways.stripe_events import LEARNT_FROM
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Answered, Http, HttpRequest

LEFT_OUT: Final = "4000 0000 0000 7056"
OTHER_AMOUNT: Final = "4000 0000 0000 7064"
TWICE: Final = "4000 0000 0000 7072"
DISPUTED: Final = "4000 0000 0000 0259"

DISPUTES: Final = "charge.dispute."
AMOUNT_MINOR: Final = 4_200
GIVEN_BACK_MINOR: Final = 700
LAST_MINUTE_S: Final = 90.0  # before midnight: an order that is not paid is looked at after two minutes, not sooner
PAST_MIDNIGHT_S: Final = 15.0
DAY_S: Final = 86_400
LOOK_EVERY_S: Final = 0.25
DEADLINE_S: Final = 60.0  # for the merchant to hear of a payment, and for a day to be reconciled
ENDED: Final = ("done", "refused")
SETTLEMENTS: Final = "/operator/v1/settlements"


class Planted(Struct, frozen=True):
    """Something that is to be found: what it is, the order, and the codes under which it may be found."""

    words: str
    order_id: str
    codes: tuple[str, ...]


class Outcome(Struct, frozen=True):
    """What was planted (None: nobody did), and as what it was found (None: it was not)."""

    planted: Planted | None
    found: dict[str, Any] | None


class Night(Struct, frozen=True):
    """What came of a day: the merchant's run, and its run of the report that the gateway corrected."""

    day: str
    outcomes: tuple[Outcome, ...]
    run: dict[str, Any]
    corrected: dict[str, Any]

    @property
    def as_planted(self) -> bool:
        """Whether all that was planted was found, and nothing was left once the gateway had corrected its report."""
        found = all(outcome.found is not None for outcome in self.outcomes if outcome.planted)
        return found and self.corrected["state"] == "done" and not self.corrected["summary"]["mismatches"]


class NextDay:
    """Moves the demo on by a day. `say` is told, in sentences, what happens."""

    def __init__(self, known: Known, http: Http, clock: Clock, entropy: Entropy, say: Callable[[str], None]) -> None:
        self._known = known
        self._http = http
        self._clock = clock
        self._entropy = entropy
        self._say = say
        addresses, keys = known.addresses, known.operator_keys
        self._merchant = MerchantApi(http, addresses.merchant, known.merchant_api_key)
        self._gateway = ServiceApi(http, "the gateway", addresses.gateway, keys["gateway"])
        merchant = ServiceApi(http, "the merchant service", addresses.merchant, keys["merchant"])
        self._moving = Moving({"gateway": self._gateway, "merchant": merchant}, clock)

    async def run(self) -> Night:
        """Plant, move on, settle, reconcile. Raises CommandFailed, ServiceApiError, Lost."""
        now = await self._move(1)
        left_s = DAY_S - (now.hour * 3600 + now.minute * 60 + now.second)
        if left_s <= 2 * LAST_MINUTE_S:  # too late for today
            now = await self._move(left_s)
            left_s = DAY_S
        self._say("Planting errors: cards that the report gets wrong, and news that no webhook tells …")
        await self._endpoint(*(type for type in LEARNT_FROM if not type.startswith(DISPUTES)))
        planted = [
            Planted("a charge that the report leaves out", await self._paid(LEFT_OUT), ("paid_but_missing", "cut_off")),
            Planted("a charge with another amount", await self._paid(OTHER_AMOUNT), ("amount_differs",)),
            Planted("a charge that is settled twice", await self._paid(TWICE), ("settled_twice",)),
            Planted("a dispute that no webhook told", await self._paid(DISPUTED), ("dispute_unknown",)),
        ]
        refunded = await self._paid(VISA)
        self._say("Moving both clocks to the last minute of the day …")
        day = (await self._move(left_s - LAST_MINUTE_S)).date().isoformat()
        await self._endpoint()
        lost = await self._pay(VISA)
        await self._refund(refunded)
        planted.append(Planted("a payment that no webhook told", lost, ("captured_but_pending",)))
        planted.append(Planted("a refund made at the gateway", refunded, ("refund_unknown",)))
        await self._move(LAST_MINUTE_S + PAST_MIDNIGHT_S)
        self._say(f"The gateway closes {day}, the merchant service reconciles it …")
        await self._gateway.ask("POST", SETTLEMENTS, {"date": day, "account": self._known.account_id})
        run = await self._reconciled(day, corrected=False)
        await self._endpoint(*LEARNT_FROM)
        outcomes = _outcomes(planted, await self._merchant.mismatches(run["id"]))
        await self._gateway.ask("POST", f"{SETTLEMENTS}/correct", {"date": day, "account": self._known.account_id})
        return Night(day, outcomes, run, await self._reconciled(day, corrected=True))

    async def _move(self, seconds: float) -> datetime:
        standings = await self._moving.advance(seconds, lambda _left_s, _at: None)
        return max(each.now for each in standings.values())

    async def _pay(self, card: str) -> str:
        """An order that is paid on the gateway's page by somebody who then closes the tab; its id."""
        key = self._entropy.token_bytes(12).hex()
        order = await self._merchant.place({"amount": AMOUNT_MINOR, "currency": "EUR"}, key)
        browser = Browser(self._http)
        page = await browser.open(order["redirect_url"])
        form = card_form(page)
        await browser.submit(page, form, filled_in(form, card, "Mira"))
        id: str = order["id"]
        return id

    async def _paid(self, card: str) -> str:
        """The same, and the merchant service has heard of it."""
        id = await self._pay(card)
        await self._until(lambda: self._is_paid(id), "the merchant service does not hear of a payment")
        return id

    async def _is_paid(self, id: str) -> bool:
        return bool((await self._merchant.order(id))["state"] == "PAID")

    async def _reconciled(self, day: str, *, corrected: bool) -> dict[str, Any]:
        run = await self._merchant.reconcile(day, None, corrected=corrected)

        async def ended() -> bool:
            nonlocal run
            run = await self._merchant.run(run["id"])
            return run["state"] in ENDED

        await self._until(ended, f"{day} is not reconciled")
        return run

    async def _until(self, true: Callable[[], Any], otherwise: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not await true():
                    await self._clock.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise CommandFailed(f"{otherwise} within {DEADLINE_S:.0f} s") from None

    async def _endpoint(self, *hears: str) -> None:
        """The merchant service's endpoint hears of these types from now on; of nothing where none is named."""
        fields = {"disabled": str(not hears).lower()}
        fields |= {f"enabled_events[{place}]": type for place, type in enumerate(hears)}
        await self._ask_gateway(f"/v1/webhook_endpoints/{self._known.endpoint_id}", fields)

    async def _refund(self, order_id: str) -> None:
        attempts = (await self._merchant.order(order_id))["attempts"]
        fields = {"payment_intent": attempts[-1]["payment_intent"], "amount": str(GIVEN_BACK_MINOR)}
        await self._ask_gateway("/v1/refunds", fields)

    async def _ask_gateway(self, path: str, fields: dict[str, str]) -> None:
        """A call on Stripe's wire. Raises CommandFailed."""
        headers = {
            "Authorization": f"Bearer {self._known.secret_key}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{self._known.addresses.gateway}{path}"
        answer = await self._http.send(HttpRequest("POST", url, headers, urlencode(fields).encode(), DEADLINE_S))
        if not isinstance(answer, Answered) or answer.status != 200:
            said = msgspec.json.decode(answer.body)["error"]["message"] if isinstance(answer, Answered) else "no answer"
            raise CommandFailed(f"the gateway refuses {path}: {said}")


def _outcomes(planted: Sequence[Planted], mismatches: Sequence[dict[str, Any]]) -> tuple[Outcome, ...]:
    """What was planted beside what was found, and what else was found."""
    rest = list(mismatches)
    outcomes = []
    for each in planted:
        found = next((row for row in rest if row["order"] == each.order_id and row["code"] in each.codes), None)
        if found is not None:
            rest.remove(found)
        outcomes.append(Outcome(each, found))
    return (*outcomes, *(Outcome(None, row) for row in rest))
