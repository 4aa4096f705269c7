"""`tallystick merchant …`: the merchant service's process, its merchants and their connections to gateways."""

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from tallystick.cli import (
    audit,
    cases,
    clock,
    customers,
    fee_contracts,
    inbox,
    merchant_keys,
    notifications,
    operators,
    reconcile,
    users,
)
from tallystick.cli.failures import CommandFailed, CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.showing import AsJson, show


def _dsn() -> str:
    from tallystick.merchant.settings import read

    return read(os.environ).database_dsn


app = noun(
    """The merchant service.

    Commands with --data-dir ask the running service, at TALLYSTICK_MERCHANT_URL with an operator's key,
    TALLYSTICK_MERCHANT_OPERATOR_KEY (or its _FILE), or with the merchant's own where they say so; TALLYSTICK_CA_FILE
    names the authority to trust where it is not a public one. The others work beside it, with its settings:
    TALLYSTICK_MERCHANT_DATABASE_DSN and so on.
    """
)
accounts = noun("Merchants: who sells.")
connections = noun("Connections: a merchant's account at a gateway.")
app.add_typer(accounts, name="accounts")
app.add_typer(connections, name="connections")
app.add_typer(merchant_keys.app, name="keys")
app.add_typer(operators.commands("merchant", _dsn), name="operators")
app.add_typer(users.commands("merchant", _dsn), name="users")
app.add_typer(audit.commands("merchant"), name="audit")
app.add_typer(clock.commands("merchant"), name="clock")
app.add_typer(inbox.app, name="inbox")
app.add_typer(notifications.app, name="endpoints")
app.add_typer(notifications.letters, name="dead-letters")
app.add_typer(cases.app, name="cases")
app.add_typer(customers.app, name="customers")
app.command("reconcile")(reconcile.reconcile)
connections.command("fees")(fee_contracts.fees)


class Adapter(StrEnum):
    """A gateway's wire that the merchant service speaks."""

    STRIPE = "stripe"


Origins = Annotated[
    list[str] | None,
    typer.Option("--return-origin", help="Where shoppers may be sent back to (https://shop.example); repeatable."),
]


@app.command()
def serve() -> None:
    """Serve the merchant service, with the workers in the same process. Settings: TALLYSTICK_MERCHANT_…"""
    from tallystick.cli.services import serve_merchant
    from tallystick.cli.serving import run

    run(serve_merchant(os.environ, workers_alone=False))


@app.command()
def work() -> None:
    """Run the merchant service's workers alone, beside processes that serve. Settings: TALLYSTICK_MERCHANT_…"""
    from tallystick.cli.services import serve_merchant
    from tallystick.cli.serving import run

    run(serve_merchant(os.environ, workers_alone=True))


@accounts.command("create")
def create_account(
    name: Annotated[str, typer.Option(help="The merchant's name.")],
    return_origin: Origins = None,
    as_json: AsJson = False,
) -> None:
    """Make a merchant and print its API key, once: it is stored as a hash only."""
    from tallystick.cli.installing import create_merchant_account
    from tallystick.merchant.settings import read

    made = asyncio.run(create_merchant_account(read(os.environ), name, return_origin or []))
    show(
        as_json,
        {"merchant": made.merchant_id, "name": name, "api_key": made.api_key},
        f"Merchant {made.merchant_id}, {name}",
        f"  {made.api_key}",
        "Keep the key now: it is not shown again.",
    )


@accounts.command("origins")
def set_origins(
    merchant: Annotated[str, typer.Argument(help="mer_…")],
    return_origin: Origins = None,
    as_json: AsJson = False,
) -> None:
    """Replace the origins to which a merchant's shoppers may be sent back."""
    from tallystick.cli.installing import set_merchant_origins
    from tallystick.merchant.settings import read

    registered = return_origin or []
    asyncio.run(set_merchant_origins(read(os.environ), merchant, registered))
    show(as_json, {"merchant": merchant, "return_origins": registered}, *(registered or ["None any more."]))


