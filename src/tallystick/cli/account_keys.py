"""`tallystick gateway keys …`: an account's API keys. Several live at once, so that they can be rolled."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.nouns import noun
from tallystick.cli.showing import AsJson, show

if TYPE_CHECKING:
    from tallystick.gateway.accounts.accounts import ListedKey

app = noun("An account's API keys: make a pair, use it, revoke the old one.")

Account = Annotated[str, typer.Argument(help="acct_…")]


@app.command("create")
def create_keys(
    account: Account,
    live: Annotated[bool, typer.Option("--live", help="A live pair; it needs a real acquirer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make one more key pair and print it, once; the others go on."""
    from tallystick.cli.installing import create_account_keys
    from tallystick.gateway.settings import read

    pair = asyncio.run(create_account_keys(read(os.environ), account, live=live))
    made = {"publishable_key": pair.publishable_key, "secret_key": pair.secret_key}
    words = (f"  {pair.publishable_key}", f"  {pair.secret_key}", "Keep the secret key now: it is not shown again.")
    show(as_json, {"account": account, **made}, *words)


@app.command("list")
def list_keys(account: Account, as_json: AsJson = False) -> None:
    """List the keys of an account, revoked ones too: by id and last characters, never a key."""
    from tallystick.cli.installing import list_account_keys
    from tallystick.gateway.settings import read

    found = asyncio.run(list_account_keys(read(os.environ), account))
    show(as_json, {"keys": found}, *([_words(key) for key in found] or [f"{account} has no keys here."]))


@app.command("revoke")
def revoke_key(
    account: Account,
    key: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """End the life of a key: calls with it are refused within seconds."""
    from tallystick.cli.installing import revoke_account_key
    from tallystick.gateway.settings import read

    asyncio.run(revoke_account_key(read(os.environ), account, key))
    show(as_json, {"account": account, "revoked": key}, f"{key} opens nothing any more.")


def _words(key: "ListedKey") -> str:
    mode, ended = "live" if key.livemode else "test", "  revoked" if key.revoked_at else ""
    return f"{key.id}  {key.kind:11} {mode}  {key.hint}{ended}"
