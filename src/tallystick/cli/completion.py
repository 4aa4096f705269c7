"""`tallystick completion SHELL`: what a shell must know to complete commands, options and their values."""

import os
from enum import StrEnum
from typing import Annotated

import typer

PROGRAM = "tallystick"
VARIABLE = "_TALLYSTICK_COMPLETE"


class Shell(StrEnum):
    """Shells that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def answering_a_shell() -> None:
    """Make typer answer a shell that asks by the variable; a command that is merely run pays nothing for it."""
    if VARIABLE in os.environ:
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()  # registers typer's answers to the shells


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """Print the script that teaches your shell to complete `tallystick`; nothing is written anywhere.

    bash: eval "$(tallystick completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc after compinit; fish: tallystick
    completion fish > ~/.config/fish/completions/tallystick.fish
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer offers it by that module

    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value))
