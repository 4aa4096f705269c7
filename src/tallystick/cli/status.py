"""`tallystick status`: how both services are, in one screen (RULES §13)."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from tallystick.cli.failures import DID_NOT_WORK
from tallystick.cli.running import NOUNS, DataDir, ask_all
from tallystick.cli.service_api import ServiceApi, ServiceApiError
from tallystick.cli.showing import AsJson, show

COLUMNS: Final = 80
NAME_COLUMNS: Final = 16

Told = dict[str, dict[str, Any]]


def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say in one screen how the installation is. Exit code 1: something needs a person.

    Asks both services with an operator's key of any role, as `explain` does. A service that does not answer needs a
    person; one whose address is not set is left out, and that is said.
    """
    (told, away), unknown = ask_all(data_dir, _ask)
    well = not away and all(each["well"] for each in told.values())
    if as_json:
        show(True, {"well": well, "services": told, "away": away, "not_asked": unknown})
    else:
        for line, colour in _lines(told, away, unknown):
            typer.secho(line, fg=colour)
    if not well:
        raise typer.Exit(DID_NOT_WORK)


async def _ask(apis: Mapping[str, ServiceApi]) -> tuple[Told, dict[str, str]]:
    told: Told = {}
    away: dict[str, str] = {}
    for service, api in apis.items():
        try:
            told[service] = await api.ask("GET", "/operator/v1/status")
        except ServiceApiError as error:
            away[service] = str(error)
    return told, away


def _lines(told: Told, away: Mapping[str, str], unknown: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    for service, each in told.items():
        verdict = "all is well" if each["well"] else "something needs a person"
        yield f"{NOUNS[service]}, {each['at'][:19]}Z: {verdict}", "green" if each["well"] else "red"
        for line in each["lines"]:
            mark = "!" if line["alert"] else " "
            begin = f"{mark} {line['name']:<{NAME_COLUMNS - 2}}"
            yield from _wrapped(line["said"], begin, "red" if line["alert"] else None)
            if line["alert"]:
                yield from _wrapped(f"{line['alert']}: {line['do']}", " " * NAME_COLUMNS, "yellow")
    for service, why in away.items():
        yield from _wrapped(f"{NOUNS[service]}: {why}", "! ", "red")
        yield from _wrapped(
            "is it running? `tallystick doctor` looks at settings, databases, certificates", "  ", "yellow"
        )
    for service, why in unknown.items():
        yield from _wrapped(f"{NOUNS[service]} was not asked: {why}", "  ", None)


def _wrapped(text: str, begin: str, colour: str | None) -> Iterator[tuple[str, str | None]]:
    wrapped = textwrap.wrap(
        text, COLUMNS, initial_indent=begin, subsequent_indent=" " * len(begin), break_on_hyphens=False
    )
    yield from ((line, colour) for line in wrapped)
