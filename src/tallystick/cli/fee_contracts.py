"""`tallystick merchant connections fees`: what a gateway charges by contract, so that other fees are noticed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.running import DataDir, ask
from tallystick.cli.showing import AsJson, show
from tallystick.cli.times import DAY


def fees(
    connection: Annotated[str, typer.Argument(help="con_…")],
    currency: Annotated[str | None, typer.Argument(help="Such as eur; left out: show what is agreed.")] = None,
    basis_points: Annotated[int, typer.Option(help="Of each charge, in hundredths of a percent.")] = 0,
    fixed: Annotated[int, typer.Option(help="For each charge, in minor units.")] = 0,
    valid_from: Annotated[
        datetime | None, typer.Option("--from", help="The first business day on which it holds; default: today.", **DAY)
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Take back what was agreed from the day of --from on.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what the gateway charges by contract; reconciliation tells of every fee that is another.

    Where nothing is agreed, fees are not looked at. Asks the merchant service at TALLYSTICK_MERCHANT_URL with the key
    TALLYSTICK_MERCHANT_OPERATOR_KEY (or its _FILE).
    """
    path = f"/operator/v1/connections/{quote(connection, safe='')}/fees"
    if drop and (currency is None or valid_from is None):
        raise CommandRefused("--drop needs a currency and --from")
    first = valid_from and f"{valid_from:%Y-%m-%d}"
    if currency is None:
        found = ask("merchant", data_dir, lambda api: api.ask("GET", path))
    elif drop:
        which = urlencode({"currency": currency, "valid_from": first})
        found = ask("merchant", data_dir, lambda api: api.ask("DELETE", f"{path}?{which}"))
    else:
        wanted: dict[str, Any] = {"currency": currency, "basis_points": basis_points, "fixed": fixed}
        wanted |= {"valid_from": first} if first is not None else {}
        found = ask("merchant", data_dir, lambda api: api.ask("POST", path, wanted))
    show(as_json, found, *([_words(row) for row in found["data"]] or ["Nothing is agreed: fees are not looked at."]))


def _words(row: Mapping[str, Any]) -> str:
    return (
        f"{row['currency']} from {row['valid_from']}: {row['basis_points']} basis points and {row['fixed']} minor units"
    )
