"""`tallystick doctor`: what is looked at, and how it is told."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.running import DataDir, Service, demo_in
from tallystick.cli.showing import AsJson, console, show

if TYPE_CHECKING:
    from tallystick.cli.doctor.findings import Finding

MARKS = {"good": "[green]ok[/]", "warning": "[yellow]warning[/]", "bad": "[red]fault[/]", "skipped": "[dim]skipped[/]"}


OTHER_DSNS: Final = {
    "gateway": {"PII_DSN": "gateway-pii", "VAULT_DSN": "vault"},
    "merchant": {"PII_DSN": "pii"},
}
"""The files of a demo's folder in which the DSNs of the services' other roles are kept."""


def doctor(
    service: Annotated[
        Service | None, typer.Option(help="Only this service; default: each whose database is named.")
    ] = None,
    data_dir: DataDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Show what is well, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at every setting, secret, certificate, database, role, clock, peer and endpoint, as the services would.

    Reads the services' own settings, TALLYSTICK_GATEWAY_… and TALLYSTICK_MERCHANT_…; run it as the services' user.
    Changes nothing. Exit code 0: no faults, perhaps warnings. 1: faults, each with what to do about it.
    """
    from tallystick.cli.doctor.findings import healthy

    environ = _of_demo(data_dir) if data_dir is not None else dict(os.environ)
    services = [str(service)] if service is not None else _named(environ)
    found = asyncio.run(_examine(services, environ))
    if as_json:
        show(True, {"healthy": healthy(found), "findings": msgspec.to_builtins(found)})
    else:
        _print(found, everything)
    if not healthy(found):
        raise typer.Exit(1)


async def _examine(services: Sequence[str], environ: Mapping[str, str]) -> "list[Finding]":
    from tallystick.cli.doctor.examining import examine

    return [finding for service in services for finding in await examine(service, environ)]


def _named(environ: Mapping[str, str]) -> list[str]:
    """The services that the environment tells of."""
    marks = ("DATABASE_DSN", "DATABASE_DSN_FILE", "DATABASE_DSN_VAULT", "SETTINGS_FILE")
    found = [
        str(each) for each in Service if any(f"TALLYSTICK_{str(each).upper()}_{mark}" in environ for mark in marks)
    ]
    if not found:
        raise CommandRefused(
            "set TALLYSTICK_GATEWAY_… and TALLYSTICK_MERCHANT_… as the services have them, or name a demo's folder "
            "with --data-dir"
        )
    return found


def _of_demo(data_dir: Path) -> dict[str, str]:
    """The settings with which the demo in this folder runs its services."""
    from urllib.parse import urlsplit

    from tallystick.cli.customers import keys_found
    from tallystick.demo.folder import Folder

    folder, known = Folder(data_dir), demo_in(data_dir)
    secrets = folder.path / "secrets"
    settings = keys_found(secrets)
    settings |= {"TALLYSTICK_GATEWAY_WEBHOOKS_TO_LOOPBACK": "true", "TALLYSTICK_MERCHANT_SHOPS_ON_LOOPBACK": "true"}
    for service, origin in (("gateway", known.addresses.gateway), ("merchant", known.addresses.merchant)):
        prefix, parts = f"TALLYSTICK_{service.upper()}_", urlsplit(origin)
        dsn = folder.path / "postgres" / "dsn" / service
        if dsn.exists():
            settings[f"{prefix}DATABASE_DSN_FILE"] = str(dsn)
            roles = {variable: dsn.parent / name for variable, name in OTHER_DSNS[service].items()}
            settings |= {f"{prefix}{variable}_FILE": str(file) for variable, file in roles.items() if file.exists()}
        else:
            settings[f"{prefix}DATABASE_DSN"] = getattr(known.dsns, service)
        settings[f"{prefix}PORT"] = str(parts.port)
        if parts.scheme == "https":
            tls = folder.tls()
            files = {"TLS_CERT_FILE": tls.cert_file, "TLS_KEY_FILE": tls.key_file, "CA_FILE": tls.ca_file}
            settings |= {f"{prefix}{name}": file for name, file in files.items()}
    if folder.vault_key_file.exists():
        settings["TALLYSTICK_GATEWAY_VAULT_KEY_FILE"] = str(folder.vault_key_file)
        settings["TALLYSTICK_GATEWAY_CARD_FINGERPRINT_KEY_FILE"] = str(folder.fingerprint_key_file)
    return settings


def _print(found: "Sequence[Finding]", everything: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("service", "what", "", "found", "what to do", box=None, pad_edge=False)
    for finding in found:
        if everything or finding.state in ("warning", "bad"):
            words = [finding.subject, finding.says, finding.do]
            subject, says, do = (escape(each) for each in words)
            table.add_row(finding.service, subject, MARKS[finding.state], says, do)
    out = console()
    if table.row_count:
        out.print(table)
    counts = {state: sum(finding.state == state for finding in found) for state in MARKS}
    out.print(
        f"{len(found)} looked at: {counts['good']} well, {counts['warning']} warnings, {counts['bad']} faults, "
        f"{counts['skipped']} could not be looked at."
    )
