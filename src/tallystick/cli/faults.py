"""`tallystick gateway faults …`: what the sandbox is to do wrong, so that users see how their integration takes it."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, show

PATH = "/operator/v1/faults"

app = noun("Faults on demand, in test mode only: docs/faults.md says what each does.")


class Place(StrEnum):
    """Where a fault strikes."""

    ACQUIRER = "acquirer"
    WEBHOOKS = "webhooks"
    API = "api"
    SETTLEMENT = "settlement"
    PAYOUTS = "payouts"


@app.command("add")
def add(
    place: Annotated[Place, typer.Argument(help="Where it strikes.")],
    kind: Annotated[
        str,
        typer.Argument(help="What happens; a wrong one is answered with those there are."),
    ],
    calls: Annotated[int | None, typer.Option(help="Strike so many calls; default: until it is cleared.")] = None,
    share: Annotated[int | None, typer.Option(help="Strike so many of a hundred calls; default: each.")] = None,
    account: Annotated[str | None, typer.Option(help="Only calls of this account, acct_….")] = None,
    delay: Annotated[float | None, typer.Option(help="Seconds, of `slow` and `delay`: at most 30; default: 5.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set a fault.

    The bank's next answer is lost: tallystick gateway faults add acquirer drop_answer --calls 1
    """
    given = {"calls": calls, "share_pct": share, "account": account, "delay_s": delay}
    body = {"place": str(place), "kind": kind, **{name: value for name, value in given.items() if value is not None}}

    async def send(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("POST", PATH, body)

    added = ask("gateway", data_dir, send)
    until = "until it is cleared" if calls is None else f"for {calls} {'call' if calls == 1 else 'calls'}"
    show(as_json, added, f"{added['id']}: {place} {kind}, {until}")


@app.command("list")
def list_all(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the faults that are set, spent ones too."""

    async def rows(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("GET", PATH)

    found = ask("gateway", data_dir, rows)["data"]
    show(as_json, {"faults": found}, *([_words(row) for row in found] or ["No fault is set."]))


@app.command("clear")
def clear(
    fault: Annotated[str | None, typer.Argument(help="This one alone, flt_….")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Clear one fault, or all."""

    async def send(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("DELETE", PATH if fault is None else f"{PATH}/{quote(fault, safe='')}")

    cleared = ask("gateway", data_dir, send)
    show(as_json, cleared, f"{cleared['cleared']} cleared.")


def _words(row: dict[str, Any]) -> str:
    calls = row["calls_left"]
    left = "until cleared" if calls is None else f"{calls} {'call' if calls == 1 else 'calls'} left"
    share = f", {row['share_pct']} % of calls" if row["share_pct"] is not None else ""
    whose = f", {row['account']}" if row["account"] is not None else ""
    return f"{row['id']}  {row['place']} {row['kind']}, {left}{share}{whose}, struck {row['struck']} times"
