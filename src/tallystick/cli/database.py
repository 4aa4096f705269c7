"""`tallystick database …`: the schema of both services."""

from typing import Annotated

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import Service
from tallystick.cli.showing import AsJson, show

app = noun("The databases' schema.")


@app.command("migrate")
def migrate_schema(
    service: Annotated[
        Service | None, typer.Option(help="Only this service's; default: every service's whose DSN is set.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring schema and privileges up to date. Forward only, and safe while the version before still runs.

    Connects as the owner of the tables, TALLYSTICK_GATEWAY_OWNER_DSN and TALLYSTICK_MERCHANT_OWNER_DSN; where these are
    not set, by the services' own TALLYSTICK_…_DATABASE_DSN (or their _FILE, or the settings file).
    """
    from tallystick.cli.installation import say
    from tallystick.cli.postgres import DSN_VARIABLES, SCHEMAS, given_dsn, owner_dsn
    from tallystick.kernel.migrations import migrate, missing_roles
    from tallystick.ports.postgres import require_supported_server

    wanted = [str(each) for each in ([service] if service else Service)]
    found = {each: dsn for each in wanted if (dsn := owner_dsn(each) or given_dsn(each)) is not None}
    if not found:
        names = " or ".join(DSN_VARIABLES[each] for each in wanted)
        raise CommandRefused(f"set {names} (postgresql://user@host/database) to say which database to migrate")
    versions = {}
    for each, dsn in found.items():
        require_supported_server(dsn)
        versions[each] = migrate(dsn, SCHEMAS[each])
        missing = missing_roles(dsn, SCHEMAS[each])
        if missing is None:
            say(
                f"The {each}'s tables belong to the role that it connects as, so that nothing keeps it from changing "
                "or dropping them: docs/database-roles.md says how to give each its own."
            )
        elif missing:
            say(f"There is no role {' or '.join(missing)}: nothing was granted to it (docs/database-roles.md).")
    show(as_json, versions, *(f"The {each}'s schema is at version {version}." for each, version in versions.items()))
