"""`tallystick gateway …`: the gateway's process and its accounts."""

import asyncio
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli import (
    account_keys,
    audit,
    clock,
    customers,
    dead_letters,
    faults,
    gateway_cases,
    operators,
    payments,
    settlements,
    unknown_outcomes,
    users,
    vault,
)
from tallystick.cli.nouns import noun
from tallystick.cli.showing import AsJson, show

if TYPE_CHECKING:
    from tallystick.gateway.accounts.accounts import KeyPair


def _dsn() -> str:
    from tallystick.gateway.settings import read

    return read(os.environ).database_dsn


app = noun(
    """The payment gateway.

    Commands with --data-dir ask the running gateway, at TALLYSTICK_GATEWAY_URL with an operator's key,
    TALLYSTICK_GATEWAY_OPERATOR_KEY (or its _FILE); TALLYSTICK_CA_FILE names the authority to trust where it is not a
    public one. The others work beside it, with its settings: TALLYSTICK_GATEWAY_DATABASE_DSN and so on.
    """
)
accounts = noun("Accounts at the gateway: who takes payments.")
app.add_typer(accounts, name="accounts")
app.add_typer(account_keys.app, name="keys")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(dead_letters.endpoints, name="endpoints")
app.add_typer(operators.commands("gateway", _dsn), name="operators")
app.add_typer(users.commands("gateway", _dsn), name="users")
app.add_typer(audit.commands("gateway"), name="audit")
app.add_typer(clock.commands("gateway"), name="clock")
app.add_typer(faults.app, name="faults")
app.add_typer(unknown_outcomes.app, name="unknown-outcomes")
app.command("settle")(settlements.settle)
app.add_typer(gateway_cases.app, name="cases")
app.add_typer(payments.app, name="payments")
app.add_typer(vault.keys, name="vault-key")
app.add_typer(customers.of_accounts, name="customers")
app.command("rewrap")(vault.rewrap)


class Mode(StrEnum):
    """Test money or real money."""

    TEST = "test"
    LIVE = "live"


class Payouts(StrEnum):
    """When what is available is paid out."""

    DAILY = "daily"
    MANUAL = "manual"


Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--origin", help="Where shoppers may return to and embedded pages may stand (https://shop.example); repeatable."
    ),
]


@app.command()
def serve() -> None:
    """Serve the gateway: its API and pages, with the workers in the same process. Settings: TALLYSTICK_GATEWAY_…"""
    from tallystick.cli.services import serve_gateway
    from tallystick.cli.serving import run

    run(serve_gateway(os.environ, workers_alone=False))


@app.command()
def work() -> None:
    """Run the gateway's workers alone, beside processes that serve. Settings: TALLYSTICK_GATEWAY_…"""
    from tallystick.cli.services import serve_gateway
    from tallystick.cli.serving import run

    run(serve_gateway(os.environ, workers_alone=True))


@accounts.command("create")
def create_account(
    name: Annotated[str, typer.Option(help="What shoppers read on the payment page.")],
    mode: Annotated[Mode, typer.Option(help="`live` makes a live key pair too; it needs a real acquirer.")] = Mode.TEST,
    origin: Origins = None,
    as_json: AsJson = False,
) -> None:
    """Make an account and print its keys, once: the secret keys are stored as hashes only."""
    from tallystick.cli.installing import create_gateway_account
    from tallystick.gateway.settings import read

    account, pairs = asyncio.run(create_gateway_account(read(os.environ), name, origin or [], live=mode is Mode.LIVE))
    show(
        as_json,
        {"account": account.account_id, "name": account.name, "keys": [_pair(pair) for pair in pairs]},
        f"Account {account.account_id}, {account.name}",
        *(line for pair in pairs for line in (f"  {pair.publishable_key}", f"  {pair.secret_key}")),
        "Keep the secret key now: it is not shown again.",
    )


@accounts.command("origins")
def set_origins(
    account: Annotated[str, typer.Argument(help="acct_…")],
    origin: Origins = None,
    as_json: AsJson = False,
) -> None:
    """Replace the origins to which an account's shoppers may return and on which its embedded pages may stand."""
    from tallystick.cli.installing import set_account_origins
    from tallystick.gateway.settings import read

    registered = origin or []
    asyncio.run(set_account_origins(read(os.environ), account, registered))
    show(as_json, {"account": account, "origins": registered}, *(registered or ["None any more."]))


@accounts.command("captures")
def set_captures(
    account: Annotated[str, typer.Argument(help="acct_…")],
    several: Annotated[bool, typer.Option("--several/--single", help="In parts (final_capture=false), or once.")],
    as_json: AsJson = False,
) -> None:
    """Say whether an account may capture what was authorised in several parts, or once."""
    from tallystick.cli.installing import set_account_captures
    from tallystick.gateway.settings import read

    asyncio.run(set_account_captures(read(os.environ), account, several))
    words = "may capture in several parts" if several else "captures once"
    show(as_json, {"account": account, "several_captures": several}, f"{account} {words}.")


@accounts.command("fees")
def set_fees(
    account: Annotated[str, typer.Argument(help="acct_…")],
    currency: Annotated[str, typer.Argument(help="such as eur")],
    basis_points: Annotated[int, typer.Option(help="Of each amount, in hundredths of a percent.")] = 0,
    fixed: Annotated[int, typer.Option(help="For each payment, in minor units.")] = 0,
    dispute: Annotated[int, typer.Option(help="For each dispute, in minor units; given back when it is won.")] = 0,
    mode: Annotated[Mode, typer.Option(help="In which mode.")] = Mode.TEST,
    as_json: AsJson = False,
) -> None:
    """Set what an account is charged in a currency from now on.

    What is not named is 0.
    """
    from tallystick.cli.installing import set_account_fees
    from tallystick.gateway.settings import read

    fees = {"basis_points": basis_points, "fixed": fixed, "dispute": dispute}
    asyncio.run(set_account_fees(read(os.environ), account, currency, livemode=mode is Mode.LIVE, **fees))
    words = f"{account} pays {basis_points} basis points and {fixed}, for a dispute {dispute} ({currency} minor units)."
    show(as_json, {"account": account, "currency": currency, "mode": mode.value, **fees}, words)


@accounts.command("days")
def set_days(
    account: Annotated[str, typer.Argument(help="acct_…")],
    offset_minutes: Annotated[int, typer.Option(help="The day's begin: minutes from midnight UTC, -720 to 840.")] = 0,
    available_days: Annotated[int, typer.Option(help="So many days after the day that earned it, 0 to 30.")] = 2,
    payouts: Annotated[Payouts, typer.Option(help="By themselves, or when the merchant asks.")] = Payouts.DAILY,
    as_json: AsJson = False,
) -> None:
    """Set an account's business day, how many days later its money is available, and whether it is paid out then.

    What is not named goes back to its default.
    """
    from tallystick.cli.installing import set_account_days
    from tallystick.gateway.settings import read

    days = {"offset_minutes": offset_minutes, "available_days": available_days}
    asyncio.run(set_account_days(read(os.environ), account, **days, manual=payouts is Payouts.MANUAL))
    words = f"{account}: {offset_minutes} min, available after {available_days} days, payouts {payouts.value}"
    show(as_json, {"account": account, **days, "payouts": payouts.value}, words)


def _pair(pair: "KeyPair") -> dict[str, str]:
    return {
        "mode": "live" if pair.livemode else "test",
        "publishable_key": pair.publishable_key,
        "secret_key": pair.secret_key,
    }
