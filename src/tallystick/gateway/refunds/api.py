"""The routes of refunds."""

from tallystick.gateway.refunds.commands import Refunds
from tallystick.gateway.refunds.parameters import CancelRefund, CreateRefund, ListRefunds, UpdateRefund
from tallystick.gateway.stripe_wire import writes
from tallystick.gateway.stripe_wire.reading import SQL
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route

REFUND = "refund"
REFUNDS = "/v1/refunds"


def routes(refunds: Refunds, reads: Reads) -> list[Route]:
    """Create, retrieve, list, update and cancel refunds."""
    return [
        writes.create(REFUNDS, CreateRefund, refunds.create, kind=REFUND),
        reads.page(
            REFUNDS,
            REFUND,
            ListRefunds,
            (SQL.page_of_refunds, SQL.page_of_refunds_backwards),
            lambda paging: (paging.payment_intent, paging.charge),
        ),
        reads.one(f"{REFUNDS}/{{id}}", REFUND),
        writes.change(f"{REFUNDS}/{{id}}", UpdateRefund, refunds.update, kind=REFUND),
        writes.change(f"{REFUNDS}/{{id}}/cancel", CancelRefund, refunds.cancel, kind=REFUND),
    ]
