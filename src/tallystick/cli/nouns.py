"""Nouns of the command line: `gateway`, `gateway accounts`, …, each a group of commands.

Typer lists commands with the beginnings of their sentences, cut off where a line ends, and answers a noun alone with an
error that holds the whole help. Here whoever looks around reads whole sentences, and no error.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from tallystick.cli.failures import CANNOT_BE

SENTENCE_MAX = 500  # characters of a command's first sentence: longer than any


class Noun(TyperGroup):
    """A group that lists the first sentence of each command, whole."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(CANNOT_BE)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(SENTENCE_MAX)) for name, each in named if each])


def noun(help: str) -> typer.Typer:
    """A group of commands about one thing; `help` says what it is."""
    return typer.Typer(help=help, cls=Noun)
