"""What may be done about a payment, as pages: give money back, give it up, ask the bank now (RULES §13).

What cannot be taken back is asked for twice: first the page says what would happen, and carries a key and how much
could be given back; sent twice it is done once, and what was decided on something that is no longer true is refused.
Whether it can be done is decided by the commands (`gateway/acts`) alone.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.acts.commands import Acts, GivingBack, Standing
from tallystick.gateway.console.desk import Desk, amount, id_in
from tallystick.gateway.console.payments import PAYMENTS
from tallystick.gateway.stripe_wire import currencies
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.money import MoneyRefused, parse_decimal
from tallystick.kernel.operators.problems import UnderWay
from tallystick.kernel.problems import FieldError, FieldsRefused, Problem
from tallystick.ports.entropy import Entropy

KEY_PREFIX: Final = "cok"
SEEN: Final = "refundable"

_KEY = re.compile(rf"{KEY_PREFIX}_[0-9A-Za-z]{{25}}")
_MINOR = re.compile(r"[0-9]{1,15}", re.ASCII)

Fields = dict[str, str]


class ActPages(Struct, frozen=True):
    """What the routes do."""

    desk: Desk
    acts: Acts
    entropy: Entropy

    async def refund(self, request: BrowserRequest) -> Html:
        """Give back an amount, or all that is left."""

        def words(payment: Standing, fields: Fields) -> str:
            wanted = _amount(payment, fields)
            shown = amount(payment.refundable if wanted is None else wanted, payment.currency)
            left = amount(payment.refundable, payment.currency)
            return f"{shown} go back to the shopper, of {left} that are left. It cannot be taken back."

        async def act(payment: Standing, key: str, fields: Fields) -> None:
            seen = fields.get(SEEN, "")
            if not _MINOR.fullmatch(seen):
                raise FieldsRefused("The form cannot be read.")
            giving = GivingBack(refundable=int(seen), amount=_amount(payment, fields))
            await self.acts.refund(payment, giving, key)

        return await self._twice(request, "Give money back", words, act)

    async def cancel(self, request: BrowserRequest) -> Html:
        """Give up a payment that was not captured."""

        def words(payment: Standing, _fields: Fields) -> str:
            held = payment.amount_capturable
            released = f" {amount(held, payment.currency)} are released." if held else ""
            return f"The shopper can no longer pay by it.{released} It cannot be taken back."

        async def act(payment: Standing, key: str, _fields: Fields) -> None:
            await self.acts.cancel(payment, None, key)

        return await self._twice(request, "Cancel the payment", words, act)

    async def inquire(self, request: BrowserRequest) -> Html:
        """Ask the bank about what nobody knows the outcome of. It does nothing there, so it is not asked for twice."""
        try:
            payment = await self._payment(request)
            asked = await self.acts.inquire(payment)
        except Problem as problem:
            return self.desk.refused(request, problem)
        return self.desk.console.see_other(f"{PAYMENTS}/{payment.id}?asked={len(asked)}")

    async def _twice(
        self,
        request: BrowserRequest,
        title: str,
        words: Callable[[Standing, Fields], str],
        act: Callable[[Standing, str, Fields], Awaitable[None]],
    ) -> Html:
        """Say what would happen; confirmed, do it once."""
        fields = await self.desk.console.fields(request) or {}
        try:
            payment = await self._payment(request)
            told, key = words(payment, fields), fields.get("key", "")
            if fields.get("confirmed") != "yes" or not _KEY.fullmatch(key):
                return self._sure(request, payment, title, told, fields)
            await act(payment, f"console:{key}", fields)
        except UnderWay:  # clicked twice: the page of the payment tells what comes of it
            return self.desk.console.see_other(f"{PAYMENTS}/{payment.id}")
        except Problem as problem:
            return self.desk.refused(request, problem)
        return self.desk.console.see_other(f"{PAYMENTS}/{payment.id}")

    def _sure(self, request: BrowserRequest, payment: Standing, title: str, words: str, fields: Fields) -> Html:
        kept = {"amount": fields.get("amount", ""), SEEN: str(payment.refundable), "confirmed": "yes"}
        kept["key"] = new_id(KEY_PREFIX, self.desk.clock.now(), self.entropy)
        shown: dict[str, Any] = {"heading": f"{title}?", "words": words, "button": title, "about": payment.id}
        shown |= {"action": request.url.path, "kept": kept, "back": f"{PAYMENTS}/{payment.id}"}
        return self.desk.page("sure", request, title, **shown)

    async def _payment(self, request: BrowserRequest) -> Standing:
        """Raises NotFound."""
        return await self.acts.standing(id_in(request, "payment_id") or "")


def _amount(payment: Standing, fields: Fields) -> int | None:
    """The amount of the form in minor units; None for all that is left. Raises FieldsRefused."""
    text = fields.get("amount", "").strip().replace(",", ".")
    if not text:
        return None
    try:
        minor = parse_decimal(text, currencies.exponent(payment.currency))
    except MoneyRefused:
        minor = 0
    if minor < 1:
        raise FieldsRefused(errors=[FieldError("amount", "it cannot be read; 12.50 can")])
    return minor
