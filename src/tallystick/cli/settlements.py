"""`tallystick gateway settle`: close business days by hand, or correct the reports of days that were wrong."""

from typing import Annotated, Any

import typer

from tallystick.cli.running import DataDir, ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, show

PATH = "/operator/v1/settlements"


def settle(
    date: Annotated[str | None, typer.Option(help="Close days up to this one; else all that ended.")] = None,
    account: Annotated[str | None, typer.Option(help="Only of acct_…")] = None,
    correct: Annotated[
        str | None, typer.Option(help="Write the next revision of the account's reports from this day on, instead.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Close business days that have ended: balances become available, payouts are made, reports are written."""
    if correct is not None and account is None:
        raise typer.BadParameter("--correct needs --account")
    path = PATH if correct is None else f"{PATH}/correct"
    given = {"date": correct or date, "account": account}
    body = {name: value for name, value in given.items() if value is not None}

    async def send(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("POST", path, body)

    reports = ask("gateway", data_dir, send)["data"]
    show(as_json, {"settlements": reports}, *([_words(row) for row in reports] or ["Nothing is to be closed."]))


def _words(row: dict[str, Any]) -> str:
    revision = f", revision {row['revision']}" if row["revision"] > 1 else ""
    mode = "live" if row["livemode"] else "test"
    return (
        f"{row['account']} {mode}  {row['date']} {row['currency']}{revision}: {row['lines']} lines, net {row['net']}, "
        f"closing {row['closing']} minor units"
    )
