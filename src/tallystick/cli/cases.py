"""`tallystick merchant cases …`: what a person must see or decide."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from tallystick.cli.merchant_calls import ask_as_merchant
from tallystick.cli.running import DataDir
from tallystick.cli.showing import AsJson, console, show

app = typer.Typer(help="Cases: what a person must see or decide.", no_args_is_help=True)

PAGES_MAX = 100


class State(StrEnum):
    """How a case stands."""

    OPEN = "open"
    CLOSED = "closed"


@app.command("list")
def list_cases(
    state: Annotated[State | None, typer.Option(help="Only cases in this state.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List a merchant's cases, the newest first.

    Asks the merchant service at TALLYSTICK_MERCHANT_URL with the key TALLYSTICK_MERCHANT_API_KEY (or its _FILE).
    """
    found = ask_as_merchant(data_dir, lambda api: api.cases(state=state and str(state), pages=PAGES_MAX))
    if as_json:
        show(True, {"cases": found})
    else:
        _print(found)


@app.command("show")
def show_case(
    case: Annotated[str, typer.Argument(help="cas_…")], data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Show one case with everything that is known of it."""
    found = ask_as_merchant(data_dir, lambda api: api.case(case))
    details = (f"  {name}: {value}" for name, value in found["details"].items())
    show(
        as_json,
        found,
        f"{found['id']}  {found['state']}  {found['kind']}  since {found['opened_at']}",
        found["words"],
        f"  about: {found['order'] or found['subject']}",
        *details,
    )


def _print(found: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not found:
        typer.echo("No cases.")
        return
    table = Table("case", "state", "kind", "about", "opened", box=None, padding=(0, 2, 0, 0))
    for case in found:
        cells = (case["id"], case["state"], case["kind"], case["order"] or case["subject"], case["opened_at"])
        table.add_row(*(Text(str(cell)) for cell in cells))
    console().print(table)
