"""The whole examination of one service, in the order in which it would start."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tallystick.cli.doctor.certificates import check_certificate, check_life, read_certificates
from tallystick.cli.doctor.collectors import check_traces
from tallystick.cli.doctor.databases import check_database
from tallystick.cli.doctor.endpoints import check_endpoints
from tallystick.cli.doctor.findings import Finding, Notes
from tallystick.cli.doctor.peers import check_peer, hosts
from tallystick.cli.doctor.people import Stored, check_people, in_a_thread
from tallystick.cli.doctor.settings import check_file, check_secrets, check_settings, refused
from tallystick.gateway import settings as gateway
from tallystick.gateway.people.tables import IN_THE_CLEAR as accounts_clear
from tallystick.gateway.people.tables import REWRAPPED as accounts_keys
from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.kernel.settings import SettingsRefused, vault_references
from tallystick.kernel.signatures import standard_key, stripe_key
from tallystick.kernel.vault import opened_secrets
from tallystick.kernel.vault_settings import read_vault_settings, vault_prefix
from tallystick.merchant import settings as merchant
from tallystick.merchant.accounts.commands import list_merchants
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.customers.tables import IN_THE_CLEAR as merchants_clear
from tallystick.merchant.customers.tables import REWRAPPED as merchants_keys
from tallystick.merchant.gateways.port import Connection
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import DatabaseError
from tallystick.ports.key_encryption import KeyEncryptionError, read_key_file
from tallystick.ports.secrets import SecretMissing, SecretUnavailable

MERCHANTS_MAX: Final = 1000  # whose connections are looked at; an installation with more has a person for each
ACCOUNTS: Final = Stored(accounts_clear, accounts_keys)
MERCHANTS: Final = Stored(merchants_clear, merchants_keys)
KEY_FILES: Final = {"gateway": "vault_key_file", "merchant": "pii_key_file"}
ON_LOOPBACK: Final = {"gateway": "webhooks_to_loopback", "merchant": "shops_on_loopback"}


async def examine(service: str, environ: Mapping[str, str]) -> list[Finding]:
    """Everything about one service, "gateway" or "merchant"."""
    notes = Notes(service)
    configuration: Any = gateway if service == "gateway" else merchant
    prefix, kind = configuration.PREFIX, configuration.Settings
    try:
        async with opened_secrets(prefix, environ) as secrets:
            await _check_vault(notes, prefix, environ, secrets)
            found = await _in_vault(notes, kind, prefix, environ, secrets)
            check_settings(notes, kind, prefix, environ, found)
            check_secrets(notes, kind, prefix, environ)
            try:
                settings = configuration.read(environ, found)
            except SettingsRefused:
                return notes.findings  # each fault of them is noted
            await _check_running(notes, prefix, settings, secrets)
    except SettingsRefused as error:
        variable, says = refused(error)
        notes.bad("vault", variable, says, "See docs/secrets.md; nothing else of this service was looked at.")
    return notes.findings


async def _check_vault(notes: Notes, prefix: str, environ: Mapping[str, str], secrets: ServiceSecrets) -> None:
    settings = read_vault_settings(prefix, environ)
    if settings is None:
        return
    notes.good("vault", f"{vault_prefix(prefix)}URL", f"logged in by {settings.login}")
    for name in ("secret_id", "jwt", "token"):
        file = environ.get(f"{vault_prefix(prefix)}{name.upper()}_FILE")
        if file:
            check_file(notes, f"{vault_prefix(prefix)}{name.upper()}_FILE", Path(file))
    if secrets.transit is not None:
        subject = f"{vault_prefix(prefix)}TRANSIT_KEY"
        try:
            notes.good("vault", subject, f"transit answers; version {await secrets.transit.version()} wraps")
        except KeyEncryptionError as error:
            notes.bad("vault", subject, str(error), "Make the key, and permit the role what docs/secrets.md lists.")


async def _in_vault(
    notes: Notes, kind: Any, prefix: str, environ: Mapping[str, str], secrets: ServiceSecrets
) -> dict[str, str]:
    found = {}
    for variable, reference in vault_references(kind, prefix, environ).items():
        try:
            found[reference] = await secrets.secrets.read(reference)
        except SecretMissing as missing:
            notes.bad("secret", variable, str(missing), "Put it there, or permit the role to read it.")
    return found


async def _check_running(notes: Notes, prefix: str, settings: Any, secrets: ServiceSecrets) -> None:
    """What needs settings that hold."""
    at, service = SystemClock().now(), notes.service
    host = urlsplit(settings.origin).hostname or settings.host
    if settings.tls_cert_file:
        check_certificate(notes, prefix, settings.tls_cert_file, settings.tls_key_file, host, at)
    for authority in read_certificates(notes, f"{prefix}CA_FILE", settings.ca_file) if settings.ca_file else []:
        check_life(notes, f"{prefix}CA_FILE", authority, at)
    _check_key_file(notes, f"{prefix}{KEY_FILES[service].upper()}", getattr(settings, KEY_FILES[service]))
    await in_a_thread(notes, prefix, settings)
    answers = await asyncio.to_thread(
        check_database, notes, service, f"{prefix}DATABASE_DSN", settings.database_dsn, at
    )
    ca_file = settings.ca_file
    await check_peer(
        notes, f"the {service}", f"{settings.origin}/readyz", ca_file, SystemClock().now(), needed=False, ready=True
    )
    await check_traces(notes, prefix, settings)
    if answers:
        await check_people(notes, prefix, settings, secrets, people_of(service))
        await check_endpoints(notes, settings.database_dsn, loopback=getattr(settings, ON_LOOPBACK[service]))
    if answers and service == "merchant":
        await _check_connections(notes, settings, secrets)


def people_of(service: str) -> Stored:
    """The tables of a service's people."""
    return ACCOUNTS if service == "gateway" else MERCHANTS


