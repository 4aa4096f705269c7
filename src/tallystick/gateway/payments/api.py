"""The routes of payment intents and charges."""

from collections.abc import Sequence
from typing import Protocol

from tallystick.gateway.payments.parameters import (
    CancelIntent,
    CaptureIntent,
    ConfirmIntent,
    CreateIntent,
    ListCharges,
    ListIntents,
    UpdateIntent,
)
from tallystick.gateway.stripe_wire import writes
from tallystick.gateway.stripe_wire.call import Call
from tallystick.gateway.stripe_wire.reading import SQL
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.gateway.stripe_wire.writes import Answers

INTENT = "payment_intent"
INTENTS = "/v1/payment_intents"
CHARGE = "charge"
CHARGES = "/v1/charges"


class Payments(Protocol):
    """The commands of payment intents. Each answers every item; one bad item never fails its neighbours."""

    async def create(self, items: Sequence[tuple[Call, CreateIntent]]) -> Answers: ...

    async def update(self, items: Sequence[tuple[Call, str, UpdateIntent]]) -> Answers: ...

    async def confirm(self, items: Sequence[tuple[Call, str, ConfirmIntent]]) -> Answers: ...

    async def capture(self, items: Sequence[tuple[Call, str, CaptureIntent]]) -> Answers: ...

    async def cancel(self, items: Sequence[tuple[Call, str, CancelIntent]]) -> Answers: ...


def routes(payments: Payments, reads: Reads) -> list[Route]:
    """Create, retrieve, update, list, confirm, capture and cancel intents; retrieve and list charges."""
    one = f"{INTENTS}/{{id}}"
    return [
        writes.create(INTENTS, CreateIntent, payments.create, kind=INTENT),
        reads.page(INTENTS, INTENT, ListIntents, (SQL.page_of_intents, SQL.page_of_intents_backwards)),
        reads.one(one, INTENT, param="intent"),
        writes.change(one, UpdateIntent, payments.update, kind=INTENT, param="intent"),
        writes.change(f"{one}/confirm", ConfirmIntent, payments.confirm, kind=INTENT, param="intent"),
        writes.change(f"{one}/capture", CaptureIntent, payments.capture, kind=INTENT, param="intent"),
        writes.change(f"{one}/cancel", CancelIntent, payments.cancel, kind=INTENT, param="intent"),
        reads.page(
            CHARGES,
            CHARGE,
            ListCharges,
            (SQL.page_of_charges, SQL.page_of_charges_backwards),
            lambda paging: (paging.payment_intent,),
        ),
        reads.one(f"{CHARGES}/{{id}}", CHARGE),
    ]
