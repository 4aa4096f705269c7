"""What an event is about, read out of its message: for whoever must say it of bytes that were written long before."""

import msgspec
from msgspec import Struct

from tallystick.kernel.identifiers import is_id


class _Metadata(Struct):
    order_id: str | None = None


class _Object(Struct):
    id: str | None = None
    payment_intent: str | None = None
    client_reference_id: str | None = None
    metadata: _Metadata | None = None


class _Data(Struct):
    object: _Object


class _Event(Struct):
    data: _Data


_decoder = msgspec.json.Decoder(_Event)


def about(body: bytes) -> dict[str, str]:
    """The ids of payment and order that an event names; nothing where it cannot be read."""
    try:
        told = _decoder.decode(body).data.object
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    order_id = told.client_reference_id or (told.metadata.order_id if told.metadata is not None else None)
    intent = told.payment_intent or told.id
    found = {"order_id": order_id, "payment_intent": intent if (intent or "").startswith("pi_") else None}
    return {name: id for name, id in found.items() if id is not None and is_id(id)}
