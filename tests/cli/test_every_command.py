"""What holds for every command, also for those to come: data for scripts, help for people, completion for shells."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tallystick.cli.command import app, run

ROOT = Path(__file__).parents[2]
WITHOUT_JSON = {
    "serve": "runs until it is stopped",
    "gateway serve": "runs until it is stopped",
    "gateway work": "runs until it is stopped",
    "merchant serve": "runs until it is stopped",
    "merchant work": "runs until it is stopped",
    "completion": "prints a script for the shell, and no data",
}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
    else:
        for name, each in below.items():
            yield from commands(each, (*path, name))


def nouns(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if hasattr(command, "commands"):
        yield path
        for name, each in command.commands.items():
            yield from nouns(each, (*path, name))


ALL = dict(commands(get_command(app)))
NOUNS = tuple(nouns(get_command(app)))
SAME = {"--yes", "--rate", "--dry-run"}


def has_json(command: Any) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_there_is_something_to_check() -> None:
    assert len(ALL) > 70


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_command_prints_json_and_says_what_it_is_for(name: str) -> None:
    """`--json` everywhere, except where there is no data; the list holds only what is true."""
    assert has_json(ALL[name]) != (name in WITHOUT_JSON), name
    assert ALL[name].help, f"{name} has no help"
    assert all(parameter.help or parameter.name in {"ctx"} for parameter in ALL[name].params), name


def test_lists_of_commands_hold_whole_sentences() -> None:
    """What is cut off with an ellipsis says nothing."""
    for noun in NOUNS:
        shown = CliRunner().invoke(app, [*noun, "--help"], env={"COLUMNS": "80"}).output
        assert "Commands:" in shown, noun
        assert "..." not in shown.replace("[ARGS]...", ""), noun


def test_options_of_one_name_are_told_in_the_same_words() -> None:
    """Where a word means the same, whoever has read it once has read it everywhere."""
    said: dict[str, set[str]] = {}
    for command in ALL.values():
        for parameter in command.params:
            for option in parameter.opts:
                if option in SAME:
                    said.setdefault(option, set()).add(parameter.help)
    assert {option: words for option, words in said.items() if len(words) > 1} == {}
    assert said.keys() == SAME


def test_every_command_that_we_tell_people_to_run_is_one() -> None:
    """In the documentation, and in what the software itself says; what follows a command are its arguments."""
    wrong, named, whole = [], 0, get_command(app)
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]:
        for match in re.finditer(r"(?:`|\$ |^ *)tallystick ([a-z][a-z -]*)", page.read_text(encoding="utf-8"), re.M):
            at: Any = whole
            words = match[1].split()
            named += 1
            while words and hasattr(at, "commands"):
                at = at.commands.get(words.pop(0))
            if at is None:
                wrong.append(f"{page.name}: {match[0].strip()}")
    assert named > 150
    assert wrong == []


def test_every_exception_is_a_command() -> None:
    assert WITHOUT_JSON.keys() <= ALL.keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_taught(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capfd.readouterr().out
    assert "_TALLYSTICK_COMPLETE=complete_" in script
    assert "tallystick" in script


def test_a_shell_that_asks_is_answered() -> None:
    asked = {"_TALLYSTICK_COMPLETE": "complete_bash", "COMP_WORDS": "tallystick gateway dead", "COMP_CWORD": "2"}
    program = "import sys; sys.argv[0] = 'tallystick'; from tallystick.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.stdout.split() == ["dead-letters"], answer.stderr
