"""`tallystick merchant cases …`: what a person must see or decide."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tallystick.cli.merchant_calls import ask_as_merchant
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.showing import AsJson, console, show

app = noun("Cases: what a person must see or decide.")

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


class Action(StrEnum):
    """What can be done about a case."""

    CLOSE = "close"
    MERGE = "merge"
    LIFT = "lift"


Merchant = Annotated[str, typer.Option(help="mer_…: whose case it is.")]
CaseId = Annotated[str, typer.Argument(help="cas_…")]


@app.command("propose")
def propose(
    case: CaseId,
    merchant: Merchant,
    action: Annotated[
        Action,
        typer.Option(
            help="close: nothing is left to do; merge: ask the gateway, and merge it; lift: held goods may go."
        ),
    ],
    note: Annotated[str, typer.Option(help="Why, for whoever approves it and for the audit trail.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Propose what is done about a case; another person approves it.

    Asks the merchant service at TALLYSTICK_MERCHANT_URL with the key TALLYSTICK_MERCHANT_OPERATOR_KEY (or its _FILE).
    """
    wanted = {"action": str(action), "note": note}
    made = ask("merchant", data_dir, lambda api: api.ask("POST", f"{_path(merchant, case)}/proposals", wanted))
    show(as_json, made, f"{case}: {made['action']} is proposed by {made['proposed_by']}. Another person approves it.")


@app.command("approve")
def approve(case: CaseId, merchant: Merchant, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Approve what another person proposed: it is done at once, if the case is still what it was."""
    made = ask("merchant", data_dir, lambda api: api.ask("POST", f"{_path(merchant, case)}/approve"))
    words = {"executed": "done", "stale": "not done: the case or its order has changed since it was proposed"}
    show(as_json, made, f"{case}: {made['action']} is {words[made['state']]}.")


@app.command("reject")
def reject(case: CaseId, merchant: Merchant, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say no to what another person proposed; the case stays open."""
    made = ask("merchant", data_dir, lambda api: api.ask("POST", f"{_path(merchant, case)}/reject"))
    show(as_json, made, f"{case}: {made['action']} is rejected.")


def _path(merchant: str, case: str) -> str:
    return f"/operator/v1/merchants/{quote(merchant, safe='')}/cases/{quote(case, safe='')}"


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
