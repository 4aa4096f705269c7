"""`tallystick gateway users …`: who may log in to a service's pages for operators."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import NOUNS
from tallystick.cli.showing import AsJson, show
from tallystick.kernel.operators.roles import Role

Name = Annotated[str, typer.Argument(help="The name to log in with.")]


def commands(service: str, dsn: Callable[[], str]) -> typer.Typer:
    """The commands for "gateway" or "merchant", whose database is at `dsn()`; that raises SettingsRefused."""
    app = noun(f"People who may log in to the pages of {NOUNS[service]}.")

    @app.command("add")
    def add(
        name: Name,
        role: Annotated[Role, typer.Option(help="What the person may do (docs/access.md).")],
        password_file: Annotated[
            Path | None, typer.Option(help="The file that holds the password; default: the command asks for it.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Let a person log in. The password is stored as an argon2 hash."""
        from tallystick.cli.staffing import add_operator_user

        added = asyncio.run(add_operator_user(dsn(), name, role, _password(password_file)))
        show(as_json, {"name": added, "role": role}, f"{added}, {role}, may log in at /console.")

    @app.command("list")
    def list_all(as_json: AsJson = False) -> None:
        """List the people, also those who may log in no more."""
        from tallystick.cli.staffing import list_operator_users

        people = asyncio.run(list_operator_users(dsn()))
        words = (
            f"{each.role:10}  {each.name}{'  second factor' if each.second_factor else ''}"
            f"{'  disabled' if each.disabled_at else ''}"
            for each in people
        )
        show(as_json, {"users": people}, *(words if people else ["Nobody may log in yet."]))

    @app.command("role")
    def set_role(
        name: Name,
        role: Annotated[Role, typer.Option(help="What the person may do from now on.")],
        as_json: AsJson = False,
    ) -> None:
        """Give a person another role; who is logged in by that name logs in anew."""
        from tallystick.cli.staffing import set_operator_role

        asyncio.run(set_operator_role(dsn(), name, role))
        show(as_json, {"name": name, "role": role}, f"{name} is {role} from now on.")

    @app.command("password")
    def set_password(
        name: Name,
        password_file: Annotated[
            Path | None, typer.Option(help="The file that holds the new password; default: the command asks for it.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Give a person another password, and end the sessions of that name."""
        from tallystick.cli.staffing import set_operator_password

        asyncio.run(set_operator_password(dsn(), name, _password(password_file)))
        show(as_json, {"name": name}, f"{name} logs in with the new password from now on.")

    @app.command("reset-totp")
    def reset_totp(name: Name, as_json: AsJson = False) -> None:
        """Let a person who has lost the second factor log in without one, and end the sessions of that name."""
        from tallystick.cli.staffing import reset_second_factor

        asyncio.run(reset_second_factor(dsn(), name))
        show(as_json, {"name": name, "second_factor": False}, f"{name} logs in without a second factor from now on.")

    @app.command("disable")
    def disable(name: Name, as_json: AsJson = False) -> None:
        """Let a person log in no more; who is logged in by that name is out at once."""
        from tallystick.cli.staffing import disable_operator_user

        asyncio.run(disable_operator_user(dsn(), name))
        show(as_json, {"name": name, "disabled": True}, f"{name} may log in no more.")

    return app


def _password(file: Path | None) -> str:
    if file is not None:
        return _read(file)
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return asked


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandRefused(f"{os.fspath(path)} cannot be read ({type(error).__name__})") from None
