"""The routes of report runs, report types and files."""

import msgspec

from tallystick.gateway.reporting.commands import SQL, Reports, available_until
from tallystick.gateway.reporting.files import contents
from tallystick.gateway.reporting.parameters import REPORT_TYPES, CreateRun, ListRuns
from tallystick.gateway.reporting.run import Run
from tallystick.gateway.settlement.lines import COLUMNS
from tallystick.gateway.stripe_wire import errors, report_objects, writes
from tallystick.gateway.stripe_wire.call import Call, Download, Reply
from tallystick.gateway.stripe_wire.parameters import Parameters, Retrieve
from tallystick.gateway.stripe_wire.reading import SQL as WIRE
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.ports.clock import Clock

RUN = "reporting.report_run"
RUNS = "/v1/reporting/report_runs"
TYPE = "reporting.report_type"
FILE = "file"
FILES = "/v1/files"
CSV = "text/csv; charset=utf-8"


def routes(reports: Reports, reads: Reads, clock: Clock) -> list[Route]:
    """Create, retrieve and list runs; retrieve report types, files and their contents."""
    database = reads.database

    async def download(call: Call, id: str, _sent: Parameters) -> Reply:
        rows = await database.rows(SQL.run_of_file, call.caller.account_id, call.caller.livemode, id)
        if not rows:
            raise errors.no_such(FILE, id)
        run = Run(**rows[0])
        assert run.size_bytes is not None, "a run with a file has its size"
        return Download(200, b"", content_type=CSV, size_bytes=run.size_bytes, pieces=contents(database, run))

    def report_type(name: str) -> Route:
        async def retrieve(call: Call, _id: str, _sent: Parameters) -> Reply:
            days = await database.rows(SQL.open_days, call.caller.account_id, call.caller.livemode)
            until = available_until(days, clock.now())
            shaped = report_objects.report_type(name, until, tuple(COLUMNS), livemode=call.caller.livemode)
            return Reply(200, msgspec.json.encode(shaped))

        path = f"/v1/reporting/report_types/{name}"
        return Route(method="GET", path=path, parameters=Retrieve, run=retrieve, kind=TYPE)

    return [
        writes.create(RUNS, CreateRun, reports.create, kind=RUN),
        reads.page(RUNS, RUN, ListRuns, (WIRE.page_of_runs, WIRE.page_of_runs_backwards)),
        reads.one(f"{RUNS}/{{id}}", RUN, noun="report run"),
        *(report_type(name) for name in REPORT_TYPES),
        reads.one(f"{FILES}/{{id}}", FILE),
        Route(method="GET", path=f"{FILES}/{{id}}/contents", parameters=Retrieve, run=download, kind=FILE),
    ]
