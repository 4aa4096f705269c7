"""`tallystick merchant inbox …`: webhooks that came in and came to nothing so far."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tallystick.cli.running import DataDir, ask
from tallystick.cli.showing import AsJson, console, show

app = typer.Typer(help="Webhooks that came in and came to nothing so far.", no_args_is_help=True)

PATH = "/operator/v1/inbox"
PAGES_MAX = 100


class State(StrEnum):
    """Why a webhook came to nothing: it fits no order, or it could not be applied."""

    PARKED = "parked"
    FAILED = "failed"


Connection = Annotated[str, typer.Argument(help="con_…")]
Event = Annotated[str, typer.Argument(help="evt_…")]


@app.command("list")
def list_webhooks(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List them, those of all merchants. One that is tried no more by itself is a dead letter: `run` tries it again."""
    filters = {"state": str(state)} if state else {}
    found = ask("merchant", data_dir, lambda api: api.rows(PATH, pages=PAGES_MAX, filters=filters))
    if as_json:
        show(True, {"webhooks": found})
    else:
        _print(found)


@app.command("show")
def show_webhook(connection: Connection, event: Event, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show what became of one webhook."""
    path = f"{PATH}/{quote(connection, safe='')}/{quote(event, safe='')}"
    found = ask("merchant", data_dir, lambda api: api.ask("GET", path))
    show(as_json, found, *(f"{name}: {value}" for name, value in found.items() if value is not None))


@app.command("run")
def run_webhook(connection: Connection, event: Event, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Try one webhook again now."""
    path = f"{PATH}/{quote(connection, safe='')}/{quote(event, safe='')}/run"
    found = ask("merchant", data_dir, lambda api: api.ask("POST", path))
    show(as_json, found, f"{event}: {found['state']}{': ' + found['error'] if found['error'] else ''}")


def _print(found: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not found:
        typer.echo("All that came in was applied.")
        return
    table = Table("connection", "event", "type", "state", "tries", "next", "why", box=None, padding=(0, 2, 0, 0))
    for webhook in found:
        cells = (
            webhook["connection"],
            webhook["event"],
            webhook["type"],
            webhook["state"],
            webhook["tries"],
            webhook["due_at"] or "dead letter",
            webhook["error"] or f"order {webhook['order'] or 'unknown'}",
        )
        table.add_row(*(Text(str(cell)) for cell in cells))
    console().print(table)
