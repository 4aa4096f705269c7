"""`tallystick serve`: all processes of a one-machine installation."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where the embedded database lies; default: tallystick/server in your data folder."),
    ] = None,
) -> None:
    """Serve everything on this machine: gateway and merchant service, and PostgreSQL where no DSN is set.

    Settings: TALLYSTICK_GATEWAY_… and TALLYSTICK_MERCHANT_…. What dies is started again. An embedded database is
    brought up to date at the start; for a database of your own, run `tallystick database migrate` first.
    """
    from tallystick.cli.folders import default_folder
    from tallystick.cli.installation import Installation
    from tallystick.cli.postgres import given_dsns
    from tallystick.cli.serving import run

    run(Installation(data_dir or default_folder("server"), given_dsns()).run())
