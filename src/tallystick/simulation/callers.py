"""Programs that charge by the calls of the official SDK: confirm, capture, cancel, refund, each under its key."""

from typing import TYPE_CHECKING, Final

from tallystick.simulation.clients import Clients, Json
from tallystick.simulation.installation import Shop

if TYPE_CHECKING:
    from tallystick.simulation.auditor import Auditor
    from tallystick.simulation.nodes import Node

CARDS: Final = ("pm_card_visa", "pm_card_visa", "pm_card_visa", "pm_card_visa_chargeDeclined", "pm_card_createDispute")
BANK_CARDS: Final = {
    "pm_card_timeoutApproved": "acquirer_timeout_approved",
    "pm_card_timeoutDeclined": "acquirer_timeout_declined",
    "pm_card_approvedLate": "acquirer_late_approval",
}


class Callers:
    """Each acts once, and tells the auditor what it was told."""

    def __init__(self, node: "Node", auditor: "Auditor") -> None:
        self._node = node
        self._world = node.world
        self._clients = Clients(node)
        self._auditor = auditor

    async def act(self, number: int, kind: str, shop: Shop) -> None:
        """One caller's whole visit."""
        chance = self._world.chance
        amount = chance.randint(100, 50_000)
        card = chance.choice(sorted(BANK_CARDS) if kind == "sdk_bank" else CARDS)
        if card in BANK_CARDS:
            self._world.faults.made(BANK_CARDS[card])
        fields = {
            "amount": str(amount),
            "currency": "eur",
            "confirm": "true",
            "payment_method": card,
            "capture_method": "manual" if kind in ("sdk_capture", "sdk_cancel") else "automatic",
        }
        intent = await self._clients.gateway(shop, "/v1/payment_intents", fields, f"sdk-{number}")
        if intent is None:
            return
        path = f"/v1/payment_intents/{intent['id']}"
        ended: Json | None = intent
        if intent["status"] == "requires_capture":
            if kind == "sdk_capture":
                part = {"amount_to_capture": str(max(1, amount // chance.choice((1, 2))))}
                ended = await self._clients.gateway(shop, f"{path}/capture", part, f"capture-{number}")
            else:
                ended = await self._clients.gateway(shop, f"{path}/cancel", {}, f"cancel-{number}")
        if ended is not None and ended["status"] in ("succeeded", "canceled"):
            self._auditor.intent_ended(shop, ended)
        if ended is not None and ended["status"] == "succeeded" and kind == "sdk_refund":
            await self._refund(number, shop, ended)

    async def _refund(self, number: int, shop: Shop, intent: Json) -> None:
        """Several at once, together perhaps more than there is: what is promised is never more than was captured."""
        chance = self._world.chance
        parts = [max(1, intent["amount_received"] // chance.choice((1, 2, 3))) for _ in range(chance.choice((1, 3, 5)))]
        asked = [
            self._node.begin(
                self._clients.gateway(
                    shop,
                    "/v1/refunds",
                    {"payment_intent": intent["id"], "amount": str(part)},
                    f"refund-{number}-{place}",
                )
            )
            for place, part in enumerate(parts)
        ]
        for each in asked:
            refund = await each
            if refund is not None and refund["status"] == "succeeded":  # one that is pending may fail yet
                self._auditor.refund_promised(shop, intent["id"], refund["amount"], intent["amount_received"])
