"""The routes of checkout sessions."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tallystick.gateway.checkout.parameters import CreateSession, ExpireSession, ListLineItems, ListSessions
from tallystick.gateway.stripe_wire import errors, writes
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.parameters import Parameters
from tallystick.gateway.stripe_wire.reading import SQL
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route, Run
from tallystick.gateway.stripe_wire.writes import Answers

SESSION = "checkout.session"
SESSIONS = "/v1/checkout/sessions"


class Checkout(Protocol):
    """The commands of checkout sessions. Each answers every item; one bad item never fails its neighbours."""

    async def create(self, items: Sequence[tuple[Call, CreateSession]]) -> Answers: ...

    async def expire(self, items: Sequence[tuple[Call, str, ExpireSession]]) -> Answers: ...


def routes(checkout: Checkout, reads: Reads) -> list[Route]:
    """Create, retrieve, list and expire sessions; list their line items."""
    one = f"{SESSIONS}/{{id}}"
    return [
        writes.create(SESSIONS, CreateSession, checkout.create, kind=SESSION),
        reads.page(
            SESSIONS,
            SESSION,
            ListSessions,
            (SQL.page_of_sessions, SQL.page_of_sessions_backwards),
            lambda paging: (paging.payment_intent, paging.status),
        ),
        reads.one(one, SESSION, param="session"),
        writes.change(f"{one}/expire", ExpireSession, checkout.expire, kind=SESSION, param="session"),
        Route(
            method="GET",
            path=f"{one}/line_items",
            parameters=ListLineItems,
            run=_line_items(reads),
            kind="item",
            listed=True,
            id_param="session",
            noun=SESSION,
        ),
    ]


def _line_items(reads: Reads) -> Run:
    async def run(call: Call, id: str, paging: Parameters) -> Reply:
        assert isinstance(paging, ListLineItems)
        key = (call.caller.account_id, call.caller.livemode, id)
        listing = await reads.reading.line_items(reads.database, key, paging)
        if listing is None:
            raise errors.no_such(SESSION, id, param="session")
        return Reply(200, msgspec.json.encode(listing))

    return run
