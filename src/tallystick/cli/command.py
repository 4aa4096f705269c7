"""The `tallystick` command: its nouns, and how a failure is told."""

from typing import Annotated

import typer

from tallystick import __version__
from tallystick.cli import completion, database, demo, explain, gateway, merchant, order, serve, simulate, status
from tallystick.cli.doctor import command as doctor
from tallystick.cli.failures import STOPPED
from tallystick.cli.failures import explain as explained
from tallystick.cli.nouns import Noun

app = typer.Typer(
    name=completion.PROGRAM,
    help="Orders and card payments whose two halves always match: a merchant service and a Stripe-compatible gateway.",
    cls=Noun,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(gateway.app, name="gateway")
app.add_typer(merchant.app, name="merchant")
app.add_typer(database.app, name="database")
app.add_typer(order.app, name="order")
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("explain")(explain.explain)
app.command("status")(status.status)
app.command("completion")(completion.completion)
app.command("doctor")(doctor.doctor)
app.command("simulate")(simulate.simulate)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tallystick {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Carry out a command line and give its exit code; an expected failure is told in a sentence on stderr."""
    completion.answering_a_shell()
    try:
        result = app(arguments, prog_name=completion.PROGRAM, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return STOPPED
    except typer.TyperException as error:
        asked = getattr(error, "ctx", None)
        path = asked.command_path if asked else completion.PROGRAM
        typer.echo(f"tallystick: {error.format_message().rstrip('.')}. `{path} --help` shows what there is.", err=True)
        return error.exit_code
    except Exception as error:
        told = explained(error)
        if told is None:
            raise
        code, sentence = told
        typer.echo(f"tallystick: {sentence}", err=True)
        return code
    return result if isinstance(result, int) else 0