class LatePolicy(StrEnum):
    """What is done with money that came after the goods were let go."""

    ACCEPT = "accept"
    ACCEPT_IF_AVAILABLE = "accept_if_available"
    REFUND = "refund"


@accounts.command("late-policy")
def set_late_policy(
    merchant: Annotated[str, typer.Argument(help="mer_…")],
    policy: Annotated[LatePolicy, typer.Argument(help="What becomes of it; accept_if_available asks the stock hook.")],
    as_json: AsJson = False,
) -> None:
    """Say what is done with late money: kept, kept if the goods are still there, or given back."""
    from tallystick.cli.installing import set_merchant_late_policy
    from tallystick.merchant.settings import read

    asyncio.run(set_merchant_late_policy(read(os.environ), merchant, str(policy)))
    show(as_json, {"merchant": merchant, "late_policy": str(policy)}, f"{merchant}: {policy}")


@accounts.command("stock-hook")
def set_stock_hook(
    merchant: Annotated[str, typer.Argument(help="mer_…")],
    url: Annotated[
        str | None,
        typer.Option(help="The shop's address, https://…; left out: no hook any more."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say where the shop's stock is asked whether goods are there, and told that they are let go.

    Prints the secret that signs the calls, once, as Standard Webhooks has them.
    """
    from tallystick.cli.installing import set_merchant_stock_hook
    from tallystick.merchant.settings import read

    secret = asyncio.run(set_merchant_stock_hook(read(os.environ), merchant, url))
    told = {"merchant": merchant, "stock_url": url, "secret": secret}
    show(as_json, told, *([f"{url}", f"  {secret}"] if url else ["No stock is asked any more."]))


@connections.command("add")
def add_connection(
    gateway: Annotated[Adapter, typer.Option(help="The wire: `stripe` for our own gateway and for Stripe.")],
    url: Annotated[str, typer.Option(help="The gateway's address, such as https://gateway.example.")],
    secret_key_file: Annotated[
        Path | None, typer.Option(help="The file that holds the account's secret key, sk_….")
    ] = None,
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option(help="The file that holds the webhook secret, whsec_…; it may be written afterwards."),
    ] = None,
    secret_key_from: Annotated[
        str | None, typer.Option(help="Instead of a file: vault:path#field or env:NAME, as the service reads it.")
    ] = None,
    webhook_secret_from: Annotated[
        str | None, typer.Option(help="The same for the webhook secret; it may be put there afterwards.")
    ] = None,
    merchant: Annotated[str | None, typer.Option(help="mer_…; may be left out where there is only one.")] = None,
    create_endpoint: Annotated[
        bool,
        typer.Option(
            "--create-endpoint",
            help="Also create the webhook endpoint at the running gateway, and write its secret to the file.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Connect a merchant to its account at a gateway, and print the address to which the gateway sends its webhooks.

    The gateway makes the webhook secret when it is told that address: create a webhook endpoint there (or let
    --create-endpoint do it) and put the secret into the file. Until then webhooks are answered 503 and come again.
    """
    from tallystick.cli.endpoints import by_hand
    from tallystick.cli.installing import SecretFiles, SecretReferences, add_gateway_connection
    from tallystick.merchant.settings import read

    secrets: SecretFiles | SecretReferences
    if secret_key_file and webhook_secret_file and not (secret_key_from or webhook_secret_from):
        secrets = SecretFiles(secret_key_file.absolute(), webhook_secret_file.absolute())
    elif secret_key_from and webhook_secret_from and not (secret_key_file or webhook_secret_file):
        secrets = SecretReferences(secret_key_from, webhook_secret_from)
    else:
        raise CommandRefused(
            "name both secrets, either with --secret-key-file and --webhook-secret-file or with --secret-key-from and "
            "--webhook-secret-from"
        )
    added = asyncio.run(
        add_gateway_connection(read(os.environ), merchant, str(gateway), url, secrets, with_endpoint=create_endpoint)
    )
    if added.endpoint is not None:
        rest = [f"Webhook endpoint {added.endpoint} sends there; its secret is in {secrets.webhook_secret}."]
    else:
        rest = by_hand(url, str(secrets.secret_key), str(secrets.webhook_secret), added.webhook_url)
    show(
        as_json,
        {"connection": added.connection_id, "webhook_url": added.webhook_url, "webhook_endpoint": added.endpoint},
        f"Connection {added.connection_id}",
        f"Its webhooks come to {added.webhook_url}",
        *rest,
    )
    if added.endpoint_error is not None:
        raise CommandFailed(f"the connection is added, but its webhook endpoint is not: {added.endpoint_error}")


@connections.command("move")
def move_connection(
    connection: Annotated[str, typer.Argument(help="con_…")],
    url: Annotated[str, typer.Option(help="The gateway's new address.")],
    as_json: AsJson = False,
) -> None:
    """Tell a connection the new address of its gateway."""
    from tallystick.cli.installing import move_gateway_connection
    from tallystick.merchant.settings import read

    asyncio.run(move_gateway_connection(read(os.environ), connection, url))
    show(as_json, {"connection": connection, "url": url}, f"{connection} now speaks to {url}")


@connections.command("secrets")
def set_secrets(
    connection: Annotated[str, typer.Argument(help="con_…")],
    secret_key_file: Annotated[
        Path | None, typer.Option(help="The file that holds the account's secret key, sk_….")
    ] = None,
    secret_key_from: Annotated[
        str | None, typer.Option(help="vault:path#field or env:NAME of it, instead of a file.")
    ] = None,
    webhook_secret_file: Annotated[
        list[Path] | None,
        typer.Option(help="A file that holds a live webhook secret, whsec_…; repeatable: two during a rotation."),
    ] = None,
    webhook_secret_from: Annotated[
        list[str] | None, typer.Option(help="vault:path#field or env:NAME of a live webhook secret; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say anew where a connection's secrets lie: its secret key, the webhook secrets that are live, or both.

    Its webhooks are taken with any live secret. To rotate: name the old and the new one, roll the secret at the
    gateway, then name the new one alone. The running service follows within ten seconds, and at once for a webhook
    secret that it did not know. What is not named stays as it is.
    """
    from tallystick.cli.installing import set_connection_secrets
    from tallystick.merchant.settings import read

    if secret_key_file and secret_key_from:
        raise CommandRefused("name the secret key once: --secret-key-file or --secret-key-from")
    key = secret_key_file.absolute() if secret_key_file else secret_key_from
    files = [file.absolute() for file in webhook_secret_file or []]
    references = webhook_secret_from or []
    if not key and not files and not references:
        raise CommandRefused("name what changes: --secret-key-file or -from, --webhook-secret-file or -from")
    asyncio.run(set_connection_secrets(read(os.environ), connection, key, [*files, *references]))
    names = [str(file) for file in files]
    told = {"connection": connection, "webhook_secret_files": names, "webhook_secrets_from": references}
    if key:
        told["secret_key"] = str(key)
    show(as_json, told, *([str(key)] if key else []), *names, *references)


@connections.command("backfill")
def backfill(
    connection: Annotated[str, typer.Argument(help="con_…")],
    hours: Annotated[float, typer.Option(min=0.0, max=720.0, help="How far back: at most 720, 30 days.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare the gateway's list of events with the webhooks that came, and take in what is missing.

    The running service does so by itself after an outage; it goes on where it was when a process dies.
    """
    from datetime import timedelta

    from tallystick.ports.clock import SystemClock

    since = (SystemClock().now() - timedelta(hours=hours)).isoformat()
    path = f"/operator/v1/connections/{quote(connection, safe='')}/backfill"
    found = ask("merchant", data_dir, lambda api: api.ask("POST", path, {"since": since}))
    show(as_json, found, f"Events of {connection} are compared from {found['backfill_from']} on.")
