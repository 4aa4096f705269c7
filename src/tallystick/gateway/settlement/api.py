"""The routes of payouts."""

from tallystick.gateway.settlement.manual_payouts import ManualPayouts
from tallystick.gateway.settlement.parameters import CancelPayout, CreatePayout, ListPayouts
from tallystick.gateway.stripe_wire import writes
from tallystick.gateway.stripe_wire.reading import SQL as WIRE
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route

PAYOUT = "payout"
PAYOUTS = "/v1/payouts"


def routes(payouts: ManualPayouts, reads: Reads) -> list[Route]:
    """Retrieve, list, create and cancel payouts."""
    return [
        reads.page(
            PAYOUTS,
            PAYOUT,
            ListPayouts,
            (WIRE.page_of_payouts, WIRE.page_of_payouts_backwards),
            lambda paging: (paging.status,),
        ),
        reads.one(f"{PAYOUTS}/{{id}}", PAYOUT),
        writes.create(PAYOUTS, CreatePayout, payouts.create, kind=PAYOUT),
        writes.change(f"{PAYOUTS}/{{id}}/cancel", CancelPayout, payouts.cancel, kind=PAYOUT),
    ]