def _check_key_file(notes: Notes, variable: str, path: str) -> None:
    if not path:
        return
    try:
        versions = read_key_file(Path(path))
        notes.good("secret", variable, f"its newest version is {max(versions)}")
    except KeyEncryptionError as error:
        notes.bad("secret", variable, str(error), f"Look at {path}; without its keys what they protect is lost.")


async def _check_connections(notes: Notes, settings: merchant.Settings, secrets: ServiceSecrets) -> None:
    """The secrets that connections name, and whether their gateways answer."""
    try:
        database = await open_database(settings.database_dsn, connections_max=2)
    except DatabaseError:
        return  # it is noted
    try:
        directory = Directory(database, SystemClock())
        found: list[Connection] = []
        for merchant_id in await list_merchants(database, rows_max=MERCHANTS_MAX):
            each = await directory.merchant(merchant_id)
            found += each.connections if each is not None else ()
    except DatabaseError as error:
        do = "Run `tallystick database migrate`, and look at the role."
        notes.bad("database", "connections", f"they cannot be read: {type(error).__name__}", do)
        return
    finally:
        await database.close()
    for connection in found:
        await _check_connection(notes, connection, secrets)
    for url in hosts([connection.url for connection in found]):
        await check_peer(notes, f"the gateway {url}", url, settings.ca_file, SystemClock().now(), needed=True)


async def _check_connection(notes: Notes, connection: Connection, secrets: ServiceSecrets) -> None:
    key_of = {"stripe": stripe_key, "standard": standard_key}[connection.signature_scheme]
    named: list[tuple[str, str, Callable[[str], object]]] = [(connection.secret_key_ref, "secret key", str)]
    named += [(reference, "webhook secret", key_of) for reference in connection.webhook_secret_refs]
    for reference, what, form in named:
        subject = f"{connection.connection_id} {what}"
        if reference.startswith("file:") and not check_file(notes, subject, Path(reference.removeprefix("file:"))):
            continue
        try:
            value = await secrets.secrets.read(reference)
            form(value)
        except SecretUnavailable as away:
            notes.bad("secret", subject, str(away), "Unseal Vault, or start it.")
        except SecretMissing as missing:
            notes.bad(
                "secret",
                subject,
                str(missing),
                "Put it there, or name another: `tallystick merchant connections secrets`.",
            )
        except ValueError:
            notes.bad("secret", subject, f"{reference} is no {what}", "A webhook secret begins with whsec_.")
        else:
            if not reference.startswith("file:"):
                notes.good("secret", subject, f"{reference} can be read")
