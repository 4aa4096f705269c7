"""The objects of the wire that speak of webhooks: events and endpoints. Pure."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Raw

from tallystick.gateway.stripe_wire.objects import API_VERSION, Json, unix


def event(
    *,
    id: str,
    livemode: bool,
    type: str,
    object: str,
    created_at: datetime,
    previous: str | None = None,
    request_id: str | None = None,
    idempotency_key: str | None = None,
    pending_webhooks: int = 0,
    api_version: str = API_VERSION,
) -> Json:
    """An event. `object` and `previous` are the JSON texts of `data.object` and `data.previous_attributes`."""
    data: Json = {"object": Raw(object.encode())}
    if previous is not None:
        data["previous_attributes"] = Raw(previous.encode())
    return {
        "id": id,
        "object": "event",
        "api_version": api_version,
        "created": unix(created_at),
        "data": data,
        "livemode": livemode,
        "pending_webhooks": pending_webhooks,
        "request": {"id": request_id, "idempotency_key": idempotency_key},
        "type": type,
    }


def webhook_endpoint(
    *,
    id: str,
    livemode: bool,
    url: str,
    status: str,
    enabled_events: Sequence[str],
    created_at: datetime,
    api_version: str | None = None,
    description: str | None = None,
    metadata: str = "{}",
    secret: str | None = None,
) -> Json:
    """A webhook endpoint. `secret` is given once, in the answer that creates it (RULES §12)."""
    shown = {"secret": secret} if secret is not None else {}
    return {
        "id": id,
        "object": "webhook_endpoint",
        "api_version": api_version,
        "application": None,
        "created": unix(created_at),
        "description": description,
        "enabled_events": list(enabled_events),
        "livemode": livemode,
        "metadata": Raw(metadata.encode()),
        **shown,
        "status": status,
        "url": url,
    }
