"""`tallystick gateway dead-letters …` and `endpoints …`: what operators do with webhooks of a running installation."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from tallystick.cli.failures import CommandFailed, CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, console, show
from tallystick.cli.standing import show_standings
from tallystick.cli.times import instant, length

app = noun("Webhooks whose tries are exhausted.")
endpoints = noun("Webhook endpoints.")

LETTERS = "/operator/v1/dead-letters"
REDRIVES = "/operator/v1/redrives"
LOOK_S = 0.5  # between two looks at a redrive's progress
ROWS_MAX = 100

Account = Annotated[str | None, typer.Option(help="Only of this account, acct_….")]
Endpoint = Annotated[str | None, typer.Option(help="Only to this endpoint, we_….")]
Type = Annotated[
    str | None, typer.Option("--type", help="Only of this event type; `payment_intent.*` means all of a kind.")
]
Reason = Annotated[str | None, typer.Option(help="Only what failed at last for this reason, such as http_500.")]
Since = Annotated[str | None, typer.Option(help="Only what died since then: 2026-11-23T12:00:00Z, or 90m, 4h, 2d ago.")]
Until = Annotated[str | None, typer.Option(help="Only what died before then, likewise.")]
Ours = Annotated[bool | None, typer.Option("--ours/--theirs", help="Only by our own fault, or only by the endpoint's.")]


@app.command("list")
def list_letters(
    account: Account = None,
    endpoint: Endpoint = None,
    type: Type = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    ours: Ours = None,
    limit: Annotated[int, typer.Option(min=1, max=ROWS_MAX, help="How many at most, the last to die first.")] = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the last to die first."""
    chosen = _chosen(account, endpoint, type, reason, since, until, ours)

    async def page(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("GET", f"{LETTERS}?{urlencode({**_as_query(chosen), 'limit': limit})}")

    found = ask("gateway", data_dir, page)
    if as_json:
        show(True, {"dead_letters": found["data"], "more": found["next_cursor"] is not None})
        return
    _print(found["data"])
    if found["next_cursor"] is not None:
        typer.echo("There are more: choose with --endpoint, --type, --since, or a higher --limit.")


@app.command("show")
def show_letter(
    delivery: Annotated[str, typer.Argument(help="dlv_…")], data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Show a dead letter with every try."""

    async def one(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("GET", f"{LETTERS}/{quote(delivery, safe='')}")

    found = ask("gateway", data_dir, one)
    if as_json:
        show(True, found)
        return
    letter = found["dead_letter"]
    _print([letter])
    typer.echo(f"{letter['event']} to {letter['endpoint']} of {letter['account']}, {letter['url']}")
    for attempt in found["attempts"]:
        said = attempt["status"] or attempt["reason"]
        typer.echo(f"  {_clock(attempt['started_at'])}  {said}  {attempt['duration_ms']} ms  {attempt['answer'] or ''}")


@app.command("redrive")
def redrive(
    delivery: Annotated[str | None, typer.Argument(help="This one alone, dlv_….")] = None,
    account: Account = None,
    endpoint: Endpoint = None,
    type: Type = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    ours: Ours = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters there are.")] = False,
    rate: Annotated[int, typer.Option(min=1, max=1000, help="At most so many a second.")] = 50,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is done; it goes on either way.")] = True,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Deliver dead letters after all, under their old ids: one, or all that fit everything that is given."""
    chosen = _chosen(account, endpoint, type, reason, since, until, ours) | ({"delivery": delivery} if delivery else {})
    if not chosen and not everything:
        raise CommandRefused("say which dead letters (a dlv_…, --endpoint, --type, --since, …), or --all")
    asked = {**chosen, "all": everything, "rate_max": rate, "dry_run": dry_run}

    async def carry_out(api: ServiceApi) -> dict[str, Any]:
        made = await api.ask("POST", REDRIVES, asked)
        return made if dry_run or not wait else await _follow(api, made, quiet=as_json)

    made = ask("gateway", data_dir, carry_out)
    if dry_run:
        show(as_json, made, f"{made['matched']} dead letters would be redriven. Nothing was done.")
    else:
        words = f"Redrive {made['id']} is {made['state']}: {made['redriven']} of {made['matched']} dead letters."
        show(as_json, made, words if made["matched"] else "No dead letter fits: nothing is redriven.")
    if not dry_run and made["state"] == "canceled":
        raise CommandFailed(f"redrive {made['id']} was canceled")


@endpoints.command("health")
def health(
    endpoint: Annotated[str | None, typer.Option(help="Only this one, we_….")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the endpoints that are slowed down, broken or recovering, and what is held for them."""
    show_standings("gateway", endpoint, data_dir, as_json)


@endpoints.command("roll-secret")
def roll_secret(
    endpoint: Annotated[str, typer.Argument(help="we_…")],
    account: Annotated[str, typer.Option(help="Whose it is, acct_….")],
    live: Annotated[bool, typer.Option("--live", help="In live mode.")] = False,
    overlap: Annotated[
        str, typer.Option(help="How long the old secret signs beside the new one: 0s, 90m, 24h, at most 7d.")
    ] = "24h",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new signing secret and print it, once; the old one ends by itself."""
    asked = {"account": account, "livemode": live, "overlap_s": int(length(overlap).total_seconds())}

    async def roll(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("POST", f"/operator/v1/endpoints/{quote(endpoint, safe='')}/roll-secret", asked)

    rolled = ask("gateway", data_dir, roll)
    words = f"The old secret signs beside it for {overlap}. Keep the new one now: it is not shown again."
    show(as_json, rolled, rolled["secret"], words)


async def _follow(api: ServiceApi, redrive: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Look on until the redrive has ended; gives how it ended."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from tallystick.ports.clock import SystemClock

    clock = SystemClock()
    columns = ("Redriving", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("redrive", total=redrive["matched"])
        while redrive["state"] == "running":
            await clock.sleep(LOOK_S)
            redrive = await api.ask("GET", f"{REDRIVES}/{redrive['id']}")
            bar.update(task, completed=redrive["redriven"])
    return redrive


def _chosen(
    account: str | None,
    endpoint: str | None,
    type: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    ours: bool | None,
) -> dict[str, Any]:
    given = {"account": account, "endpoint": endpoint, "type": type, "reason": reason, "ours": ours}
    given |= {"since": instant(since), "until": instant(until)}
    return {name: value for name, value in given.items() if value is not None}


def _as_query(chosen: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in chosen.items()}


def _print(letters: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not letters:
        typer.echo("No dead letters.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("died", "delivery", "type", "endpoint", "reason", "fault", "tries"):
        table.add_column(head, overflow="fold")  # an id cut short names nothing
    for each in letters:
        cells = (_clock(each["died_at"]), each["id"], each["type"], each["endpoint"], each["reason"], each["fault"])
        table.add_row(*(Text(cell) for cell in cells), str(each["tries"]))
    console().print(table)


def _clock(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M:%S")
