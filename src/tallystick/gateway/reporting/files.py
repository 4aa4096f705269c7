"""The files of report runs, written page by page from the lines of their settlement reports."""

from collections.abc import AsyncIterator, Sequence

from tallystick.gateway.reporting.commands import SQL
from tallystick.gateway.reporting.run import Run
from tallystick.gateway.settlement.closing import pages_of, report_of
from tallystick.gateway.settlement.lines import TRUNCATED, header
from tallystick.gateway.settlement.report import Report, Tally
from tallystick.gateway.stripe_wire import currencies
from tallystick.ports.database import Database


async def reports_of(database: Database, run: Run) -> list[Report]:
    """The settlement reports that a run is made of, in their order."""
    rows = await database.rows(SQL.reports_by_id, run.account_id, run.livemode, list(run.reports))
    return [report_of(row) for row in rows]


async def written(database: Database, run: Run, reports: Sequence[Report], tally: Tally) -> AsyncIterator[bytes]:
    """The bytes of a run's file; `tally` adds them up."""
    yield header(run.columns).encode()
    for report in reports:
        async for page in pages_of(database, (run.account_id, run.livemode, run.currency), report.day):
            piece = tally.add(page, report.faults)
            if piece:
                yield piece


def new_tally(run: Run) -> Tally:
    """A tally for a run's file."""
    return Tally(currencies.exponent(run.currency), run.columns)


def size_served(reports: Sequence[Report], size_bytes: int) -> int:
    """How much of a file is given out: the whole, but for one that ends in the middle on purpose."""
    truncated = any(fault.kind == TRUNCATED for report in reports for fault in report.faults)
    return size_bytes // 2 if truncated else size_bytes


async def contents(database: Database, run: Run) -> AsyncIterator[bytes]:
    """What is given out of a run's file."""
    assert run.size_bytes is not None, "a run with a file has its size"
    left = run.size_bytes
    async for piece in written(database, run, await reports_of(database, run), new_tally(run)):
        if len(piece) >= left:
            yield piece[:left]
            return
        left -= len(piece)
        yield piece
