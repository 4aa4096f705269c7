"""A payment as the gateway has it, and what that tells of an order: this is merged, and never what a line says
(RULES §11)."""

from typing import Final

from tallystick.kernel.outcomes import Done, Refused
from tallystick.merchant.gateways.port import Connection
from tallystick.merchant.gateways.stripe import MISCONFIGURED
from tallystick.merchant.gateways.stripe_reports import PaymentFound
from tallystick.merchant.orders.learning import Learnt
from tallystick.merchant.reconciliation.taking import NotYet, Reports

ASKING_TRIES_MAX: Final = 10
"""Tries of a run, some hours; then it goes on without the payments that still cannot be retrieved: one of which the
gateway never tells must not hold up all others, and the days after it."""


async def retrieve(reports: Reports, connection: Connection, payment: str) -> PaymentFound | None:
    """The payment; None where the gateway has none. Raises NotYet."""
    match await reports.payment(connection, payment):
        case Done(found):
            return found
        case Refused(code=code, status=status) if code != MISCONFIGURED or status == 404:
            return None
        case _:
            raise NotYet(f"payment {payment} cannot be retrieved")


def learnt_of(
    connection: Connection, found: PaymentFound, reference: str, order_id: str | None, attempt: int | None
) -> tuple[Learnt, ...]:
    """The gateway's answer as facts about the attempt that it is about: as we know it, or where we know none as it
    says itself."""
    if attempt is None:
        order_id, attempt = found.order_id, found.attempt
    if order_id is None or attempt is None:
        return ()
    return tuple(
        Learnt(connection.merchant_id, order_id, attempt, fact, "settlement", reference, connection.connection_id)
        for fact in found.facts
    )
