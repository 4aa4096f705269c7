"""What a notification is about, read out of its message."""

import msgspec
from msgspec import Struct


class _Attempt(Struct):
    payment_intent: str | None = None


class _Order(Struct):
    id: str
    attempts: list[_Attempt] = []


class _Data(Struct):
    order: _Order


class _Notification(Struct):
    data: _Data


_decoder = msgspec.json.Decoder(_Notification)


def about(body: bytes) -> dict[str, str]:
    """The ids of the order and of its newest payment; nothing where it cannot be read."""
    try:
        order = _decoder.decode(body).data.order
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    intent = order.attempts[-1].payment_intent if order.attempts else None
    return {"order_id": order.id} | ({"payment_intent": intent} if intent is not None else {})
