"""How commands show what they have to say: a line of JSON for scripts, words for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from rich.console import Console

REPORT_COLUMNS = 180  # of what is written to a file or a pipe, which has no width of its own

AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of words.")]


def show(as_json: bool, value: Mapping[str, Any], *words: str) -> None:
    """Print `value` as one line of JSON, or `words` as lines."""
    if as_json:
        typer.echo(msgspec.json.encode(value).decode())
    else:
        for line in words:
            typer.echo(line)


def console(*, stderr: bool = False) -> "Console":
    """Where tables and colours go: the terminal as wide as it is, or a file."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=REPORT_COLUMNS)
