"""`tallystick merchant keys …`: a merchant's API keys. Several live at once, so that they can be rolled."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.nouns import noun
from tallystick.cli.showing import AsJson, show

if TYPE_CHECKING:
    from tallystick.merchant.accounts.api_keys import ListedKey

app = noun("A merchant's API keys: make one, use it, revoke the old one.")

Merchant = Annotated[str, typer.Argument(help="mer_…")]


@app.command("create")
def create_key(merchant: Merchant, as_json: AsJson = False) -> None:
    """Make one more API key (tsk_…) and print it, once; the others go on."""
    from tallystick.cli.opening import opened
    from tallystick.merchant.accounts.api_keys import create_api_key
    from tallystick.merchant.settings import read
    from tallystick.ports.clock import SystemClock
    from tallystick.ports.entropy import SystemEntropy

    async def create() -> str:
        async with opened(read(os.environ).database_dsn, "keys create", merchant) as database:
            return await create_api_key(database, SystemClock(), SystemEntropy(), merchant_id=merchant)

    key = asyncio.run(create())
    told = {"merchant": merchant, "api_key": key}
    show(as_json, told, f"  {key}", "Keep the key now: it is not shown again.")


@app.command("list")
def list_keys(merchant: Merchant, as_json: AsJson = False) -> None:
    """List the API keys of a merchant, revoked ones too: by id and last characters, never a key."""
    from tallystick.cli.opening import opened
    from tallystick.merchant.accounts.api_keys import list_api_keys
    from tallystick.merchant.settings import read

    async def find() -> list["ListedKey"]:
        async with opened(read(os.environ).database_dsn) as database:
            return await list_api_keys(database, merchant_id=merchant)

    found = asyncio.run(find())
    show(as_json, {"keys": found}, *([_words(key) for key in found] or [f"{merchant} has no keys here."]))


@app.command("revoke")
def revoke_key(
    merchant: Merchant,
    key: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """End the life of an API key: calls with it are refused within seconds."""
    from tallystick.cli.opening import opened
    from tallystick.merchant.accounts.api_keys import revoke_api_key
    from tallystick.merchant.settings import read
    from tallystick.ports.clock import SystemClock

    async def revoke() -> None:
        async with opened(read(os.environ).database_dsn, "keys revoke", f"{merchant} {key}") as database:
            await revoke_api_key(database, SystemClock(), merchant_id=merchant, key_id=key)

    asyncio.run(revoke())
    show(as_json, {"merchant": merchant, "revoked": key}, f"{key} opens nothing any more.")


def _words(key: "ListedKey") -> str:
    return f"{key.id}  …{key.last4}  made {key.created_at:%Y-%m-%d}{'  revoked' if key.revoked_at else ''}"
