"""How commands show what they have to say: a line of JSON for scripts, words for people."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of words.")]


def show(as_json: bool, value: Mapping[str, Any], *words: str) -> None:
    """Print `value` as one line of JSON, or `words` as lines."""
    if as_json:
        typer.echo(msgspec.json.encode(value).decode())
    else:
        for line in words:
            typer.echo(line)
