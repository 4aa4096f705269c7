"""The settled day in the traces of its payments: closing it is a trace of its own, and each payment that somebody
follows gets a step in its own trace that links there. A day may have a million lines, and no trace can hold them."""

import logging
from typing import Final

from tallystick.gateway.ledger.commands import Purse
from tallystick.gateway.settlement.closing import SQL
from tallystick.gateway.settlement.report import Report
from tallystick.ports.database import Database, DatabaseError
from tallystick.ports.tracing import Tracer, read

log = logging.getLogger(__name__)

FOLLOWED_MAX: Final = 1_000  # lines of one report: what is followed is a sample, and the exporter's queue is short


async def follow(tracer: Tracer, database: Database, purse: Purse, report: Report) -> None:
    """Tell of a day that was closed. It is closed whatever becomes of this."""
    if not tracer.on or not report.lines:
        return
    closing = tracer.span("close the day", begins=True)
    closing.note(account_id=purse[0], report=report.id)
    try:
        rows = await database.rows(SQL.traces_of_lines, *purse, report.day, FOLLOWED_MAX)
    except DatabaseError as error:
        log.warning("settled payments are not followed: %s", type(error).__name__)
        rows = []
    for row in rows:
        with tracer.span("settle", parent=read(row["trace"]), link=closing.context) as span:
            span.note(payment_intent=row["payment_intent"], charge_id=row["charge"], report=report.id)
    closing.close()
