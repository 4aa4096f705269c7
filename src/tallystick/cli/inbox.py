"""`tallystick merchant inbox …`: webhooks that came in and came to nothing so far."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.showing import AsJson, console, show
from tallystick.cli.times import instant

app = noun("Webhooks that came in and came to nothing so far.")

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
    """List webhooks that came to nothing, of all merchants.

    One that is tried no more by itself is a dead letter: `run` tries it again.
    """
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
def run_webhooks(
    connection: Annotated[str | None, typer.Argument(help="Only of this connection, con_….")] = None,
    event: Annotated[str | None, typer.Argument(help="Only this event, evt_….")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only of this merchant, mer_….")] = None,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    type: Annotated[str | None, typer.Option("--type", help="Only of this event type.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what came since then: 2026-11-23T12:00:00Z, or 90m, 4h, 2d ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only what came before then, likewise.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are, of all merchants.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Try webhooks again: one now, or all that fit, which the running service does by itself."""
    given = {"merchant": merchant, "state": state, "type": type, "since": instant(since), "until": instant(until)}
    chosen = {name: str(value) for name, value in given.items() if value is not None}
    if connection and event and not (chosen or everything or dry_run):
        _run_one(connection, event, data_dir, as_json)
        return
    chosen |= {name: value for name, value in (("connection", connection), ("event", event)) if value}
    if not chosen and not everything:
        raise CommandRefused("say which webhooks (con_… evt_…, --merchant, --state, --type, --since, …), or --all")
    asked = {**chosen, "all": everything, "dry_run": dry_run}
    made = ask("merchant", data_dir, lambda api: api.ask("POST", f"{PATH}/run", asked))
    if dry_run:
        show(as_json, made, f"{made['matched']} webhooks would be tried again. Nothing was done.")
    else:
        due, matched = made["due"], made["matched"]
        words = f"{due} of {matched} webhooks are tried again; the others are already."
        show(as_json, made, words if matched else "No webhook fits: nothing is tried again.")


def _run_one(connection: str, event: str, data_dir: Path | None, as_json: bool) -> None:
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
