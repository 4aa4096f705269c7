"""The routes of refunds."""

from tallystick.gateway.refunds.commands import Refunds
from tallystick.gateway.refunds.parameters import CreateRefund, ListRefunds
from tallystick.gateway.stripe_wire import writes
from tallystick.gateway.stripe_wire.reading import SQL
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route

REFUND = "refund"
REFUNDS = "/v1/refunds"


def routes(refunds: Refunds, reads: Reads) -> list[Route]:
    """Create, retrieve and list refunds."""
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
    ]
