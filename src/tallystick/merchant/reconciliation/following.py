"""The comparison of a day in the traces of its orders: the run is a trace of its own, and each order that somebody
follows gets a step in its own trace that links there, with the code in which its line ended."""

import logging
from typing import Final

from tallystick.merchant.reconciliation.taking import SQL, Held
from tallystick.ports.database import Database, DatabaseError
from tallystick.ports.tracing import Tracer, read

log = logging.getLogger(__name__)

FOLLOWED_MAX: Final = 1_000  # lines of one run: what is followed is a sample, and the exporter's queue is short


async def follow(tracer: Tracer, database: Database, run: Held) -> None:
    """Tell of a run that has ended. It has ended whatever becomes of this."""
    if not tracer.on or run.dry_run:
        return
    comparing = tracer.span("reconcile the day", begins=True)
    comparing.note(merchant_id=run.key.merchant_id, run=run.key.reconciliation_id)
    try:
        rows = await database.rows(SQL.traces_of_run, *run.key, run.connection_id, FOLLOWED_MAX)
    except DatabaseError as error:
        log.warning("reconciled orders are not followed: %s", type(error).__name__)
        rows = []
    for row in rows:
        with tracer.span("reconcile", parent=read(row["trace"]), link=comparing.context) as span:
            span.note(order_id=row["order_id"], attempt=row["number"], payment_intent=row["payment_intent"])
            span.note(code=row["code"], run=run.key.reconciliation_id)
    comparing.close()
