"""`tallystick merchant keys …`: a merchant's API keys. Several live at once, so that they can be rolled."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.showing import AsJson, show

if TYPE_CHECKING:
    from tallystick.merchant.accounts.commands import ListedApiKey

app = typer.Typer(help="A merchant's API keys: make one, use it, revoke the old one.", no_args_is_help=True)

Merchant = Annotated[str, typer.Argument(help="mer_…")]


@app.command("create")
def create_key(merchant: Merchant, as_json: AsJson = False) -> None:
    """Make one more API key and print it, once; the others go on."""
    from tallystick.cli.installing import create_merchant_key
    from tallystick.merchant.settings import read

    key = asyncio.run(create_merchant_key(read(os.environ), merchant))
    words = (f"  {key}", "Keep the key now: it is not shown again.")
    show(as_json, {"merchant": merchant, "api_key": key}, *words)


@app.command("list")
def list_keys(merchant: Merchant, as_json: AsJson = False) -> None:
    """List the keys of a merchant, revoked ones too: by id and last characters, never a key."""
    from tallystick.cli.installing import list_merchant_keys
    from tallystick.merchant.settings import read

    found = asyncio.run(list_merchant_keys(read(os.environ), merchant))
    show(as_json, {"keys": found}, *map(_words, found))


@app.command("revoke")
def revoke_key(
    merchant: Merchant,
    key: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """End the life of a key: calls with it are refused within seconds."""
    from tallystick.cli.installing import revoke_merchant_key
    from tallystick.merchant.settings import read

    asyncio.run(revoke_merchant_key(read(os.environ), merchant, key))
    show(as_json, {"merchant": merchant, "revoked": key}, f"{key} opens nothing any more.")


def _words(key: "ListedApiKey") -> str:
    return f"{key.id}  {key.hint}{'  revoked' if key.revoked_at else ''}"
