"""`tallystick demo`: everything on this machine, with shoppers."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Stop after the shoppers; exit code 0 only if every order ended as scripted.")
    ] = False,
    no_shoppers: Annotated[bool, typer.Option("--no-shoppers", help="Only serve: nobody shops but you.")] = False,
    next_day: Annotated[
        bool,
        typer.Option("--next-day", help="Go on to the next day, with errors planted; settle, reconcile."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line with addresses and keys when ready, nothing else on stdout.")
    ] = False,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="HTTP on loopback instead of HTTPS with the demo's own authority.")
    ] = False,
    port_base: Annotated[
        int,
        typer.Option(
            min=1, max=65531, help="The gateway's port; the merchant's, the shop's and two of metrics follow."
        ),
    ] = 8443,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the demo keeps its data; default: tallystick/demo in your data folder.")
    ] = None,
) -> None:
    """Take payments: PostgreSQL, gateway, merchant service, a shop to click through and a dozen scripted shoppers.

    The database server is an embedded one, unless TALLYSTICK_GATEWAY_DATABASE_DSN and TALLYSTICK_MERCHANT_DATABASE_DSN
    name others. Where a port is in use, a free one is taken.
    """
    from tallystick.cli.folders import default_folder
    from tallystick.cli.postgres import given_dsns
    from tallystick.cli.serving import run
    from tallystick.cli.showing import console
    from tallystick.demo.folder import Folder
    from tallystick.demo.performance import Performance
    from tallystick.demo.stack import Stack

    board = console(stderr=as_json)
    folder = Folder(data_dir or default_folder("demo"))

    def say(sentence: str) -> None:
        board.print(sentence, style="dim")

    stack = Stack(folder, port_base=port_base, https=not plain_http, dsns=given_dsns(), say=say)
    performance = Performance(
        stack, board, folder.path, once=once, shoppers=not no_shoppers, next_day=next_day, as_json=as_json
    )
    run(performance.run())
    if performance.exit_code:
        raise typer.Exit(performance.exit_code)
