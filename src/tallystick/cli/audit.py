"""`tallystick gateway audit …` and `tallystick merchant audit …`: what operators did."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from tallystick.cli.nouns import noun
from tallystick.cli.running import NOUNS, DataDir, ask
from tallystick.cli.showing import AsJson, console, show
from tallystick.cli.times import instant

PAGES_MAX = 100
PAGE_ROWS = 100


def commands(service: str) -> typer.Typer:
    """The commands for "gateway" or "merchant"."""
    app = noun(f"What operators of {NOUNS[service]} did: the audit trail.")

    @app.command("list")
    def list_acts(
        operator: Annotated[str | None, typer.Option(help="Only what this operator did.")] = None,
        act: Annotated[str | None, typer.Option(help="Only acts with this in their name, such as `redrives`.")] = None,
        subject: Annotated[str | None, typer.Option(help="Only acts on this, such as an id.")] = None,
        since: Annotated[
            str | None, typer.Option(help="From then on: 2026-11-23T12:00:00Z, or 90m, 4h, 2d ago.")
        ] = None,
        until: Annotated[str | None, typer.Option(help="Before then, likewise.")] = None,
        pages: Annotated[int, typer.Option(min=1, max=PAGES_MAX, help=f"How many pages of {PAGE_ROWS}.")] = 1,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        """List what operators did, the newest first. Needs the role auditor or admin; that it was read is kept too."""
        given = {"operator": operator, "act": act, "subject": subject, "since": instant(since), "until": instant(until)}
        filters = {name: value for name, value in given.items() if value is not None}
        found = ask(
            service,
            data_dir,
            lambda api: api.rows("/operator/v1/audit", pages=pages, filters=filters, limit=PAGE_ROWS),
        )
        if as_json:
            show(True, {"acts": found})
        else:
            _print(found)

    @app.command("purge")
    def purge_acts(
        older_than: Annotated[
            str | None,
            typer.Option(help="Acts so many days old, such as 400d; default: …_AUDIT_RETENTION_DAYS."),
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Take old acts from the audit trail, and note that in it.

        Works in the database as the owner of the tables, by TALLYSTICK_…_OWNER_DSN: services can only add to the trail.
        """
        from tallystick.cli.audit_purging import purge_audit

        gone = asyncio.run(purge_audit(service, older_than))
        show(as_json, {"purged": gone.acts, "before": gone.before}, f"{gone.acts} acts before {gone.before} are gone.")

    return app


def _print(found: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not found:
        typer.echo("None.")
        return
    table = Table("at", "operator", "role", "act", "on", "from", "outcome", box=None, padding=(0, 2, 0, 0))
    for act in found:
        where = f"{act['via']} {act['address']}".strip()
        cells = (
            act["at"],
            act["operator"],
            act["role"],
            act["act"],
            act["subject"],
            where,
            act["outcome"] or "unknown",
        )
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in cells))
    console().print(table)
