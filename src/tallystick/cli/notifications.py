"""`tallystick merchant endpoints …`, `… dead-letters …`: where shops hear of their orders; what they did not take."""

import asyncio
import os
from typing import Annotated

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.showing import AsJson, show
from tallystick.cli.standing import show_standings

letters = noun("Notifications that shops did not take.")
app = noun("Endpoints: where a merchant's shop hears of its orders.")

PAGES_MAX = 100

Merchant = Annotated[str | None, typer.Option(help="mer_…; may be left out where there is only one.")]
EndpointId = Annotated[str, typer.Argument(help="ep_…")]


@app.command("add")
def add(
    url: Annotated[str, typer.Option(help="The shop's address, such as https://shop.example/notifications.")],
    event: Annotated[
        list[str] | None, typer.Option(help="What it hears of, such as order.paid; repeatable; default: everything.")
    ] = None,
    merchant: Merchant = None,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint and print the secret that signs what is sent there, once.

    What is sent is signed as Standard Webhooks are, and as Stripe's. Ship on order.paid, on nothing else.
    """
    from tallystick.cli.installing import add_shop_endpoint
    from tallystick.merchant.settings import read

    made = asyncio.run(add_shop_endpoint(read(os.environ), merchant, url, event or []))
    show(
        as_json,
        {"endpoint": made.endpoint_id, "url": url, "secret": made.secret},
        f"Endpoint {made.endpoint_id}, {url}",
        f"  {made.secret}",
        "Keep the secret now: it is not shown again.",
    )


@app.command("list")
def list_all(merchant: Merchant = None, as_json: AsJson = False) -> None:
    """List a merchant's endpoints."""
    from tallystick.cli.installing import list_shop_endpoints
    from tallystick.merchant.settings import read

    found = asyncio.run(list_shop_endpoints(read(os.environ), merchant))
    words = (f"{each.id}  {each.status}  {each.url}  {', '.join(each.enabled_events)}" for each in found)
    show(as_json, {"endpoints": found}, *(words if found else ["No endpoints."]))


@app.command("health")
def health(
    endpoint: Annotated[str | None, typer.Option(help="Only this one, ep_….")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the endpoints that are slowed down, broken or recovering, and what is held for them."""
    show_standings("merchant", endpoint, data_dir, as_json)


@app.command("roll-secret")
def roll_secret(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Give an endpoint a new signing secret and print it, once; the old one signs beside it until the next roll."""
    from tallystick.cli.installing import roll_shop_secret
    from tallystick.merchant.settings import read

    secret = asyncio.run(roll_shop_secret(read(os.environ), endpoint))
    show(as_json, {"endpoint": endpoint, "secret": secret}, secret, "Keep it now: it is not shown again.")


@app.command("enable")
def enable(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Send to an endpoint again; what was held meanwhile is released gradually."""
    _switch(endpoint, True, as_json)


@app.command("disable")
def disable(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Send nothing to an endpoint; what happens meanwhile is held for it."""
    _switch(endpoint, False, as_json)


@app.command("remove")
def remove(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Delete an endpoint; what it had still to get becomes dead letters."""
    from tallystick.cli.installing import remove_shop_endpoint
    from tallystick.merchant.settings import read

    asyncio.run(remove_shop_endpoint(read(os.environ), endpoint))
    show(as_json, {"endpoint": endpoint, "removed": True}, f"{endpoint} is removed.")


def _switch(endpoint: str, enabled: bool, as_json: bool) -> None:
    from tallystick.cli.installing import switch_shop_endpoint
    from tallystick.merchant.settings import read

    asyncio.run(switch_shop_endpoint(read(os.environ), endpoint, enabled))
    status = "enabled" if enabled else "disabled"
    show(as_json, {"endpoint": endpoint, "status": status}, f"{endpoint} is {status}.")


@letters.command("list")
def list_letters(
    endpoint: Annotated[str | None, typer.Option(help="Only to this endpoint, ep_….")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, those of all merchants, the first to die first."""
    filters = {"endpoint": endpoint} if endpoint else {}
    path = "/operator/v1/dead-letters"
    found = ask("merchant", data_dir, lambda api: api.rows(path, pages=PAGES_MAX, filters=filters))
    words = (
        f"{each['died_at']}  {each['id']}  {each['type']}  {each['endpoint']}  {each['reason']}  {each['tries']} tries"
        for each in found
    )
    show(as_json, {"dead_letters": found}, *(words if found else ["No dead letters."]))


@letters.command("redrive")
def redrive(
    delivery: Annotated[str | None, typer.Argument(help="This one alone, dlv_….")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only to this endpoint, ep_….")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters there are.")] = False,
    rate: Annotated[int, typer.Option(min=1, max=1000, help="At most so many a second.")] = 50,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Deliver dead letters after all, under their old ids; the running service does so by itself."""
    chosen = {name: value for name, value in (("delivery", delivery), ("endpoint", endpoint)) if value}
    if not chosen and not everything:
        raise CommandRefused("say which dead letters (a dlv_… or --endpoint), or --all")
    asked = {**chosen, "all": everything, "rate_max": rate, "dry_run": dry_run}
    made = ask("merchant", data_dir, lambda api: api.ask("POST", "/operator/v1/redrives", asked))
    words = "would be redriven. Nothing was done." if dry_run else f"are redriven by {made['id']}."
    nothing = "No dead letter fits: nothing is redriven."
    show(as_json, made, f"{made['matched']} dead letters {words}" if made["matched"] else nothing)
