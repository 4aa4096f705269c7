"""The routes of disputes."""

from tallystick.gateway.disputes.commands import Disputes
from tallystick.gateway.disputes.parameters import CloseDispute, ListDisputes, UpdateDispute
from tallystick.gateway.stripe_wire import writes
from tallystick.gateway.stripe_wire.reading import SQL
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route

DISPUTE = "dispute"
DISPUTES = "/v1/disputes"


def routes(disputes: Disputes, reads: Reads) -> list[Route]:
    """Retrieve, list, update and close disputes."""
    one = f"{DISPUTES}/{{id}}"
    return [
        reads.page(
            DISPUTES,
            DISPUTE,
            ListDisputes,
            (SQL.page_of_disputes, SQL.page_of_disputes_backwards),
            lambda paging: (paging.payment_intent, paging.charge),
        ),
        reads.one(one, DISPUTE),
        writes.change(one, UpdateDispute, disputes.update, kind=DISPUTE),
        writes.change(f"{one}/close", CloseDispute, disputes.close, kind=DISPUTE),
    ]
