"""`tallystick merchant endpoints …`: where a merchant's shop hears of its orders."""

import asyncio
import os
from typing import Annotated

import typer

from tallystick.cli.showing import AsJson, show

app = typer.Typer(help="Endpoints: where a merchant's shop hears of its orders.", no_args_is_help=True)

Merchant = Annotated[str | None, typer.Option(help="mer_…; may be left out where there is only one.")]
EndpointId = Annotated[str, typer.Argument(help="ep_…")]


@app.command("add")
def add(
    url: Annotated[str, typer.Option(help="The shop's address, such as https://shop.example/notifications.")],
    event: Annotated[
        list[str] | None, typer.Option(help="What it hears of: order.paid, …; repeatable; left out: everything.")
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
    show(as_json, {"endpoints": found}, *words)


@app.command("roll")
def roll(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Make a new secret and print it, once; the one before signs beside it until the next is made."""
    from tallystick.cli.installing import roll_shop_secret
    from tallystick.merchant.settings import read

    secret = asyncio.run(roll_shop_secret(read(os.environ), endpoint))
    show(as_json, {"endpoint": endpoint, "secret": secret}, secret)


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
    """Delete an endpoint."""
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
