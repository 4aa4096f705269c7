"""The shop's stock hook: a signed POST to an address of the shop's, with an answer that may be unknown (RULES §4, §8).

    {"type": "stock.reserve", "order": {…}, "attempt": 1}  → 200 {"available": true | false}
    {"type": "stock.release", "order": {…}, "attempt": 1}  → 2xx

Signed as Standard Webhooks are. `webhook-id` names the question, so that the shop answers it the same when it is asked
again; anything but an answer in this form is no answer, and it is asked again.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from tallystick.kernel.outcomes import Done, NotSent, Unknown
from tallystick.kernel.signatures import sign_standard
from tallystick.merchant.orders.view import OrderView
from tallystick.ports.http import Answered, Http, HttpRequest

DEADLINE_S: Final = 10.0  # a shop's own database answers in less; it is asked again
ANSWER_BYTES_MAX: Final = 16 * 1024

Question = Literal["reserve", "release"]


class Hook(Struct, frozen=True):
    """Where the shop's stock is asked. Shows nothing of its secret."""

    url: str
    secret: str

    def __repr__(self) -> str:
        return f"Hook({self.url!r})"


class _Asked(Struct, frozen=True):
    type: str
    order: OrderView
    attempt: int


class _Reply(Struct, frozen=True):
    available: bool


class Stock:
    """Asks and tells stocks. `http` is guarded: a hook is a stranger's address (RULES §12)."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def reserve(self, hook: Hook, order: OrderView, attempt: int, at: datetime) -> Done[bool] | NotSent | Unknown:
        """Whether the goods are still there; if they are, they are the order's again."""
        answer = await self._ask(hook, "reserve", order, attempt, at)
        if not isinstance(answer, Answered):
            return answer
        if answer.status != 200:
            return Unknown(f"the stock hook answered {answer.status}")
        try:
            return Done(msgspec.json.decode(answer.body, type=_Reply).available)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Unknown("the stock hook's answer cannot be read")

    async def release(self, hook: Hook, order: OrderView, attempt: int, at: datetime) -> bool:
        """Tell that the order's goods are let go; whether that was heard."""
        answer = await self._ask(hook, "release", order, attempt, at)
        return isinstance(answer, Answered) and 200 <= answer.status < 300

    async def _ask(
        self, hook: Hook, question: Question, order: OrderView, attempt: int, at: datetime
    ) -> Answered | NotSent | Unknown:
        body = msgspec.json.encode(_Asked(f"stock.{question}", order, attempt))
        id, timestamp = f"stock_{question}_{order.id}_{attempt}", int(at.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "tallystick-merchant",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_standard([hook.secret], id, timestamp, body),
        }
        return await self._http.send(HttpRequest("POST", hook.url, headers, body, DEADLINE_S, ANSWER_BYTES_MAX))
