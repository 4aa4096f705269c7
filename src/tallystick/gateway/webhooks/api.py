"""The routes of events and webhook endpoints."""

from collections.abc import Sequence
from typing import Any, Protocol

from tallystick.gateway.stripe_wire import writes
from tallystick.gateway.stripe_wire.call import Call
from tallystick.gateway.stripe_wire.parameters import Parameters, Retrieve
from tallystick.gateway.stripe_wire.reading import SQL
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.gateway.stripe_wire.writes import Answers
from tallystick.gateway.webhooks.dead_letters import type_pattern
from tallystick.gateway.webhooks.parameters import CreateEndpoint, ListEndpoints, ListEvents, RollSecret, UpdateEndpoint
from tallystick.ports.database import Statement

EVENT = "event"
EVENTS = "/v1/events"
ENDPOINT = "webhook_endpoint"
ENDPOINTS = "/v1/webhook_endpoints"
ENDPOINT_NOUN = "webhook endpoint"


class Endpoints(Protocol):
    """The commands of webhook endpoints. Each answers every item; one bad item never fails its neighbours."""

    async def create(self, items: Sequence[tuple[Call, CreateEndpoint]]) -> Answers: ...

    async def update(self, items: Sequence[tuple[Call, str, UpdateEndpoint]]) -> Answers: ...

    async def roll_secret(self, items: Sequence[tuple[Call, str, RollSecret]]) -> Answers: ...

    async def delete(self, items: Sequence[tuple[Call, str, Parameters]]) -> Answers: ...


def routes(endpoints: Endpoints, reads: Reads) -> list[Route]:
    """Retrieve and list events; create, retrieve, update, list and delete endpoints."""
    one = f"{ENDPOINTS}/{{id}}"
    return [
        reads.page(EVENTS, EVENT, ListEvents, _event_statements, _event_filters),
        reads.one(f"{EVENTS}/{{id}}", EVENT),
        writes.create(ENDPOINTS, CreateEndpoint, endpoints.create, kind=ENDPOINT),
        reads.page(ENDPOINTS, ENDPOINT, ListEndpoints, (SQL.page_of_endpoints, SQL.page_of_endpoints_backwards)),
        reads.one(one, ENDPOINT, noun=ENDPOINT_NOUN),
        writes.change(one, UpdateEndpoint, endpoints.update, kind=ENDPOINT, noun=ENDPOINT_NOUN),
        writes.change(f"{one}/roll_secret", RollSecret, endpoints.roll_secret, kind=ENDPOINT, noun=ENDPOINT_NOUN),
        writes.change(one, Retrieve, endpoints.delete, kind=ENDPOINT, noun=ENDPOINT_NOUN, method="DELETE"),
    ]


def _event_statements(paging: ListEvents) -> tuple[Statement, Statement]:
    if paging.delivery_success is False:
        return SQL.page_of_undelivered, SQL.page_of_undelivered_backwards
    return SQL.page_of_events, SQL.page_of_events_backwards


def _event_filters(paging: ListEvents) -> tuple[Any, ...]:
    """Patterns of types (`payment_intent.*` means all of a kind), and whether all webhooks were delivered."""
    types = paging.types if paging.types is not None else [paging.type] if paging.type is not None else None
    patterns = [type_pattern(type) for type in types] if types is not None else None
    return (patterns,) if paging.delivery_success is False else (patterns, paging.delivery_success)
