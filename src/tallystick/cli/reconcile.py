"""`tallystick merchant reconcile`: a day's settlement beside the orders, with what was found and mended."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tallystick.cli.failures import CommandFailed, CommandRefused
from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.merchant_calls import ask_as_merchant
from tallystick.cli.running import DataDir
from tallystick.cli.showing import AsJson, console, show
from tallystick.cli.times import DAY

LOOK_EVERY_S: Final = 0.5
WAIT_S: Final = 3_600.0
ENDED: Final = ("done", "refused")
LAYOUTS: Final = {".html": "html", ".csv": "csv"}  # of a day's report, by its file's name


class Layout(StrEnum):
    """The layout of a file that is handed in."""

    STRIPE = "stripe"
    ADYEN = "adyen"
    CAMT053 = "camt053"


def reconcile(
    day: Annotated[datetime | None, typer.Option("--date", help="The day; default: yesterday (UTC).", **DAY)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="The gateway corrected its reports: take this day and later ones again.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Read this file instead of the gateway's report.")
    ] = None,
    layout: Annotated[Layout | None, typer.Option("--format", help="The layout of --file.")] = None,
    connection: Annotated[str | None, typer.Option(help="con_…; may be left out where there is only one.")] = None,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the day's report here, to a name in .html or .csv.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare what was settled on a day with what was sold, both ways, and show what was found.

    A day is reconciled once, by itself in the night after or by this command: asked for again, the result is shown.
    Asks the merchant service at TALLYSTICK_MERCHANT_URL with the key TALLYSTICK_MERCHANT_API_KEY (or its _FILE).
    """
    if (file is None) != (layout is None):
        raise CommandRefused("--file and --format belong together")
    if corrected and (file is not None or dry_run):
        raise CommandRefused("--corrected takes the gateway's report: neither --file nor --dry-run goes with it")
    if report is not None and (report.suffix not in LAYOUTS or not report.parent.is_dir()):
        raise CommandRefused(f"{report} cannot be the report: name a file in .html or .csv, in a folder that is there")
    from tallystick.ports.clock import SystemClock

    wanted: date = day.date() if day else SystemClock().now().date() - timedelta(days=1)
    content = file.read_bytes() if file else None

    async def work(api: MerchantApi) -> dict[str, Any]:
        if content is not None:
            assert layout is not None, "checked"
            run = await api.hand_in(content, str(layout), wanted.isoformat(), connection, dry_run=dry_run)
        else:
            run = await api.reconcile(wanted.isoformat(), connection, dry_run=dry_run, corrected=corrected)
        run = await _ended(api, run["id"], quiet=as_json)
        if report is not None:
            report.write_bytes(await api.report(run["id"], LAYOUTS[report.suffix]))
        return run

    found = ask_as_merchant(data_dir, work)
    if as_json:
        show(True, found)
    else:
        _print(found)
    if found["state"] == "refused":
        raise CommandFailed("the settlement was refused; a case says why")


async def _ended(api: MerchantApi, run_id: str, *, quiet: bool) -> dict[str, Any]:
    """The run once it has ended; meanwhile its progress is shown. Raises CommandFailed."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from tallystick.ports.clock import SystemClock

    clock = SystemClock()
    ends_s = clock.monotonic_s() + WAIT_S
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("waiting", total=None)
        while True:
            run = await api.run(run_id)
            if run["state"] in ENDED:
                return run
            words = f"{run['state']}, {run['lines_read']:,} lines read"
            progress.update(task, description=f"{words}; {run['error']}" if run["error"] else words)
            if clock.monotonic_s() > ends_s or (run["error"] and run["state"] == "due"):
                raise CommandFailed(f"not yet: {run['error'] or 'the run takes long'}; it is tried again by itself")
            await clock.sleep(LOOK_EVERY_S)


def _print(run: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    dry = ", dry run: nothing was done" if run["dry_run"] else ""
    typer.echo(f"{run['id']}  {run['date']}  {run['connection']}  {run['state']}{dry}")
    for file in run["files"]:
        told = f"refused: {file['reason']}" if file["reason"] else f"{file['lines']} lines"
        typer.echo(f"  {file['currency'] or ''} {told}")
    if run["stopped"]:
        typer.echo(f"Automatic actions were stopped: {run['stopped']}.")
    lines = Table("lines", "code", "currency", "net, minor units", box=None, padding=(0, 2, 0, 0))
    for each in run["summary"]["lines"]:
        cells = (each["lines"], each["code"], each["currency"], each["net_minor"])
        lines.add_row(*(Text(str(cell)) for cell in cells))
    console().print(lines)
    if not run["summary"]["mismatches"]:
        typer.echo("Nothing was compared." if run["state"] == "refused" else "Everything fits.")
        return
    found = Table("found", "code", "what became of it", box=None, padding=(0, 2, 0, 0))
    for each in run["summary"]["mismatches"]:
        found.add_row(*(Text(str(cell)) for cell in (each["found"], each["code"], each["state"])))
    console().print(found)
