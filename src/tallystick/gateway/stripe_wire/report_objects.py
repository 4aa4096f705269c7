"""The objects of the wire that speak of reports: runs, types, files. Pure.

A file's `manifest` is ours: it stands in the `result` of a run, where Stripe has nothing of the kind.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Raw

from tallystick.gateway.reporting.run import Run
from tallystick.gateway.stripe_wire.objects import Json, unix

FIRST_DATA = 0  # reports reach back to the first money


def report_run(run: Run, pages_url: str) -> Json:
    """A report run; `pages_url` is the gateway's own address, under which files are fetched."""
    manifest = {"manifest": Raw(run.manifest.encode())} if run.manifest is not None else {}
    return {
        "id": run.id,
        "object": "reporting.report_run",
        "created": unix(run.created_at),
        "error": None,
        "livemode": run.livemode,
        "parameters": Raw(run.parameters.encode()),
        "report_type": run.report_type,
        "result": {**file(run, pages_url), **manifest} if run.file is not None else None,
        "status": run.status,
        "succeeded_at": unix(run.succeeded_at),
    }


def file(run: Run, pages_url: str) -> Json:
    """The file of a run."""
    return {
        "id": run.file,
        "object": "file",
        "created": unix(run.succeeded_at),
        "expires_at": None,
        "filename": f"{run.id}.csv",
        "links": {"object": "list", "data": [], "has_more": False, "url": f"/v1/file_links?file={run.file}"},
        "purpose": "finance_report_run",
        "size": run.size_bytes,
        "title": f"FinanceReportRun {run.id}",
        "type": "csv",
        "url": f"{pages_url}/v1/files/{run.file}/contents",
    }


def report_type(name: str, until: datetime, columns: Sequence[str], *, livemode: bool) -> Json:
    """A report type, and until when its data is there."""
    return {
        "id": name,
        "object": "reporting.report_type",
        "data_available_end": unix(until),
        "data_available_start": FIRST_DATA,
        "default_columns": list(columns),
        "livemode": livemode,
        "name": name.partition(".")[0].replace("_", " ").capitalize(),
        "updated": unix(until),
        "version": int(name.rpartition(".")[2]),
    }
