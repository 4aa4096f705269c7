"""The parameters of events and webhook endpoints, as Stripe names them."""

import re
from typing import Literal

from msgspec import UNSET, UnsetType, field

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.parameters import (
    URL_CHARACTERS_MAX,
    CreatedPaging,
    Metadata,
    MetadataChange,
    Paging,
    Parameters,
    check_metadata,
    check_storable,
    check_text,
)
from tallystick.gateway.webhooks.rotation import OVERLAP_S, OVERLAP_S_MAX

ENABLED_EVENTS_MAX = 300  # more than Stripe has types
TYPES_MAX = 20  # Stripe's limit of `types` in one list call
EVENT_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+", re.ASCII)
API_VERSION_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?", re.ASCII)


class CreateEndpoint(Parameters, frozen=True, kw_only=True):
    """`POST /v1/webhook_endpoints`. Whether the address may be called is checked by the command (RULES §12, SSRF)."""

    url: str
    enabled_events: list[str]
    api_version: str | None = None
    description: str | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("url", self.url, URL_CHARACTERS_MAX)
        check_enabled_events(self.enabled_events)
        if self.api_version is not None and not API_VERSION_FORM.fullmatch(self.api_version):
            raise errors.invalid("api_version", "Invalid Stripe API version")
        if self.description is not None:
            check_storable("description", self.description)
        check_metadata("metadata", self.metadata)


class UpdateEndpoint(Parameters, frozen=True, kw_only=True):
    """`POST /v1/webhook_endpoints/{id}`."""

    url: str | UnsetType = UNSET
    enabled_events: list[str] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: MetadataChange | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_text("url", self.url, URL_CHARACTERS_MAX)
        if isinstance(self.enabled_events, list):
            check_enabled_events(self.enabled_events)
        if isinstance(self.description, str):
            check_storable("description", self.description)
        check_metadata("metadata", self.metadata)


class RollSecret(Parameters, frozen=True, kw_only=True):
    """`POST /v1/webhook_endpoints/{id}/roll_secret`, ours and not Stripe's, where only the dashboard does it."""

    overlap_s: int = OVERLAP_S

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_s <= OVERLAP_S_MAX:
            raise errors.invalid("overlap_s", f"Invalid integer: must be between 0 and {OVERLAP_S_MAX}")


class ListEndpoints(Paging, frozen=True, kw_only=True):
    """`GET /v1/webhook_endpoints`."""


class ListEvents(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/events`. `delivery_success` false: those that some endpoint has not got (RULES §6)."""

    type: str | None = None
    types: list[str] | None = None
    delivery_success: bool | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        if self.type is not None and self.types is not None:
            raise errors.exclusive("type", "types")
        check_text("type", self.type, 100)
        for number, type in enumerate(self.types or ()):
            check_text(f"types[{number}]", type, 100)
        if len(self.types or ()) > TYPES_MAX:
            raise errors.invalid("types", f"Invalid array: must have at most {TYPES_MAX} elements.")


def check_enabled_events(types: list[str]) -> None:
    """A list of event types, or `*` for all."""
    if not types:
        raise errors.empty("enabled_events")
    if len(types) > ENABLED_EVENTS_MAX:
        raise errors.invalid("enabled_events", f"Invalid array: must have at most {ENABLED_EVENTS_MAX} elements.")
    for number, type in enumerate(types):
        if type != "*" and not (len(type) <= 100 and EVENT_TYPE.fullmatch(type)):
            raise errors.invalid(f"enabled_events[{number}]", f"Invalid event type: {errors.shown(type)}")
    if "*" in types and len(types) > 1:
        raise errors.invalid(
            "enabled_events", "Invalid enabled_events: If `*` is included in enabled_events, it must be the only value."
        )
