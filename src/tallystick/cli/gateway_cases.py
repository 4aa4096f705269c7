"""`tallystick gateway cases …`: what a person must see or decide about payments."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, show

PATH = "/operator/v1/cases"
PAGES_MAX = 100

app = noun("Cases: what a person must see or decide about payments.")


@app.command("list")
def list_all(
    account: Annotated[str | None, typer.Option(help="Only of this account, acct_….")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="The closed ones instead of the open ones.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List cases, the open ones unless others are asked for."""
    filters: dict[str, str | int] = {"state": "closed" if closed else "open"}
    if account is not None:
        filters["account"] = account

    async def rows(api: ServiceApi) -> list[dict[str, Any]]:
        return await api.rows(PATH, pages=PAGES_MAX, filters=filters)

    found = ask("gateway", data_dir, rows)
    words = [
        f"{row['account']}  {row['id']}  {row['kind']} {row['subject']}: {row['amount']} {row['currency']} of "
        f"{row['payment_intent']}, since {row['opened_at']}\n    {row['words']}"
        for row in found
    ]
    show(as_json, {"cases": found}, *(words or ["No cases."]))


@app.command("close")
def close(
    case: Annotated[str, typer.Argument(help="cas_…, as `list` shows it")],
    account: Annotated[str, typer.Option(help="Whose it is, acct_….")],
    note: Annotated[str, typer.Option(help="What was done about it.")],
    live: Annotated[bool, typer.Option("--live", help="In live mode.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Close a case. Nothing else is done by it."""
    body = {"account": account, "note": note, "livemode": live}

    async def send(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("POST", f"{PATH}/{quote(case, safe='')}/close", body)

    show(as_json, ask("gateway", data_dir, send), f"{case} is closed.")
