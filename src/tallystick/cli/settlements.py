"""`tallystick gateway settle`: close business days by hand, or correct the reports of days that were wrong."""

from datetime import datetime
from typing import Annotated, Any

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.running import DataDir, ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, show
from tallystick.cli.times import DAY

PATH = "/operator/v1/settlements"


def settle(
    date: Annotated[
        datetime | None, typer.Option(help="Close days up to this one; default: all that have ended.", **DAY)
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only of this account, acct_….")] = None,
    correct: Annotated[
        datetime | None,
        typer.Option(help="Instead, write the next revision of the account's reports from this day on.", **DAY),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Close business days that have ended: balances become available, payouts are made, reports are written."""
    if correct is not None and account is None:
        raise CommandRefused("--correct needs --account")
    path = PATH if correct is None else f"{PATH}/correct"
    day = correct or date
    given = {"date": day and f"{day:%Y-%m-%d}", "account": account}
    body = {name: value for name, value in given.items() if value is not None}

    async def send(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("POST", path, body)

    reports = ask("gateway", data_dir, send)["data"]
    nothing = "Nothing is to be closed." if correct is None else "No report from that day on is to be corrected."
    show(as_json, {"settlements": reports}, *([_words(row) for row in reports] or [nothing]))


def _words(row: dict[str, Any]) -> str:
    revision = f", revision {row['revision']}" if row["revision"] > 1 else ""
    mode = "live" if row["livemode"] else "test"
    return (
        f"{row['account']} {mode}  {row['date']} {row['currency']}{revision}: {row['lines']} lines, net {row['net']}, "
        f"closing {row['closing']} minor units"
    )
