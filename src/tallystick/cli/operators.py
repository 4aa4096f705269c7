"""`tallystick gateway operators …` and `tallystick merchant operators …`: who may call a service's operator API.

Keys are made in the service's database: the first one can come from nowhere else.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tallystick.cli.nouns import noun
from tallystick.cli.running import NOUNS, DataDir, ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import AsJson, show
from tallystick.kernel.operators.roles import Role


def commands(service: str, dsn: Callable[[], str]) -> typer.Typer:
    """The commands for "gateway" or "merchant", whose database is at `dsn()`; that raises SettingsRefused."""
    app = noun(f"Operators of {NOUNS[service]}: who may call its operator API.")

    @app.command("create")
    def create(
        name: Annotated[str, typer.Option(help="Whom the key is for, such as `ada` or `alerting`.")],
        role: Annotated[Role, typer.Option(help="What the key may do (docs/access.md).")],
        as_json: AsJson = False,
    ) -> None:
        """Make an operator key (opk_…) and print it, once: it is stored as a hash only."""
        from tallystick.cli.staffing import create_operator_key

        made = asyncio.run(create_operator_key(dsn(), name, role))
        show(
            as_json,
            {"id": made.id, "name": made.name, "role": made.role, "operator_key": made.key},
            f"Operator key {made.id} for {made.name}, {made.role}",
            f"  {made.key}",
            "Keep the key now: it is not shown again.",
        )

    @app.command("list")
    def list_all(as_json: AsJson = False) -> None:
        """List the operator keys, revoked ones too."""
        from tallystick.cli.staffing import list_operator_keys

        keys = asyncio.run(list_operator_keys(dsn()))
        words = (
            f"{key.id}  {key.hint}  {key.role:10}  {key.name}{'  revoked' if key.revoked_at else ''}" for key in keys
        )
        show(as_json, {"operator_keys": keys}, *(words if keys else ["No operator keys."]))

    @app.command("revoke")
    def revoke(
        key_id: Annotated[str, typer.Argument(help="key_…, as `list` shows it")], as_json: AsJson = False
    ) -> None:
        """End the life of an operator key: the next call with it is refused."""
        from tallystick.cli.staffing import revoke_operator_key

        asyncio.run(revoke_operator_key(dsn(), key_id))
        show(as_json, {"id": key_id, "revoked": True}, f"{key_id} opens nothing any more.")

    @app.command("whoami")
    def whoami(data_dir: DataDir = None, as_json: AsJson = False) -> None:
        """Ask the running service whom it takes you for: whether address and operator key are right."""

        async def greet(api: ServiceApi) -> dict[str, Any]:
            return await api.ask("GET", "/operator/v1")

        greeting = ask(service, data_dir, greet)
        show(as_json, greeting, f"{greeting['operator']}, {greeting['role']}, at {NOUNS[service]}")

    return app
