"""`tallystick gateway unknown-outcomes …`: what may or may not have happened at the acquirer."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, show

PATH = "/operator/v1/unknown-outcomes"
PAGES_MAX = 100

app = noun("Charges, captures, voids and refunds whose outcome nobody knows.")


@app.command("list")
def list_all(
    account: Annotated[str | None, typer.Option(help="Only of this account, acct_….")] = None,
    cases: Annotated[bool, typer.Option("--cases", help="Only what a person must look at.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what the acquirer is being asked about."""
    filters: dict[str, str | int] = {"account": account} if account is not None else {}
    if cases:
        filters["cases"] = "true"

    async def rows(api: ServiceApi) -> list[dict[str, Any]]:
        return await api.rows(PATH, pages=PAGES_MAX, filters=filters)

    found = ask("gateway", data_dir, rows)
    words = [
        f"{row['account']}  {row['id']}  {row['kind']} of {row['amount']} {row['currency']}, "
        f"asked {row['inquiries']} times, again {row['next_inquiry_at']}{'  CASE' if row['case_at'] else ''}"
        for row in found
    ]
    show(as_json, {"unknown_outcomes": found}, *(words or ["Every outcome is known."]))


class Outcome(StrEnum):
    """What became of a charge, capture, void or refund."""

    DONE = "done"
    REFUSED = "refused"


@app.command("resolve")
def resolve(
    object_id: Annotated[str, typer.Argument(help="ch_… or acr_…, as `list` shows it")],
    account: Annotated[str, typer.Option(help="Whose it is, acct_….")],
    outcome: Annotated[Outcome, typer.Option(help="Whether the bank did it, or did not.")],
    evidence: Annotated[str, typer.Option(help="How you know: the bank's letter, its portal, a call.")],
    reference: Annotated[str | None, typer.Option(help="The bank's own reference; needed where it was done.")] = None,
    live: Annotated[bool, typer.Option("--live", help="In live mode.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what happened, with evidence: it is recorded as if the acquirer had said it."""
    body = {
        "account": account,
        "outcome": str(outcome),
        "evidence": evidence,
        "livemode": live,
        **({"reference": reference} if reference is not None else {}),
    }

    async def send(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("POST", f"{PATH}/{quote(object_id, safe='')}/resolve", body)

    show(as_json, ask("gateway", data_dir, send), f"{object_id} is recorded as {outcome}.")
